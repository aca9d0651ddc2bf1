//! AcmeCertificate: one per certificate, for people. Output only: nothing is ever read back from it.

#![expect(clippy::duplicated_attributes, reason = "each printcolumn has a type of its own")]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A certificate that routes lead to: what is wanted, its state, why, and what happens next.
#[derive(
    CustomResource, Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema,
)]
#[kube(
    group = "routecert.dev",
    version = "v1alpha1",
    kind = "AcmeCertificate",
    plural = "acmecertificates",
    singular = "acmecertificate",
    shortname = "acmecert",
    namespaced,
    derive = "PartialEq",
    status = "AcmeCertificateStatus",
    printcolumn(name = "Names", type_ = "string", json_path = ".spec.hosts"),
    printcolumn(name = "Resolver", type_ = "string", json_path = ".spec.resolver"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.notAfter"),
    printcolumn(name = "Renewal", type_ = "string", json_path = ".status.renewal"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", default)]
pub struct AcmeCertificateSpec {
    /// The names, the main one first.
    pub names: Vec<String>,
    /// The names in one word, for `kubectl get`.
    pub hosts: String,
    pub resolver: String,
    /// The routes that want it, as `kind namespace/name`; the first 200 of them.
    pub routes: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AcmeCertificateStatus {
    /// `True`: a valid certificate is held. `False`: none, or an expired one.
    pub ready: String,
    /// One word for programs.
    pub reason: String,
    /// For people: what is, and what happens next, with absolute times.
    pub message: String,
    /// End of the certificate's validity, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// When the next renewal begins, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal: Option<String>,
    /// The Secret that holds the certificate, as `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// What went wrong last; gone with the next success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// When it is tried again, RFC 3339, if something went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LastError {
    /// One word for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// In the CA's own words, if it was the CA.
    pub message: String,
    /// When, RFC 3339.
    pub at: String,
}
