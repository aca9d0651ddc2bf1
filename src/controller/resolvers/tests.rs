//! Facts about resolvers that are objects, and the Secrets that they name.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;

fn config() -> Config {
    let text = "entryPoints: {web: {address: ':80'}}\ncertificatesResolvers: {}\n";
    crate::config::parse("routecert.yaml", text).config.unwrap()
}

fn resolvers() -> (Resolvers, watch::Receiver<bool>) {
    let (wanted, is_wanted) = watch::channel(false);
    (Resolvers::new("home", wanted), is_wanted)
}

fn object(generation: i64, more: &Value) -> Object {
    let mut acme = json!({"email": "a@example.com", "httpChallenge": {"entryPoint": "web"}});
    acme.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let spec = Some(json!({"acme": acme}));
    Object { name: "team".to_owned(), generation, spec, ..Object::default() }
}

fn secret(name: &str, key: &str) -> Seen<Secret> {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.to_owned());
    secret.data = Some(BTreeMap::from([(key.to_owned(), ByteString(b"x".to_vec()))]));
    Seen::Put(secret)
}

fn told(resolvers: &Resolvers) -> (&'static str, String) {
    let news = resolvers.news("team").unwrap();
    (news.reason, news.message)
}

fn live(resolvers: &mut Resolvers) -> Live {
    let ForWorld::Is(live) = resolvers.news_for_world("team") else { panic!("no news") };
    *live
}

fn solver() -> Value {
    let secret = json!({"secretRef": {"name": "dns", "key": "token"}});
    let solver = json!({"provider": "desec", "env": {"DESEC_TOKEN": secret}});
    json!({"dnsChallenge": {"solvers": [solver]}})
}

#[test]
fn a_resolver_without_secrets_is_ready_at_once_and_told_to_the_world_once() {
    let (mut resolvers, wanted) = resolvers();
    resolvers.take(&config(), "team", Some(object(1, &json!({}))));
    assert_eq!(told(&resolvers).0, READY);
    assert!(live(&mut resolvers).resolver.is_ok());
    assert_eq!(resolvers.news_for_world("team"), ForWorld::AsBefore);
    assert!(resolvers.are_known() && !*wanted.borrow());
    resolvers.take(&config(), "team", None);
    assert!(resolvers.news("team").is_none());
    assert_eq!(resolvers.news_for_world("team"), ForWorld::Gone);
    assert_eq!(resolvers.news_for_world("team"), ForWorld::AsBefore);
}

#[test]
fn one_of_the_configuration_goes_before_it() {
    let (mut resolvers, _wanted) = resolvers();
    let text = "entryPoints: {web: {address: ':80'}}\n\
                certificatesResolvers: {team: {acme: {httpChallenge: {entryPoint: web}}}}\n";
    let config = crate::config::parse("routecert.yaml", text).config.unwrap();
    resolvers.take(&config, "team", Some(object(1, &json!({}))));
    let news = resolvers.news("team").unwrap();
    assert_eq!((news.ready, news.reason), (false, "Conflict"));
}

#[test]
fn nothing_is_said_before_its_secrets_are_known_and_a_missing_one_is_named() {
    let (mut resolvers, wanted) = resolvers();
    resolvers.take(&config(), "team", Some(object(1, &solver())));
    assert!(*wanted.borrow() && !resolvers.are_known());
    assert!(resolvers.news("team").is_none());
    assert_eq!(resolvers.news_for_world("team"), ForWorld::AsBefore);
    resolvers.see(secret("other", "token"));
    assert_eq!(resolvers.see(Seen::Synced), ["team"]);
    let (reason, message) = told(&resolvers);
    assert_eq!(reason, MISSING);
    assert!(message.starts_with("there is no Secret home/dns; "), "{message}");
    live(&mut resolvers);
    assert_eq!(resolvers.see(secret("dns", "typo")), ["team"]);
    assert!(told(&resolvers).1.starts_with("Secret home/dns has nothing under key `token`"));
    assert_eq!(resolvers.see(secret("other", "token")), Vec::<String>::new());
    resolvers.see(secret("dns", "token"));
    let (reason, message) = told(&resolvers);
    assert!(reason == READY && message.contains("dnsChallenge"), "{reason} {message}");
    assert!(live(&mut resolvers).resolver.unwrap().challenges.dns.is_some());
}

#[test]
fn a_resolver_is_ready_once_the_secret_of_its_binding_is_there() {
    let (mut resolvers, _wanted) = resolvers();
    let eab = json!({"eab": {"kid": "k", "hmacSecretRef": {"name": "eab", "key": "hmac"}}});
    resolvers.take(&config(), "team", Some(object(1, &eab)));
    resolvers.see(Seen::Synced);
    let (reason, message) = told(&resolvers);
    assert_eq!(reason, MISSING);
    assert!(message.contains("home/eab"), "{message}");
    resolvers.see(secret("eab", "hmac"));
    assert_eq!(told(&resolvers).0, READY);
}

#[test]
fn secrets_that_may_not_be_read_are_no_reason_to_wait() {
    let (mut resolvers, _wanted) = resolvers();
    resolvers.take(&config(), "team", Some(object(1, &solver())));
    resolvers.see(Seen::Trouble(Trouble::Unreachable("away".to_owned())));
    assert!(!resolvers.are_known());
    resolvers.see(Seen::Trouble(Trouble::Forbidden("no".to_owned())));
    assert!(resolvers.are_known());
    assert_eq!(told(&resolvers).0, "NoRight");
}
