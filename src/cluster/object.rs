//! What is kept of an object when it arrives, decoded straight from the bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ApiResource, ListParams, ObjectMeta};
use kube::core::DynamicResourceScope;
use kube::{Api, Client, Resource};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::cluster::depth;
use crate::cluster::watch::Trouble;

/// An object of any kind whose spec is read. Labels, managed fields, owners and other programs'
/// annotations are not kept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Object {
    /// Name, namespace, uid, generation, creationTimestamp, resourceVersion, our annotations.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// Cut where it is nested deeper than 64 levels.
    #[serde(deserialize_with = "depth::value")]
    pub spec: Option<Value>,
    #[serde(deserialize_with = "depth::value")]
    pub status: Option<Value>,
}

/// An object of which only its existence counts, such as a Service: the API server sends no more
/// than the metadata, and only name, namespace and resourceVersion are kept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    #[serde(deserialize_with = "identity")]
    pub metadata: ObjectMeta,
}

/// An IngressClass: who looks after the Ingresses that name it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct IngressClass {
    #[serde(deserialize_with = "identity")]
    pub metadata: ObjectMeta,
    spec: IngressClassSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct IngressClassSpec {
    controller: String,
}

impl IngressClass {
    pub fn controller(&self) -> &str {
        &self.spec.controller
    }
}

/// How many objects of a kind there are, in all namespaces; none if there is no such kind.
pub async fn count(client: &Client, resource: &ApiResource) -> Result<Option<u64>, Trouble> {
    let api: Api<Named> = Api::all_with(client.clone(), resource);
    match api.list(&ListParams::default().limit(1)).await {
        Ok(page) => {
            let more = page.metadata.remaining_item_count.and_then(|more| u64::try_from(more).ok());
            let here = u64::try_from(page.items.len()).unwrap_or(u64::MAX);
            Ok(Some(here.saturating_add(more.unwrap_or_default())))
        }
        Err(error) => match Trouble::of_request(&error) {
            Trouble::Missing => Ok(None),
            trouble => Err(trouble),
        },
    }
}

/// The annotations that mean something here begin with one of these.
const ANNOTATIONS: [&str; 3] =
    ["routecert.dev/", "kubernetes.io/ingress.class", "traefik.ingress.kubernetes.io/"];

/// What is kept of the metadata; whatever else is there is skipped unread.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    resource_version: Option<String>,
    annotations: Annotations,
}

fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let kept = Kept::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: kept.name,
        namespace: kept.namespace,
        uid: kept.uid,
        generation: kept.generation,
        creation_timestamp: kept.creation_timestamp,
        resource_version: kept.resource_version,
        annotations: Some(kept.annotations.0).filter(|kept| !kept.is_empty()),
        ..ObjectMeta::default()
    })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

fn identity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let Identity { name, namespace, resource_version } = Identity::deserialize(deserializer)?;
    Ok(ObjectMeta { name, namespace, resource_version, ..ObjectMeta::default() })
}

#[derive(Default)]
struct Annotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfUse)
    }
}

/// Keeps the annotations that mean something here.
struct OfUse;

impl<'de> Visitor<'de> for OfUse {
    type Value = Annotations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("annotations")
    }

    fn visit_unit<E>(self) -> Result<Annotations, E> {
        Ok(Annotations::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<Annotations, A::Error> {
        let mut kept = Annotations::default();
        while let Some(name) = given.next_key::<Cow<'de, str>>()? {
            if ANNOTATIONS.iter().any(|prefix| name.starts_with(prefix)) {
                kept.0.insert(name.into_owned(), given.next_value()?);
            } else {
                given.next_value::<IgnoredAny>()?;
            }
        }
        Ok(kept)
    }
}

macro_rules! of_any_kind {
    ($object:ty, metadata only: $metadata_only:literal) => {
        impl Resource for $object {
            type DynamicType = ApiResource;
            type Scope = DynamicResourceScope;

            fn metadata_api() -> bool {
                $metadata_only
            }

            fn group(resource: &ApiResource) -> Cow<'_, str> {
                resource.group.as_str().into()
            }

            fn version(resource: &ApiResource) -> Cow<'_, str> {
                resource.version.as_str().into()
            }

            fn kind(resource: &ApiResource) -> Cow<'_, str> {
                resource.kind.as_str().into()
            }

            fn api_version(resource: &ApiResource) -> Cow<'_, str> {
                resource.api_version.as_str().into()
            }

            fn plural(resource: &ApiResource) -> Cow<'_, str> {
                resource.plural.as_str().into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

of_any_kind!(Object, metadata only: false);
of_any_kind!(Named, metadata only: true);

impl Resource for IngressClass {
    type DynamicType = ();
    type Scope = kube::core::ClusterResourceScope;

    fn group((): &()) -> Cow<'_, str> {
        "networking.k8s.io".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn kind((): &()) -> Cow<'_, str> {
        "IngressClass".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "ingressclasses".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;

    /// As an API server sends it, after two programs have written it.
    fn sent() -> Value {
        json!({
            "apiVersion": "traefik.io/v1alpha1",
            "kind": "IngressRoute",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "generation": 3,
                "resourceVersion": "17", "creationTimestamp": "2026-01-02T03:04:05Z",
                "labels": {"app": "web"},
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}".repeat(200),
                    "routecert.dev/key-type": "EC256",
                    "kubernetes.io/ingress.class": "traefik",
                    "traefik.ingress.kubernetes.io/router.tls": "true"
                },
                "managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": {"f:routes": {}, "f:tls": {"f:certResolver": {}}}}}]
            },
            "spec": {"routes": [{"match": "Host(`a.x`)", "priority": -3, "f": 1.5, "n": null}]}
        })
    }

    #[test]
    fn only_what_is_looked_at_is_kept() {
        let object: Object = serde_json::from_str(&sent().to_string()).unwrap();
        let annotations = object.metadata.annotations.clone().unwrap();
        let kept: Vec<&str> = annotations.keys().map(String::as_str).collect();
        assert_eq!(
            kept,
            [
                "kubernetes.io/ingress.class",
                "routecert.dev/key-type",
                "traefik.ingress.kubernetes.io/router.tls"
            ]
        );
        let metadata = ObjectMeta { annotations: None, ..object.metadata };
        assert_eq!(
            serde_json::to_value(metadata).unwrap(),
            json!({
                "name": "web", "namespace": "shop", "uid": "u", "generation": 3,
                "resourceVersion": "17", "creationTimestamp": "2026-01-02T03:04:05Z"
            })
        );
        assert_eq!(object.spec.unwrap(), sent()["spec"]);
        assert_eq!(object.status, None);
    }

    #[test]
    fn an_object_with_no_more_than_a_name_is_read() {
        let text = r#"{"metadata":{"name":"a","annotations":null},"spec":null}"#;
        let object: Object = serde_json::from_str(text).unwrap();
        assert_eq!((object.metadata.annotations, object.spec), (None, None));
        assert!(serde_json::from_str::<Object>("{}").is_ok());
    }

    /// `levels` arrays in one another.
    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn one_object_nested_without_end_leaves_a_list_and_a_watch_readable() {
        let deep = format!(
            r#"{{"metadata":{{"name":"a","managedFields":{0}}},"spec":{{"x":{0},"y":1}}}}"#,
            nested(5_000)
        );
        let list = format!(
            r#"{{"apiVersion":"v1","kind":"List","metadata":{{}},"items":[{deep},{}]}}"#,
            sent()
        );
        let list: ObjectList<Object> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items.len(), 2);
        let spec = list.items[0].spec.as_ref().unwrap();
        assert_eq!(spec["y"], 1);
        assert_eq!(spec["x"].to_string(), nested(63).replace("[]", "[null]"));
        let event = format!(r#"{{"type":"ADDED","object":{deep}}}"#);
        assert!(serde_json::from_str::<WatchEvent<Object>>(&event).is_ok());
    }

    #[test]
    fn a_class_tells_its_controller() {
        let text =
            r#"{"metadata":{"name":"t"},"spec":{"controller":"traefik.io/ingress-controller"}}"#;
        let class: IngressClass = serde_json::from_str(text).unwrap();
        assert_eq!(class.controller(), "traefik.io/ingress-controller");
    }
}
