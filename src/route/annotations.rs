//! `routecert.dev/…` on a route: the wishes of people who keep another proxy.

use std::collections::BTreeMap;

use crate::cert::KeyType;
use crate::route::names;
use crate::route::{Entry, Reason, Refusal, Tls};

const RESOLVER: &str = "routecert.dev/cert-resolver";
const DOMAINS: &str = "routecert.dev/domains";
const KEY_TYPE: &str = "routecert.dev/key-type";
const SECRET_NAME: &str = "routecert.dev/secret-name";

pub(super) type Annotations = BTreeMap<String, String>;

/// Whether the route asks for a certificate by an annotation of ours.
pub(super) fn resolver(annotations: &Annotations) -> Option<&str> {
    filled(annotations, RESOLVER)
}

/// Annotations go before what stands in the spec.
pub(super) fn apply(annotations: &Annotations, tls: Option<Tls>) -> Result<Option<Tls>, Refusal> {
    let key_type = filled(annotations, KEY_TYPE).map(key_type).transpose()?;
    let mut tls = match (tls, resolver(annotations)) {
        (tls, Some(resolver)) => Tls { resolver: Some(resolver.into()), ..tls.unwrap_or_default() },
        (Some(tls), None) => tls,
        // A wish without a resolver is told, not passed over.
        (None, None) if filled(annotations, DOMAINS).is_some() => Tls::default(),
        (None, None) => return Ok(None),
    };
    tls.key_type = key_type.or(tls.key_type);
    if let Some(name) = filled(annotations, SECRET_NAME) {
        tls.secret_name = Some(name.into());
        for later in tls.domains.iter_mut().skip(1) {
            later.secret_name = None;
        }
    }
    if let Some(domains) = filled(annotations, DOMAINS) {
        let nothing = format!("{DOMAINS} names nothing");
        let names = names::listed(domains.split(','), &nothing);
        let first = tls.domains.first().and_then(|entry| entry.secret_name.clone());
        let secret_name = tls.secret_name.clone().or(first);
        tls.domains = vec![Entry { names, secret_name }];
    }
    Ok(Some(tls))
}

fn key_type(text: &str) -> Result<KeyType, Refusal> {
    KeyType::parse(text).ok_or_else(|| {
        let message = format!(
            "annotation {KEY_TYPE}: `{}` is no key type; write EC256, EC384, RSA2048, RSA4096 or \
             RSA8192",
            text.chars().take(40).collect::<String>()
        );
        Refusal::new(Reason::InvalidObject, message)
    })
}

fn filled<'a>(annotations: &'a Annotations, name: &str) -> Option<&'a str> {
    annotations.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}
