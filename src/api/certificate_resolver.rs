//! CertificateResolver: a resolver as an object of the cluster, with its credentials in Secrets.
//!
//! The keys of `acme` are those of `certificatesResolvers.<name>.acme` in the static configuration,
//! without what names files or holds a secret. Every list and text is bounded: the API server
//! reckons what a rule may cost before it takes it, and the controller keeps all of them in memory.

#![expect(clippy::duplicated_attributes, reason = "each printcolumn has a type of its own")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A CA and how names are proven to it; routes name it as their `certResolver`. A resolver of the
/// static configuration with the same name goes before it.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "routecert.dev",
    version = "v1alpha1",
    kind = "CertificateResolver",
    plural = "certificateresolvers",
    singular = "certificateresolver",
    shortname = "certresolver",
    status = "CertificateResolverStatus",
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
    printcolumn(name = "CA", type_ = "string", json_path = ".spec.acme.caServer"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct CertificateResolverSpec {
    pub acme: Acme,
    /// Who may use it; absent: everybody, for every name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,
    /// Names that only these namespaces may have, whoever claimed them first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub grants: Vec<Grant>,
}

/// An absent list leaves that side open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Allow {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 63)))]
    pub namespaces: Vec<String>,
    /// `example.com` is that name alone, `*.example.com` every name below it, `*` every name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 255)))]
    pub domains: Vec<String>,
}

/// Both lists must say something: a grant to nobody in particular would take names from everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Grant {
    #[schemars(length(min = 1, max = 256), inner(length(max = 63)))]
    pub namespaces: Vec<String>,
    /// `example.com` is that name alone, `*.example.com` every name below it, `*` every name.
    #[schemars(length(min = 1, max = 256), inner(length(max = 255)))]
    pub domains: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.dnsChallenge) || has(self.httpChallenge) || has(self.tlsChallenge)",
    "message": "a resolver needs `dnsChallenge`, `httpChallenge` or `tlsChallenge`"
}]))]
pub struct Acme {
    /// URL of the CA's directory; absent: Let's Encrypt's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "https_url")]
    pub ca_server: Option<String>,
    /// Name expected in the CA's certificate, in place of the URL's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub ca_server_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_system_cert_pool: Option<bool>,
    /// How long to wait for the CA to issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "span")]
    pub certificate_timeout: Option<IntOrString>,
    /// Lifetime that the CA gives, in hours; decides when to renew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 876_600))]
    pub certificates_duration: Option<i64>,
    /// How long to wait for the head of an answer of the CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "span")]
    pub client_response_header_timeout: Option<IntOrString>,
    /// How long one exchange with the CA may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "span")]
    pub client_timeout: Option<IntOrString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_common_name: Option<bool>,
    /// Prove names by a TXT record (DNS-01).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_challenge: Option<DnsChallenge>,
    /// External account binding (RFC 8555 §7.3.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eab: Option<Eab>,
    /// Contact of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254))]
    pub email: Option<String>,
    /// Mail addresses to put into certificates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 254)))]
    pub email_addresses: Vec<String>,
    /// Prove names over HTTP on port 80 (HTTP-01).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_challenge: Option<HttpChallenge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "key_type")]
    pub key_type: Option<String>,
    /// Issuer of the chain to prefer, if the CA offers several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub preferred_chain: Option<String>,
    /// Profile to ask the CA for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub profile: Option<String>,
    /// Prove names in the TLS handshake (TLS-ALPN-01).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_challenge: Option<TlsChallenge>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Eab {
    /// Name of the key at the CA.
    #[schemars(length(min = 1, max = 1024))]
    pub kid: String,
    /// The key from the CA, in base64url.
    pub hmac_secret_ref: SecretKey,
}

/// One entry of a Secret in the controller's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct SecretKey {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpChallenge {
    /// The entry point that the CA reaches on port 80.
    #[schemars(length(min = 1, max = 253))]
    pub entry_point: String,
    /// Wait between publishing the answer and telling the CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "span")]
    pub delay: Option<IntOrString>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct TlsChallenge {
    /// Wait between publishing the answer and telling the CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "span")]
    pub delay: Option<IntOrString>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsChallenge {
    /// Who writes the records; the one with the longest zone that fits a name.
    #[schemars(length(min = 1, max = 64))]
    pub solvers: Vec<DnsSolver>,
    /// Deprecated: `propagation.delayBeforeChecks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "span")]
    pub delay_before_check: Option<IntOrString>,
    /// Deprecated: `propagation.disableChecks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_propagation_check: Option<bool>,
    /// How to see that the record is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<Propagation>,
    /// DNS servers to ask, `host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 300)))]
    pub resolvers: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct DnsSolver {
    /// Only for names in these zones; none: for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 253)))]
    pub zones: Vec<String>,
    /// Code of the DNS provider.
    #[schemars(length(min = 1, max = 64))]
    pub provider: String,
    /// The provider's variables and where their values are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub env: BTreeMap<String, Variable>,
    /// Credentials of the machine that the controller runs on: only a static resolver may use them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ambient: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    pub secret_ref: SecretKey,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Propagation {
    /// Wait before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "span")]
    pub delay_before_checks: Option<IntOrString>,
    /// Do not ask the zone's own servers.
    #[serde(rename = "disableANSChecks", skip_serializing_if = "Option::is_none")]
    pub disable_ans_checks: Option<bool>,
    /// Do not look at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_checks: Option<bool>,
    /// All of `resolvers` must have the record.
    #[serde(rename = "requireAllRNS", skip_serializing_if = "Option::is_none")]
    pub require_all_rns: Option<bool>,
}

/// Whether the resolver can be used.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct CertificateResolverStatus {
    /// `Ready`: the resolver is usable, its Secrets are there and nothing static has its name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"]
    ))]
    pub conditions: Vec<Condition>,
}

/// A duration: `30s`, `1h30m`, or a number of seconds.
fn span(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true, "maxLength": 64})
}

fn https_url(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 2048,
        "x-kubernetes-validations": [{
            "rule": "self.startsWith('https://')",
            "message": "ACME is spoken over https:// only"
        }]
    })
}

fn key_type(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "enum": ["EC256", "EC384", "RSA2048", "RSA4096", "RSA8192"]
    })
}
