//! Tables: a spec, and the certificates that it asks for.

use serde_json::json;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "made where it is given")]
fn object(kind: Kind, spec: serde_json::Value) -> DynamicObject {
    let mut object = DynamicObject::new("web", &kind.resource()).within("shop");
    object.metadata.uid = Some("u".to_owned());
    object.data = json!({ "spec": spec });
    object
}

/// The names of each certificate, or the reason of its refusal.
fn asks_of(kind: Kind, spec: serde_json::Value) -> Vec<String> {
    let route = read(kind, &object(kind, spec));
    let text = |ask: Result<Names, Refusal>| match ask {
        Ok(names) => names.to_string(),
        Err(refusal) => refusal.reason.as_str().to_owned(),
    };
    route.asks.into_iter().map(text).collect()
}

#[track_caller]
fn rule_leads_to(rule: &str, expected: &[&str]) {
    let spec = json!({"routes": [{"match": rule}], "tls": {"certResolver": "le"}});
    assert_eq!(asks_of(Kind::OwnHttp, spec), expected, "{rule}");
}

#[test]
fn the_hosts_of_a_rule_are_one_certificate() {
    rule_leads_to("Host(`example.com`) && Path(`/blog`)", &["example.com"]);
    rule_leads_to(
        "(Host(`example.com`) && Path(`/blog`)) || Host(`blog.example.org`)",
        &["example.com, blog.example.org"],
    );
    rule_leads_to("Host(`A.x`) || Host(`a.x`)", &["a.x"]);
    rule_leads_to("Host(`a.x`) && !Host(`b.x`)", &["a.x"]);
}

#[test]
fn a_rule_without_a_usable_host_is_refused() {
    rule_leads_to("PathPrefix(`/`)", &["NoNames"]);
    rule_leads_to("!Host(`a.x`)", &["NoNames"]);
    rule_leads_to("Host(`a.x`", &["InvalidRule"]);
    rule_leads_to("Host(`*`)", &["NoNames"]);
    rule_leads_to("Host(`*.*`)", &["InvalidName"]);
    rule_leads_to("Host(`a_b.x`)", &["InvalidName"]);
    rule_leads_to("Host(`192.0.2.1`)", &["InvalidName"]);
}

#[test]
fn a_rule_is_read_in_the_syntax_of_its_route() {
    let spec = json!({"routes": [
        {"match": "Host(`a.x`, `b.x`)", "syntax": "v2"},
        {"match": "Host(`a.x`, `b.x`)", "syntax": "v3"},
        {"match": "Host(`c.x`)", "syntax": "v4"},
        {"match": "HostHeader(`d.x`)", "syntax": "v2"},
    ]});
    let expected = ["a.x, b.x", "InvalidRule", "c.x", "NoNames"];
    assert_eq!(asks_of(Kind::TraefikHttp, spec), expected);
    let spec = json!({"routes": [
        {"match": "HostSNI(`a.x`, `b.x`)", "syntax": "v2"},
        {"match": "HostSNI(`a.x`, `b.x`)"},
    ]});
    assert_eq!(asks_of(Kind::TraefikTcp, spec), ["a.x, b.x", "InvalidRule"]);
}

#[test]
fn each_rule_stands_alone() {
    let spec =
        json!({"routes": [{"match": "Host(`a.x`)"}, {"match": "Host("}, {"match": "Host(`b.x`)"}]});
    assert_eq!(asks_of(Kind::TraefikHttp, spec), ["a.x", "InvalidRule", "b.x"]);
}

#[test]
fn given_domains_win_over_the_rule_and_are_a_certificate_each() {
    let spec = json!({
        "routes": [{"match": "Host(`a.x`)"}],
        "tls": {"domains": [{"main": "b.x", "sans": ["c.x"]}, {"sans": ["BÜCHER.x"]}, {"main": "*.*.x"}]},
    });
    assert_eq!(asks_of(Kind::OwnHttp, spec), ["b.x, c.x", "xn--bcher-kva.x", "InvalidName"]);
}

#[test]
fn a_tcp_route_names_its_hosts_by_sni_and_passes_on_or_not() {
    let rule = json!([{"match": "HostSNI(`db.x`)"}]);
    assert_eq!(asks_of(Kind::OwnTcp, json!({"routes": rule, "tls": {}})), ["db.x"]);
    let passed = json!({"routes": rule, "tls": {"passthrough": true, "certResolver": "le"}});
    assert_eq!(asks_of(Kind::TraefikTcp, passed), ["Passthrough"]);
    assert_eq!(asks_of(Kind::OwnTcp, json!({"routes": [{"match": "HostSNI(`*`)"}]})), ["NoNames"]);
}

#[test]
fn a_spec_that_does_not_decode_is_one_refusal() {
    assert_eq!(asks_of(Kind::TraefikHttp, json!({"routes": 5, "tls": "yes"})), ["InvalidObject"]);
    let mut bare = object(Kind::OwnHttp, json!({}));
    bare.data = json!({});
    let route = read(Kind::OwnHttp, &bare);
    assert!(route.asks[0].is_err());
}

#[test]
fn the_class_is_the_fields_or_the_annotations() {
    let spec = json!({"routes": [], "ingressClassName": "edge"});
    let mut both = object(Kind::OwnHttp, spec);
    both.annotations_mut().insert("kubernetes.io/ingress.class".to_owned(), "old".to_owned());
    assert_eq!(read(Kind::OwnHttp, &both).class.as_deref(), Some("edge"));
    let mut annotated = object(Kind::OwnHttp, json!({"routes": []}));
    annotated.annotations_mut().insert("kubernetes.io/ingress.class".to_owned(), "old".to_owned());
    assert_eq!(read(Kind::OwnHttp, &annotated).class.as_deref(), Some("old"));
}

#[test]
fn an_empty_resolver_or_secret_name_is_none() {
    let spec = json!({"routes": [], "tls": {"certResolver": "", "secretName": ""}});
    let route = read(Kind::OwnHttp, &object(Kind::OwnHttp, spec));
    assert_eq!(route.tls, Some(Tls { resolver: None, secret_name: None }));
}
