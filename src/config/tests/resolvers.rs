//! Facts about resolvers: what costs one, what only stands in its way, what it can prove.

use std::collections::BTreeMap;

use crate::config::tests::{alone, config, refuses, resolver, warns, with_acme};
use crate::config::{Reading, Sources, read};
use crate::name::Name;
use crate::resolver::{ChallengeKind, Lack, MacKey};

/// Only the resolver is unusable: the reason is kept and there is one warning with it.
#[track_caller]
fn faulty(text: &str, part: &str) {
    let reason = config(text).resolvers["le"].clone().expect_err("usable");
    assert!(reason.contains(part), "{text}\n{reason}");
    warns(text, part);
}

#[test]
fn a_fault_of_a_resolver_costs_only_that_resolver() {
    faulty(&with_acme("keyType: EC521"), "expected one of EC256, EC384, RSA2048, RSA4096, RSA8192");
    faulty(&with_acme("certificatesDuration: 0"), "certificatesDuration: must be at least 1");
    faulty(&with_acme("caServer: 'http://ca.example/dir'"), "begins with https://");
    faulty(&with_acme("caServer: 'https://'"), "begins with https://");
    faulty(&with_acme("storage: ''"), "storage: is empty");
    faulty(&with_acme("caServerName: 'a b'"), "`a b` is no name");
    faulty(&with_acme("clientTimeout: 10s"), "at least clientResponseHeaderTimeout (30s)");
    faulty(&alone("storage: a.json"), "no challenge is set");
    faulty(&alone("tlsChallenge: false"), "no challenge is set");
    faulty(&alone("httpChallenge: {}"), "httpChallenge.entryPoint: is missing");
    faulty(
        &alone("httpChallenge: {entryPoint: nope}"),
        "no entry point `nope`; expected one of web, websecure",
    );
    let text = with_acme("keyType: no") + "";
    let both =
        text.replace("{le:", "{ok: {acme: {email: a@b.c, httpChallenge: {entryPoint: web}}}, le:");
    assert!(config(&both).resolvers["ok"].is_ok() && config(&both).resolvers["le"].is_err());
}

#[test]
fn a_resolver_without_acme_is_left_out() {
    for text in ["{le: {}}", "{le: {tailscale: {}}}"] {
        let text = format!("certificatesResolvers: {text}");
        warns(&text, "certificatesResolvers.le: has no acme section");
        assert!(config(&text).resolvers.is_empty());
    }
    refuses(
        "certificatesResolvers: {le: {acme: {email: a@b.c}, tailscale: {}}}",
        "f.yml:1:",
        "both acme and tailscale",
    );
}

#[test]
fn an_empty_email_and_the_first_lets_encrypt_are_warnings() {
    warns(
        &alone("httpChallenge: {entryPoint: web}").replace("a@b.c", "''"),
        "acme.email: is empty",
    );
    let old = "caServer: 'https://acme-v01.api.letsencrypt.org/directory'";
    warns(&with_acme(old), "caServer: this CA is no more");
    assert_eq!(resolver(old).ca_server, "https://acme-v02.api.letsencrypt.org/directory");
}

#[test]
fn a_challenge_that_this_version_cannot_carry_out_is_a_warning_and_the_resolver_stands() {
    let name = Name::parse("a.example").unwrap();
    for challenge in ["tlsChallenge: {}", "tlsChallenge: true", "tlsChallenge: {delay: 3}"] {
        let le = config(&alone(challenge)).resolvers["le"].clone().unwrap().usable().unwrap();
        assert_eq!(le.challenge_of(&name), Ok(ChallengeKind::TlsAlpn01));
    }
    let text = alone("dnsChallenge: {provider: vercel}");
    warns(&text, "Vercel is not built into this version yet");
    let le = config(&text).resolvers["le"].clone().unwrap();
    assert_eq!(le.challenge_of(&name), Ok(ChallengeKind::Dns01));
    assert!(le.usable().unwrap_err().starts_with("dnsChallenge: "));
    let both = with_acme("dnsChallenge: {provider: vercel}");
    warns(&both, "Vercel is not built into this version yet");
    let le = config(&both).resolvers["le"].clone().unwrap().usable().unwrap();
    assert_eq!(le.challenge_of(&name), Ok(ChallengeKind::Http01));
    let lack = le.challenge_of(&Name::parse("*.a.example").unwrap()).unwrap_err();
    assert!(matches!(lack, Lack::Obstacle(_)), "{lack:?}");
}

#[test]
fn an_account_binding_has_a_name_and_a_key() {
    let le = resolver("eab: {kid: k, hmacEncoded: aG1hYw}").usable().unwrap();
    let eab = le.eab.unwrap();
    assert_eq!((eab.kid.as_str(), eab.key), ("k", MacKey::Given(b"hmac".to_vec())));
    warns(&with_acme("eab: {kid: k, hmacEncoded: 'aG1hYw=='}"), "but can be read");
    faulty(&with_acme("eab: {kid: k}"), "eab.hmacEncoded: is missing beside kid");
    faulty(&with_acme("eab: {hmacEncoded: aG1hYw}"), "eab.kid: is missing beside hmacEncoded");
}

fn read_flags(flags: &[&str], environment: &[(&str, &str)]) -> Reading {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment: BTreeMap<String, String> = environment.iter().map(own).collect();
    let acme = |flag: &&str| format!("--certificatesResolvers.le.acme.{flag}");
    let flags: Vec<String> = flags.iter().map(acme).collect();
    read(&Sources { file: None, environment: &environment, flags: &flags })
}

#[test]
fn missing_variables_and_files_are_warnings_and_obstacles_when_the_program_starts() {
    let reading = read_flags(&["email=a@b.c", "dnsChallenge.provider=desec"], &[]);
    assert!(reading.warnings.iter().any(|it| it.message.ends_with("not set: DESEC_TOKEN")));
    let le = reading.config.unwrap().resolvers["le"].clone().unwrap();
    assert!(le.usable().unwrap_err().ends_with("not set: DESEC_TOKEN"));

    let flags = ["httpChallenge.entryPoint=http", "caCertificates=/nowhere/ca.pem"];
    let reading = read_flags(&flags, &[]);
    assert!(reading.warnings.iter().any(|it| it.message.contains("cannot be read")));
    let le = reading.config.unwrap().resolvers["le"].clone().unwrap();
    let why = le.usable().unwrap_err();
    assert!(why.starts_with("caCertificates[0]: `/nowhere/ca.pem`: cannot be read"), "{why}");
}

#[test]
fn a_ca_file_needs_certificates_that_can_be_read() {
    let folder = std::env::temp_dir().join(format!("routecert-ca-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let pem = |body: &str| {
        format!("text\n-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    };
    for (text, part) in [
        ("nothing".to_owned(), "has no certificate"),
        (pem("bm90aGluZw=="), "certificate 1 in it cannot be read"),
        (pem("%%%"), "is no valid PEM"),
    ] {
        let path = folder.join("ca.pem");
        std::fs::write(&path, text).unwrap();
        let why = crate::config::certificate_file(&path).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
