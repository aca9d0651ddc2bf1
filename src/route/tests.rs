//! Tables: a spec, and the certificates that it asks for.

use serde_json::json;

use super::*;

fn object(spec: serde_json::Value) -> Object {
    Object {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        uid: "u".to_owned(),
        spec: Some(spec),
        ..Object::default()
    }
}

fn names_or_reason(names: &Result<Names, Refusal>) -> String {
    match names {
        Ok(names) => names.to_string(),
        Err(refusal) => refusal.reason.as_str().to_owned(),
    }
}

/// The names of each certificate, or the reason of its refusal.
fn asks_of(kind: Kind, spec: serde_json::Value) -> Vec<String> {
    let route = read(kind, &object(spec), Syntax::V3);
    if let Some(fault) = route.fault {
        return vec![fault.reason.as_str().to_owned()];
    }
    let domains = route.tls.as_ref().map(|tls| tls.domains.as_slice()).unwrap_or_default();
    if domains.is_empty() {
        return route.parts.iter().map(|part| names_or_reason(&part.names)).collect();
    }
    domains.iter().map(|entry| names_or_reason(&entry.names)).collect()
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
fn a_rule_of_another_kind_costs_only_itself() {
    let rule = |kind: &str, host: &str| json!({"kind": kind, "match": format!("Host(`{host}`)")});
    let routes = [rule("", "a.x"), rule("Rule", "b.x"), rule("rule", "c.x"), rule("Path", "d.x")];
    let spec = json!({"routes": routes, "tls": {"certResolver": "le"}});
    assert_eq!(asks_of(Kind::TraefikHttp, spec), ["a.x", "b.x", "InvalidRule", "InvalidRule"]);
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
fn very_many_domains_are_read_in_one_go() {
    let domain = |entry: usize| {
        let sans: Vec<String> = (0..500).map(|name| format!("n{name}.e{entry}.x")).collect();
        json!({"main": format!("*.w{entry}.x"), "sans": sans})
    };
    let domains: Vec<_> = (0..200).chain(0..200).map(domain).collect();
    let spec = json!({"routes": [], "tls": {"domains": domains}});
    assert_eq!(asks_of(Kind::TraefikHttp, spec).len(), 200);
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
    let bare = Object { spec: None, ..object(json!({})) };
    let fault = read(Kind::OwnHttp, &bare, Syntax::V3).fault.unwrap();
    assert!(fault.message.contains("no spec"), "{}", fault.message);
}

#[test]
fn the_class_of_the_spec_goes_before_the_annotation_even_if_empty() {
    let annotated = |spec| {
        let mut object = object(spec);
        object.annotations.insert("kubernetes.io/ingress.class".to_owned(), "old".to_owned());
        read(Kind::OwnHttp, &object, Syntax::V3).class
    };
    let spec = |class| json!({"ingressClassName": class, "routes": []});
    assert_eq!(annotated(spec("edge")), Class::Spec("edge".into()));
    assert_eq!(annotated(spec("")), Class::Spec("".into()));
    assert_eq!(annotated(json!({"routes": []})), Class::Annotation("old".into()));
}

#[test]
fn an_empty_resolver_or_secret_name_is_none() {
    let spec = json!({"routes": [], "tls": {"certResolver": "", "secretName": ""}});
    let route = read(Kind::OwnHttp, &object(spec), Syntax::V3);
    assert_eq!(route.tls, Some(Box::default()));
}
