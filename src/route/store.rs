//! TLSStore: the certificate that it wants got for hosts that have none.

use kube::CustomResourceExt;
use serde::Deserialize;
use serde_json::Value;
use std::sync::LazyLock;

use crate::api;
use crate::api::{TLSStore, TlsStoreSpec};
use crate::route::names;
use crate::route::{Entry, Kind, Refusal, Spec, Tls};

/// Only a store of this name is ever used.
pub const DEFAULT: &str = "default";

pub(super) fn read(spec: &Value) -> Result<Spec, Refusal> {
    let typed = TlsStoreSpec::deserialize(spec).map_err(|error| super::unreadable(&error))?;
    let provided = typed.default_certificate.is_some();
    let generated = typed.default_generated_cert.filter(|_| !provided);
    let tls = generated.map(|wanted| {
        let domain = wanted.domain.unwrap_or_default();
        let names = names::names_of(domain.main.as_deref().unwrap_or_default(), &domain.sans);
        Tls {
            resolver: super::filled(wanted.resolver),
            domains: vec![Entry { names, secret_name: None }],
            ..Tls::default()
        }
    });
    Ok(Spec { tls, ..Spec::default() })
}

pub(super) fn unknown_fields(kind: Kind, spec: &Value) -> Vec<String> {
    static STORE: LazyLock<Value> = LazyLock::new(|| api::spec_schema(&TLSStore::crd()));
    if kind == Kind::OwnStore { api::unknown_fields(&STORE, spec) } else { Vec::new() }
}
