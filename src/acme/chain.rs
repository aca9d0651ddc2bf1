//! The chain that a CA sends (RFC 8555 §7.4.2, §9.1): nothing but certificates, and the one of
//! several that is preferred.

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::acme::Error;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The chain as text. Anything in it that is no certificate makes all of it unusable: whoever
/// writes it to a file must not be made to write something else.
pub(super) fn checked(body: &Bytes) -> Result<String, Error> {
    let bad = |what: &str| Error::BadChain(what.to_owned());
    let text = str::from_utf8(body).map_err(|_not_text| bad("it is no text"))?;
    let mut inside = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        inside = match (inside, line) {
            (false, BEGIN) => true,
            (true, END) => false,
            (true, line) if !line.starts_with("-----") => true,
            _ => return Err(bad("there is something in it that is no certificate")),
        };
    }
    if inside {
        return Err(bad("its end is missing"));
    }
    let ders = ders(text)?;
    if ders.is_empty() {
        return Err(bad("it is empty"));
    }
    for der in &ders {
        let (rest, _) = x509_parser::parse_x509_certificate(der)
            .map_err(|error| bad(&format!("a certificate that cannot be read: {error}")))?;
        if !rest.is_empty() {
            return Err(bad("there is something behind a certificate"));
        }
    }
    Ok(text.to_owned())
}

/// Whether the certificate at the top was issued by a CA of this common name.
pub(super) fn ends_with(chain: &str, issuer: &str) -> bool {
    let Ok(ders) = ders(chain) else { return false };
    let Some(top) = ders.last() else { return false };
    let Ok((_, top)) = x509_parser::parse_x509_certificate(top) else { return false };
    top.issuer().iter_common_name().filter_map(|name| name.as_str().ok()).any(|name| name == issuer)
}

fn ders(chain: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| Error::BadChain(error.to_string()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn named(common_name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.x".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn refused(text: &str) -> bool {
        matches!(checked(&Bytes::from(text.to_owned())), Err(Error::BadChain(_)))
    }

    #[test]
    fn a_chain_is_taken_whole_or_not_at_all() {
        let ((one, key), (two, _)) = (named("one"), named("two"));
        let both = format!("{one}\n{two}");
        assert_eq!(checked(&Bytes::from(both.clone())).unwrap(), both);
        assert!(!refused(&both.replace('\n', "\r\n")));
        for wrong in [
            String::new(),
            "<html>".to_owned(),
            format!("{one}{key}"),
            format!("{key}{one}"),
            format!("#!/bin/sh\n{one}"),
            format!("{one}rest"),
            one.replace("END", "BEGIN"),
            one.chars().take(one.len() / 2).collect(),
            format!("{BEGIN}\nAAAA\n{END}\n"),
            format!("{BEGIN}\n{END}\n"),
        ] {
            assert!(refused(&wrong), "{wrong}");
        }
        assert!(matches!(checked(&Bytes::from_static(&[0xff])), Err(Error::BadChain(_))));
    }

    #[test]
    fn the_issuer_of_the_top_is_what_counts() {
        let both = named("one").0 + &named("two").0;
        assert!(ends_with(&both, "two"));
        assert!(!ends_with(&both, "one") && !ends_with(&both, "Two"));
        assert!(!ends_with("", "two"));
    }
}
