//! IngressRoute and IngressRouteTCP: the spec of `traefik.io/v1alpha1`, in our group with a status.

#![expect(clippy::duplicated_attributes, reason = "each printcolumn has a type of its own")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Routes HTTP requests by rules; `tls.certResolver` gets the certificate for their hosts.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "routecert.dev",
    version = "v1alpha1",
    kind = "IngressRoute",
    plural = "rcingressroutes",
    singular = "rcingressroute",
    shortname = "rcir",
    namespaced,
    status = "IngressRouteStatus",
    printcolumn(name = "Resolver", type_ = "string", json_path = ".spec.tls.certResolver"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct IngressRouteSpec {
    /// Class of the controllers that this route is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// Names of entry points of the static configuration; none: all default ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry_points: Vec<String>,
    pub routes: Vec<HttpRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Parent routes, for routing in layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ObjectName>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRule {
    /// The rule, such as ``Host(`example.com`) && PathPrefix(`/blog`)``.
    #[serde(rename = "match")]
    #[schemars(length(min = 1))]
    pub rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule_kind")]
    pub kind: Option<String>,
    /// The highest number wins; 0: the length of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9_223_372_036_854_774_807_i64))]
    pub priority: Option<i64>,
    /// `v3` or `v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syntax: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<HttpService>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<ObjectName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<Opaque>,
}

/// Only `Rule` is a kind of rule.
fn rule_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["Rule"]})
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpService {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<IntOrString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_host_header: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_forwarding: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers_transport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Opaque>,
    #[serde(rename = "nativeLB", skip_serializing_if = "Option::is_none")]
    pub native_lb: Option<bool>,
    #[serde(rename = "nodePortLB", skip_serializing_if = "Option::is_none")]
    pub node_port_lb: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive_health_check: Option<Opaque>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<ObjectName>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// Secret of the route's namespace: given, or filled with the resolver's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<ObjectName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<ObjectName>,
    /// Name of a resolver of `certificatesResolvers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_resolver: Option<String>,
    /// One certificate an entry; none: the hosts of each rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub domains: Vec<Domain>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.main) || (has(self.sans) && size(self.sans) > 0)",
    "message": "an entry needs `main` or at least one of `sans`"
}]))]
pub struct Domain {
    /// The main name of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "certificate_name")]
    pub main: Option<String>,
    /// Further names of the same certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "certificate_names")]
    pub sans: Vec<String>,
}

/// Bounded, since the API server reckons what a rule may cost before it takes it.
fn certificate_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 512,
        "x-kubernetes-validations": [{
            "rule": "!self.startsWith('*.*')",
            "message": "no CA issues for a double wildcard; a wildcard stands for one label"
        }]
    })
}

/// More than a certificate holds (100), so that the route can say so.
fn certificate_names(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 256, "items": certificate_name(generator)
    })
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct ObjectName {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Routes TCP connections by SNI; `tls.certResolver` gets the certificate for their hosts.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "routecert.dev",
    version = "v1alpha1",
    kind = "IngressRouteTCP",
    plural = "rcingressroutetcps",
    singular = "rcingressroutetcp",
    shortname = "rcirt",
    namespaced,
    status = "IngressRouteStatus",
    printcolumn(name = "Resolver", type_ = "string", json_path = ".spec.tls.certResolver"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct IngressRouteTcpSpec {
    /// Class of the controllers that this route is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// Names of entry points of the static configuration; none: all default ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry_points: Vec<String>,
    pub routes: Vec<TcpRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsTcp>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpRule {
    /// The rule, such as ``HostSNI(`example.com`)``.
    #[serde(rename = "match")]
    #[schemars(length(min = 1))]
    pub rule: String,
    /// The highest number wins; 0: the length of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9_223_372_036_854_774_807_i64))]
    pub priority: Option<i64>,
    /// `v3` or `v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syntax: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<TcpService>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<ObjectName>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpService {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<IntOrString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_delay: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers_transport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    #[serde(rename = "nativeLB", skip_serializing_if = "Option::is_none")]
    pub native_lb: Option<bool>,
    #[serde(rename = "nodePortLB", skip_serializing_if = "Option::is_none")]
    pub node_port_lb: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsTcp {
    /// Hand the connection on as it is; then no certificate is needed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<ObjectName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<ObjectName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_resolver: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub domains: Vec<Domain>,
}

/// What became of the route's wish for certificates.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressRouteStatus {
    /// `Ready`: every certificate of the route is held and its copies are in place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"]
    ))]
    pub conditions: Vec<Condition>,
    /// The AcmeCertificates that belong to the route.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateRef>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateRef {
    pub name: String,
    pub names: Vec<String>,
}

/// Something that only Traefik reads; kept as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Opaque(pub serde_json::Value);

impl JsonSchema for Opaque {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Opaque".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}
