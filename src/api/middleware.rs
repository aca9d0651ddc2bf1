//! Middleware: the spec of `traefik.io/v1alpha1`, in our group.
//!
//! One section of the spec is filled. Those that are plain enough have types; of the others only
//! the names are known, and what is in them is kept as it is.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ObjectName, Opaque};

/// Changes requests and answers on their way, or answers itself. One section is filled.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "routecert.dev",
    version = "v1alpha1",
    kind = "Middleware",
    plural = "rcmiddlewares",
    singular = "rcmiddleware",
    shortname = "rcm",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
pub struct MiddlewareSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_prefix: Option<AddPrefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffering: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_auth: Option<Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoded_characters: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_auth: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_web: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_req: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_allow_list: Option<IpAllowList>,
    /// Deprecated: `ipAllowList`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_white_list: Option<IpAllowList>,
    #[serde(rename = "passTLSClientCert", skip_serializing_if = "Option::is_none")]
    pub pass_tls_client_cert: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_regex: Option<RedirectRegex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_scheme: Option<RedirectScheme>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_path: Option<ReplacePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_path_regex: Option<ReplacePathRegex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<StripPrefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_prefix_regex: Option<StripPrefixRegex>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct AddPrefix {
    /// Put before the path; begins with `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// Users and passwords, for `basicAuth` and `digestAuth`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Auth {
    /// Secret of the object's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// Do not hand the credentials on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_header: Option<bool>,
    /// Header that tells the service who the user is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_field: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Chain {
    /// Other Middlewares, in the order in which a request meets them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<ObjectName>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IpAllowList {
    /// Addresses and networks that are let in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_range: Vec<String>,
    /// How the client's address is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_strategy: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_status_code: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct RedirectRegex {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permanent: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct RedirectScheme {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// A number, written as a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permanent: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct ReplacePath {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct ReplacePathRegex {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StripPrefix {
    /// The first that fits is taken away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Deprecated: what is left begins with `/` in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_slash: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct StripPrefixRegex {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regex: Vec<String>,
}
