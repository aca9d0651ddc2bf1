//! Which certificate is picked, and what a change leaves alone.

use jiff::SignedDuration;
use rcgen::{CertificateParams, KeyPair, RsaKeySize};
use rustls::{CipherSuite, SignatureScheme};

use super::*;
use crate::cert::KeyType;

const ALL: Client<'static> = Client {
    schemes: &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256],
    suites: &[CipherSuite::TLS13_AES_128_GCM_SHA256],
};
const RSA_ONLY: Client<'static> =
    Client { schemes: ALL.schemes, suites: &[CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256] };

fn day(number: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * (20_000 + number))
}

fn names(text: &str) -> Names {
    Names::new(text.split(' ').map(|name| Name::parse(name).unwrap())).unwrap()
}

fn id(number: usize) -> Id {
    Id::of("test", &number.to_string(), &names("a.x"))
}

fn ec(text: &str, from: i64, days: i64) -> Certificate {
    Certificate::self_signed(&names(text), day(from), days).unwrap()
}

fn rsa(text: &str, from: i64, days: i64) -> Certificate {
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::new([text.to_owned()]).unwrap();
    let time = |number| time::OffsetDateTime::from_unix_timestamp(day(number).as_second()).unwrap();
    (params.not_before, params.not_after) = (time(from), time(from + days));
    let chain = params.self_signed(&key).unwrap().pem();
    Certificate::parse(&chain, &key.serialize_pem()).unwrap()
}

fn put(number: usize, certificate: &Certificate) -> Change {
    let content = Ok(certificate.clone());
    Change::Put(Box::new(Entry::bare(id(number), content, "1")))
}

fn spoilt(number: usize, version: &str) -> Change {
    let content = Err(cert::Error::KeyMismatch);
    Change::Put(Box::new(Entry::bare(id(number), content, version)))
}

fn writer() -> Writer {
    let default = ec("default.routecert.invalid", 0, 1);
    Writer::new(Arc::new(Table::new(certified(&default).unwrap())))
}

fn leaf(certificate: &Certificate) -> Vec<u8> {
    certificate.ders().unwrap()[0].to_vec()
}

/// The index in `held` of what is picked on day 10, or `default`.
#[track_caller]
fn check(held: &[Certificate], sni: &str, client: Client<'_>, expected: &str) {
    let order: Vec<usize> = (0..held.len()).collect();
    let reversed: Vec<usize> = order.iter().rev().copied().collect();
    for order in [order, reversed] {
        let mut writer = writer();
        for number in order {
            writer.apply(put(number, &held[number]));
        }
        let picked = writer.table.pick(Some(sni), client, day(10));
        let found = held.iter().position(|one| leaf(one) == picked.cert[0].to_vec());
        let found = found.map_or_else(|| "default".to_owned(), |number| number.to_string());
        assert_eq!(found, expected, "{sni}");
    }
}

#[test]
fn the_ladder_is_climbed_from_its_top() {
    let exact = ec("a.x b.x", 0, 30);
    let wild = ec("*.x", 0, 60);
    let expired = ec("a.x", 0, 10);
    let future = ec("a.x", 11, 90);
    let longer = ec("a.x", 0, 31);
    let by_rsa = rsa("a.x", 0, 90);
    let held = |list: &[&Certificate]| list.iter().map(|one| (*one).clone()).collect::<Vec<_>>();

    check(&held(&[&exact, &wild]), "a.x", ALL, "0");
    check(&held(&[&exact, &wild]), "c.x", ALL, "1");
    check(&held(&[&exact, &wild]), "b.x.", ALL, "0");
    check(&held(&[&exact, &wild]), "x", ALL, "default");
    check(&held(&[&exact, &wild]), "a.a.x", ALL, "default");
    check(&held(&[&exact, &wild]), "*.x", ALL, "1");
    check(&held(&[&exact, &wild]), "", ALL, "default");
    check(&held(&[&expired]), "a.x", ALL, "0");
    check(&held(&[&expired, &wild]), "a.x", ALL, "1");
    check(&held(&[&expired, &exact]), "a.x", ALL, "1");
    check(&held(&[&future]), "a.x", ALL, "default");
    check(&held(&[&future, &expired]), "a.x", ALL, "1");
    check(&held(&[&exact, &longer]), "a.x", ALL, "1");
    check(&held(&[&by_rsa, &exact]), "a.x", ALL, "1");
    check(&held(&[&by_rsa, &exact]), "a.x", RSA_ONLY, "0");
    check(&held(&[&by_rsa, &expired]), "a.x", ALL, "0");
}

#[test]
fn validity_changes_by_the_clock_alone() {
    let mut writer = writer();
    let (one, two) = (ec("a.x", 0, 10), ec("a.x", 5, 2));
    writer.apply(put(1, &one));
    writer.apply(put(2, &two));
    let picked = |now| writer.table.pick(Some("a.x"), ALL, now).cert[0].to_vec();
    assert_eq!(picked(day(6)), leaf(&one));
    assert_eq!(picked(day(10)), leaf(&one), "of two expired ones the later");
    let last = day(10) - SignedDuration::from_secs(1);
    assert_eq!(picked(last), leaf(&one));
}

#[test]
fn no_name_gets_the_default() {
    let writer = writer();
    let default = writer.table.default.cert[0].to_vec();
    assert_eq!(writer.table.pick(None, ALL, day(10)).cert[0].to_vec(), default);
}

#[test]
fn a_renewed_certificate_leaves_the_names_that_it_lost() {
    let mut writer = writer();
    let (old, new) = (ec("a.x b.x *.c.x", 0, 30), ec("a.x d.x", 0, 30));
    assert!(matches!(writer.apply(put(1, &old)), Applied::Served(_)));
    assert!(matches!(writer.apply(put(1, &old)), Applied::Same));
    assert!(matches!(writer.apply(put(1, &new)), Applied::Served(_)));
    let served = |name: &str| writer.table.find(name, ALL, day(10)).map(|key| key.cert[0].to_vec());
    assert_eq!(served("a.x"), Some(leaf(&new)));
    assert_eq!(served("d.x"), Some(leaf(&new)));
    assert_eq!(served("b.x"), None);
    assert_eq!(served("z.c.x"), None);
    assert_eq!(writer.len(), 1);
}

#[test]
fn a_bad_certificate_leaves_the_earlier_one_and_the_others() {
    let mut writer = writer();
    let (one, two) = (ec("a.x", 0, 30), ec("b.x", 0, 30));
    writer.apply(put(1, &one));
    writer.apply(put(2, &two));
    assert!(matches!(writer.apply(spoilt(1, "7")), Applied::LeftOut(_, _)));
    assert!(matches!(writer.apply(spoilt(1, "7")), Applied::Same), "one warning is enough");
    assert!(matches!(writer.apply(spoilt(1, "8")), Applied::LeftOut(_, _)));
    assert!(matches!(writer.apply(spoilt(3, "1")), Applied::LeftOut(_, _)));
    let served = |name: &str| writer.table.find(name, ALL, day(10)).map(|key| key.cert[0].to_vec());
    assert_eq!(served("a.x"), Some(leaf(&one)));
    assert_eq!(served("b.x"), Some(leaf(&two)));
}

#[test]
fn what_is_gone_is_no_longer_served() {
    let mut writer = writer();
    let (one, two) = (ec("a.x", 0, 30), ec("a.x", 0, 20));
    writer.apply(put(1, &one));
    writer.apply(put(2, &two));
    assert!(matches!(writer.apply(Change::Gone(id(1))), Applied::Removed(_)));
    let picked = writer.table.find("a.x", ALL, day(10)).map(|key| key.cert[0].to_vec());
    assert_eq!(picked, Some(leaf(&two)));
    writer.apply(Change::Gone(id(2)));
    assert!(writer.table.find("a.x", ALL, day(10)).is_none());
    assert!(matches!(writer.apply(Change::Gone(id(2))), Applied::Same));
}

#[test]
fn every_kind_of_key_says_what_it_signs_with() {
    let count = |key_type| {
        let key = cert::Key::generate(key_type).unwrap();
        let key = any_supported_type(&key.der().unwrap()).unwrap();
        schemes_of(&CertifiedKey::new(Vec::new(), key)).len()
    };
    assert_eq!(count(KeyType::Ec256), 1);
    assert_eq!(count(KeyType::Ec384), 1);
    assert_eq!(count(KeyType::Rsa2048), 6);
}
