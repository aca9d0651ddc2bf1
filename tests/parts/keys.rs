//! Keys and certificates that the parts themselves need: made at start, thrown away at the end.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A server's certificate and the authority that signed it, all in PEM.
#[derive(Debug)]
pub struct ServerKeys {
    pub authority: String,
    pub chain: String,
    pub key: String,
}

/// For `names`, which may be addresses.
pub fn server(names: &[&str]) -> ServerKeys {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    authority.distinguished_name.push(DnType::CommonName, "routecert tests");
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);

    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    ServerKeys { authority: root.pem(), chain: leaf.pem() + &root.pem(), key: key.serialize_pem() }
}

/// A key that signs tokens: private and public half in PEM.
pub fn signing() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (key.serialize_pem(), key.public_key_pem())
}
