//! What is looked at of any object of the cluster, whatever its kind.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

/// An object without what nobody looks at: no managed fields, no labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub created: Option<Timestamp>,
    pub annotations: BTreeMap<String, String>,
    pub spec: Option<Value>,
    pub status: Option<Value>,
}

impl From<DynamicObject> for Object {
    fn from(mut object: DynamicObject) -> Self {
        let field = |name| object.data.get_mut(name).map(Value::take);
        let [spec, status] = ["spec", "status"].map(field);
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
            annotations: object.metadata.annotations.take().unwrap_or_default(),
            spec,
            status,
        }
    }
}
