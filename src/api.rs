//! Kubernetes objects: our own kinds with their CRDs, and the foreign ones that are read.

mod acme_certificate;
mod certificate_resolver;
mod ingress_route;
mod middleware;
mod object;
mod tls;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

pub use acme_certificate::{
    AcmeCertificate, AcmeCertificateSpec, AcmeCertificateStatus, LastError,
};
pub use certificate_resolver::{
    Acme, Allow, CertificateResolver, CertificateResolverSpec, CertificateResolverStatus,
    DnsChallenge, DnsSolver, Eab, Grant, HttpChallenge, Propagation, SecretKey, TlsChallenge,
    Variable,
};
pub use ingress_route::{
    CertificateRef, Domain, HttpRule, HttpService, IngressRoute, IngressRouteSpec,
    IngressRouteStatus, IngressRouteTCP, IngressRouteTcpSpec, ObjectName, Opaque, TcpRule,
    TcpService, Tls, TlsTcp,
};
pub use middleware::{
    AddPrefix, Auth, Chain, IpAllowList, Middleware, MiddlewareSpec, RedirectRegex, RedirectScheme,
    ReplacePath, ReplacePathRegex, StripPrefix, StripPrefixRegex,
};
pub use object::Object;
pub use tls::{
    ClientAuth, GeneratedCertificate, GivenCertificate, TLSOption, TLSStore, TlsOptionSpec,
    TlsStoreSpec,
};

/// Our group and the version of every kind in it.
pub const GROUP: &str = "routecert.dev";
pub const VERSION: &str = "v1alpha1";
/// The group whose routes users of Traefik have.
pub const TRAEFIK_GROUP: &str = "traefik.io";
/// The group that Traefik's objects had before version 3: counted and named, never read.
pub const TRAEFIK_OLD_GROUP: &str = "traefik.containo.us";

/// The CRDs as JSON, ready to be applied: file stem and definition.
pub fn crds() -> Vec<(String, Value)> {
    [
        open_spec(definition(&IngressRoute::crd())),
        open_spec(definition(&IngressRouteTCP::crd())),
        open_spec(definition(&TLSStore::crd())),
        open_spec(definition(&TLSOption::crd())),
        open_spec(definition(&Middleware::crd())),
        open_spec(definition(&CertificateResolver::crd())),
        without_subresources(definition(&AcmeCertificate::crd())),
    ]
    .into_iter()
    .map(|crd| {
        let plural = crd.pointer("/spec/names/plural").and_then(Value::as_str).unwrap_or_default();
        (format!("{GROUP}_{plural}"), crd)
    })
    .collect()
}

/// The schema of a kind's `spec`.
pub fn spec_schema(crd: &CustomResourceDefinition) -> Value {
    definition(crd).pointer(SPEC_SCHEMA).cloned().unwrap_or_default()
}

/// Paths of fields in `spec` that the schema does not know: reported, since nothing reads them.
pub fn unknown_fields(schema: &Value, spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_unknown(schema, spec, "spec", &mut found);
    found
}

const SPEC_SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";

fn definition(crd: &CustomResourceDefinition) -> Value {
    serde_json::to_value(crd).unwrap_or_default()
}

/// What the schema does not know is kept, so that it can be reported instead of pruned unseen.
fn open_spec(mut crd: Value) -> Value {
    if let Some(schema) = crd.pointer_mut(SPEC_SCHEMA) {
        preserve_unknown(schema);
    }
    crd
}

fn preserve_unknown(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for child in ["properties", "items", "additionalProperties"] {
        match object.get_mut(child) {
            Some(Value::Object(nested)) if child == "properties" => {
                nested.values_mut().for_each(preserve_unknown);
            }
            Some(nested) => preserve_unknown(nested),
            None => {}
        }
    }
    if object.contains_key("properties") {
        object.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
    }
}

/// One writer and nothing to separate: status is an ordinary field, written with the rest.
fn without_subresources(mut crd: Value) -> Value {
    if let Some(version) = crd.pointer_mut("/spec/versions/0").and_then(Value::as_object_mut) {
        version.remove("subresources");
    }
    crd
}

fn collect_unknown(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let known = schema.get("properties");
            let any = schema.get("additionalProperties");
            if known.is_none() && any.is_none() {
                return;
            }
            for (field, nested) in fields {
                let path = format!("{path}.{field}");
                match known.and_then(|known| known.get(field)).or(any) {
                    Some(schema) => collect_unknown(schema, nested, &path, found),
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (position, item) in items.iter().enumerate() {
                collect_unknown(schema, item, &format!("{path}[{position}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_named_with_their_path() {
        let spec = json!({
            "entryPoint": ["web"],
            "routes": [{"match": "Host(`a.x`)", "service": []}],
            "tls": {"certresolver": "le"},
        });
        let found = unknown_fields(&spec_schema(&IngressRoute::crd()), &spec);
        assert_eq!(found, ["spec.entryPoint", "spec.routes[0].service", "spec.tls.certresolver"]);
    }

    #[test]
    fn what_users_of_traefik_write_is_known() {
        let spec = json!({
            "entryPoints": ["websecure"],
            "routes": [{
                "kind": "Rule", "match": "Host(`a.x`)", "priority": 10, "syntax": "v3",
                "middlewares": [{"name": "m", "namespace": "n"}],
                "services": [{"name": "app", "port": 80, "sticky": {"cookie": {"name": "c"}}}],
                "observability": {"metrics": true},
            }],
            "tls": {
                "certResolver": "le", "secretName": "s", "options": {"name": "o"},
                "store": {"name": "default"}, "domains": [{"main": "a.x", "sans": ["b.x"]}],
            },
        });
        assert_eq!(unknown_fields(&spec_schema(&IngressRoute::crd()), &spec), Vec::<String>::new());
    }

    #[test]
    fn what_stands_under_a_free_name_is_looked_at_too() {
        let solver = |variable: Value| {
            json!({"acme": {"dnsChallenge": {"solvers": [
                {"provider": "hetzner", "env": {"HETZNER_API_TOKEN": variable}},
            ]}}})
        };
        let schema = spec_schema(&CertificateResolver::crd());
        let right = json!({"secretRef": {"name": "dns", "key": "token"}});
        assert_eq!(unknown_fields(&schema, &solver(right)), Vec::<String>::new());
        let wrong = json!({"secretRef": {"name": "dns", "key": "token"}, "value": "x"});
        assert_eq!(
            unknown_fields(&schema, &solver(wrong)),
            ["spec.acme.dnsChallenge.solvers[0].env.HETZNER_API_TOKEN.value"]
        );
    }
}
