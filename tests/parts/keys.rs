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

/// An authority with one intermediate, in PEM: what a CA signs with.
#[derive(Debug)]
pub struct Authority {
    pub root: String,
    pub intermediate: String,
    pub intermediate_key: String,
}

/// `name` is in both common names.
pub fn authority(name: &str) -> Authority {
    let issuer = |kind: &str, constraint| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(constraint);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, format!("{name}, {kind}"));
        params
    };
    let root = issuer("root", BasicConstraints::Constrained(1));
    let root_key = KeyPair::generate().unwrap();
    let signed = root.self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let intermediate = issuer("intermediate", BasicConstraints::Constrained(0));
    let intermediate = intermediate.signed_by(&key, &root_issuer).unwrap();
    Authority {
        root: signed.pem(),
        intermediate: intermediate.pem(),
        intermediate_key: key.serialize_pem(),
    }
}

/// A key that signs tokens: private and public half in PEM.
pub fn signing() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (key.serialize_pem(), key.public_key_pem())
}
