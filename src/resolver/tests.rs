//! Facts about what a resolver can prove.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cert::KeyType;
use crate::name::Name;
use crate::resolver::{
    CaTrust, ChallengeKind, Challenges, DnsChallenge, HttpChallenge, Lack, MacKey, Resolver,
    TlsChallenge,
};

fn resolver(challenges: Challenges) -> Resolver {
    Resolver {
        name: "le".to_owned(),
        email: String::new(),
        ca_server: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
        trust: CaTrust::default(),
        eab: None,
        key_type: KeyType::Ec256,
        preferred_chain: None,
        email_addresses: Vec::new(),
        disable_common_name: false,
        certificates_duration: Duration::from_hours(2160),
        client_timeout: Duration::from_mins(2),
        response_header_timeout: Duration::from_secs(30),
        certificate_timeout: Duration::from_secs(30),
        profile: None,
        challenges,
        explicit: BTreeSet::new(),
        obstacles: Vec::new(),
        taken_out: BTreeMap::new(),
    }
}

fn all() -> Challenges {
    Challenges {
        http: Some(HttpChallenge { entry_point: "web".to_owned(), delay: Duration::ZERO }),
        tls: Some(TlsChallenge { delay: Duration::ZERO }),
        dns: Some(DnsChallenge { provider: "desec".to_owned(), ..DnsChallenge::default() }),
    }
}

fn http() -> Challenges {
    Challenges { tls: None, dns: None, ..all() }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[test]
fn a_wildcard_is_proven_by_dns_01_only_any_other_name_by_the_first_that_is_set() {
    let three = resolver(all());
    assert_eq!(three.challenge_of(&name("a.example")), Ok(ChallengeKind::TlsAlpn01));
    assert_eq!(three.challenge_of(&name("*.a.example")), Ok(ChallengeKind::Dns01));
    let two = resolver(Challenges { tls: None, ..all() });
    assert_eq!(two.challenge_of(&name("a.example")), Ok(ChallengeKind::Http01));
    let one = resolver(Challenges { http: None, tls: None, ..all() });
    assert_eq!(one.challenge_of(&name("a.example")), Ok(ChallengeKind::Dns01));
    let none = resolver(Challenges { dns: None, ..all() });
    assert_eq!(none.challenge_of(&name("*.a.example")), Err(Lack::NeedsDns01));
}

#[test]
fn what_this_version_cannot_carry_out_is_an_obstacle_and_not_a_lack() {
    let unbuilt = DnsChallenge { obstacles: vec!["not yet".to_owned()], ..DnsChallenge::default() };
    let some = resolver(Challenges { dns: Some(unbuilt), ..all() }).usable().unwrap();
    assert_eq!(some.challenges.kinds(), [ChallengeKind::TlsAlpn01, ChallengeKind::Http01]);
    let Err(Lack::Obstacle(why)) = some.challenge_of(&name("*.a.example")) else { panic!() };
    assert!(why.contains("dnsChallenge: not yet"), "{why}");
    let missing =
        DnsChallenge { obstacles: vec!["DESEC_TOKEN".to_owned()], ..DnsChallenge::default() };
    let why = resolver(Challenges { dns: Some(missing), ..Challenges::default() }).usable();
    assert_eq!(why.unwrap_err(), "dnsChallenge: DESEC_TOKEN");
    let mut blocked = resolver(http());
    blocked.obstacles.push("no file".to_owned());
    assert_eq!(blocked.usable().unwrap_err(), "no file");
}

#[test]
fn public_cas_are_known_by_the_host_of_their_directory() {
    let at = |url: &str| Resolver { ca_server: url.to_owned(), ..resolver(http()) };
    for url in [
        "https://acme-v02.api.letsencrypt.org/directory",
        "https://ACME-staging-v02.api.letsencrypt.org/directory",
        "https://acme.zerossl.com/v2/DV90",
        "https://dv.acme-v02.api.pki.goog/directory",
        "https://api.buypass.com/acme/directory",
        "https://acme.ssl.com/sslcom-dv-ecc",
        "https://acme-api.actalis.com/acme/directory",
        "https://acme.sectigo.com/v2/DV",
        "https://acme.enterprise.sectigo.com:443/",
    ] {
        assert!(at(url).public_ca(), "{url}");
    }
    for url in [
        "https://ca.internal/acme/directory",
        "https://evilpki.goog/",
        "https://pebble:14000/dir",
        "https://acme.zerossl.com.example/v2",
    ] {
        assert!(!at(url).public_ca(), "{url}");
    }
}

#[test]
fn short_profiles_of_lets_encrypt_hold_fewer_names() {
    let with = |profile: &str| Resolver { profile: Some(profile.to_owned()), ..resolver(http()) };
    assert_eq!((with("tlsserver").max_names(), with("shortlived").max_names()), (25, 25));
    assert_eq!(with("classic").max_names(), 100);
    let other = Resolver { ca_server: "https://ca.internal/dir".to_owned(), ..with("tlsserver") };
    assert_eq!(other.max_names(), 100);
}

#[test]
fn a_mac_key_is_read_in_every_form_that_cas_give_and_never_shown() {
    let read = |text: &str| MacKey::decode(text);
    assert_eq!(read("aG1hY_8").as_deref(), Some(&b"hmac\xff"[..]));
    assert_eq!(read("aG1hY/8="), read("aG1hY_8"));
    assert_eq!(read(" aG1hYw==\n").as_deref(), Some(&b"hmac"[..]));
    assert_eq!((read("a b"), read("")), (None, None));
    let key = MacKey::Given(b"hmac".to_vec());
    assert_eq!(format!("{key:?}"), "Given(***)");
}
