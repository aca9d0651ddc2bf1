//! TLSStore and TLSOption: the spec of `traefik.io/v1alpha1`, in our group.

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::api::Domain;

/// Certificates that are given rather than got, and what is served to a name without one. Only the
/// store named `default` counts.
#[derive(
    CustomResource, Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema,
)]
#[kube(
    group = "routecert.dev",
    version = "v1alpha1",
    kind = "TLSStore",
    plural = "rctlsstores",
    singular = "rctlsstore",
    shortname = "rcts",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsStoreSpec {
    /// Served where no other certificate fits; goes before `defaultGeneratedCert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_certificate: Option<GivenCertificate>,
    /// The same, got from a resolver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_generated_cert: Option<GeneratedCertificate>,
    /// Further certificates, served to the names in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<GivenCertificate>,
}

/// A certificate in a Secret of the object's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GivenCertificate {
    /// Secret with `tls.crt` and `tls.key`.
    pub secret_name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GeneratedCertificate {
    /// Name of a resolver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
}

/// How TLS is spoken with the clients of the routes that name it; `default`: of all others.
#[derive(
    CustomResource, Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema,
)]
#[kube(
    group = "routecert.dev",
    version = "v1alpha1",
    kind = "TLSOption",
    plural = "rctlsoptions",
    singular = "rctlsoption",
    shortname = "rcto",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsOptionSpec {
    /// `VersionTLS12` (also if absent) or `VersionTLS13`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<String>,
    /// For TLS 1.2; the suites of TLS 1.3 cannot be chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curve_preferences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
    /// Refuse a name that no certificate is held for, instead of serving the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni_strict: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn_protocols: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_session_tickets: Option<bool>,
    /// Deprecated: without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer_server_cipher_suites: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientAuth {
    /// Secrets of the object's namespace, with the CAs in `tls.ca` or `ca.crt`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "client_auth_type")]
    pub client_auth_type: Option<String>,
}

fn client_auth_type(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "enum": [
            "NoClientCert", "RequestClientCert", "RequireAnyClientCert",
            "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"
        ]
    })
}
