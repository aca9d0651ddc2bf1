//! Facts about `providers`, `core` and `routecert`.

use std::path::Path;
use std::time::Duration;

use crate::config::tests::{config, refuses, silent, warns};
use crate::name::Name;
use crate::rule::Syntax;

#[test]
fn both_providers_of_kubernetes_are_read() {
    let text = "providers:
  kubernetesCRD: {allowCrossNamespace: true, disableClusterScopeResources: 'true'}
  kubernetesIngress: {namespaces: [a], labelSelector: 'x=y', ingressClass: edge, disableIngressClassLookup: true, endpoint: 'https://a', token: t, certAuthFilePath: /ca.pem}
";
    let read = config(text);
    let crd = read.kubernetes_crd.unwrap();
    assert!(crd.allow_cross_namespace && crd.disable_cluster_scope_resources);
    assert!(!crd.allow_empty_services && !crd.allow_external_name_services);
    let ingress = read.kubernetes_ingress.unwrap();
    assert_eq!((ingress.namespaces.len(), ingress.ingress_class.as_deref()), (1, Some("edge")));
    assert!(ingress.disable_ingress_class_lookup && !ingress.disable_cluster_scope_resources);
    assert_eq!(
        (ingress.endpoint.as_deref(), ingress.label_selector),
        (Some("https://a"), Some("x=y".to_owned()))
    );
    assert!(ingress.token.is_some() && ingress.cert_auth_file_path.is_some());
    assert!(config("providers: {kubernetesIngress: {}}").kubernetes_ingress.is_some());
    assert!(config("log: {}").kubernetes_ingress.is_none());
}

#[test]
fn the_file_provider_has_a_file_or_a_directory() {
    let file = |keys: &str| format!("providers: {{file: {{{keys}}}}}");
    silent(&file("filename: a.yml"));
    let one = config(&file("filename: a.yml")).file.unwrap();
    assert_eq!((one.filename.as_deref(), one.watch), (Some(Path::new("a.yml")), true));
    let other = config(&file("directory: /d, watch: false")).file.unwrap();
    assert_eq!((other.directory.as_deref(), other.watch), (Some(Path::new("/d")), false));
    warns(&file("filename: a.yml, directory: /d"), "file.filename: stands beside directory");
    refuses(&file("watch: true"), "f.yml:1:13: providers.file: ", "neither filename nor directory");
}

#[test]
fn the_syntax_of_rules_is_v3_or_v2() {
    assert_eq!(config("log: {}").default_rule_syntax, Syntax::V3);
    let v2 = "core: {defaultRuleSyntax: v2, strictTLSOptions: true}";
    assert_eq!(config(v2).default_rule_syntax, Syntax::V2);
    assert!(config(v2).strict_tls_options);
    warns(v2, "core.defaultRuleSyntax: is deprecated");
    refuses("core: {defaultRuleSyntax: v4}", "f.yml:1:27: core.defaultRuleSyntax: ", "v3 or v2");
}

#[test]
fn grants_say_which_namespaces_may_have_which_names() {
    let own = |keys: &str| format!("routecert: {{{keys}}}");
    let text = own("grants: [{namespaces: [a, b], domains: ['*.example.com', b.example]}]");
    silent(&text);
    let grants = config(&text).own.grants;
    assert_eq!((grants.len(), grants[0].namespaces.len()), (1, 2));
    assert!(grants[0].domains[0].allows(&Name::parse("x.example.com").unwrap()));
    refuses(&own("grants: [{domains: [a.b]}]"), "f.yml:1:", "namespaces is missing");
    refuses(&own("grants: [{namespaces: [a]}]"), "f.yml:1:", "domains is missing");
    refuses(&own("grants: [{namespaces: [A], domains: [a.b]}]"), "f.yml:1:", "a namespace");
    refuses(
        &own("grants: [{namespaces: [a], domains: ['a.*']}]"),
        "f.yml:1:50: routecert.grants[0].domains[0]: ",
        "expected `example.com`",
    );
}

#[test]
fn a_host_is_held_for_a_week_and_default_objects_count_in_one_namespace() {
    let own = config("log: {}").own;
    assert_eq!(own.host_hold, Duration::from_hours(168));
    assert_eq!(own.default_tls_resources_namespace, None);
    let theirs = "providers: {kubernetesCRD: {defaultTLSResourcesNamespace: theirs}}\n";
    let namespace = |text: &str| config(text).own.default_tls_resources_namespace;
    assert_eq!(namespace(theirs).as_deref(), Some("theirs"));
    let both = format!("{theirs}routecert: {{defaultTLSResourcesNamespace: ours, hostHold: 1h}}\n");
    assert_eq!(namespace(&both).as_deref(), Some("ours"));
    assert_eq!(config(&both).own.host_hold, Duration::from_hours(1));
    silent(&both);
}

#[test]
fn the_self_check_is_on_and_can_be_told_where_to_look() {
    let own = |text: &str| format!("routecert: {{selfCheck: {text}}}\n");
    let check = config("log: {}").own.self_check;
    assert!(check.enabled && check.resolvers.is_empty());
    assert_eq!(
        (check.timeout, check.http_port, check.tls_port),
        (Duration::from_secs(10), 80, 443)
    );
    assert!(!config(&own("{enabled: false}")).own.self_check.enabled);
    let all = "{resolvers: ['127.0.0.1:5353'], httpPort: 5002, tlsPort: '5001', timeout: 2}";
    let check = config(&own(all)).own.self_check;
    assert_eq!(check.resolvers, ["127.0.0.1:5353"]);
    assert_eq!((check.http_port, check.tls_port), (5002, 5001));
    assert_eq!(check.timeout, Duration::from_secs(2));
    refuses(&own("{httpPort: 70000}"), "f.yml:1:", "expected 1 to 65535");
    refuses(&own("{resolvers: ['']}"), "f.yml:1:", "neither an address nor");
}
