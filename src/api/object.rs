//! What is looked at of any object of the cluster, whatever its kind.

use std::collections::BTreeMap;

use jiff::Timestamp;
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
