//! Tables: files, and the routes that they come to.

use super::*;
use crate::config;

fn dynamic(text: &str) -> Dynamic {
    let tree = config::plain("r.yml", text).unwrap();
    Dynamic::read(&tree, Syntax::V3).unwrap()
}

fn routes_of(texts: &[&str]) -> Vec<Route> {
    let files: Vec<(String, Dynamic)> =
        (1..).zip(texts).map(|(n, text)| (format!("{n}.yml"), dynamic(text))).collect();
    let files = files.iter().map(|(name, file)| (name.as_str(), file));
    routes(files, "home", Extent::Whole).0
}

/// A file with one HTTP router, `web`.
fn web(router: &str) -> String {
    format!("http: {{routers: {{web: {router}}}}}")
}

fn only(texts: &[&str]) -> Route {
    let mut routes = routes_of(texts);
    assert_eq!(routes.len(), 1, "{routes:?}");
    routes.remove(0)
}

/// The names of the rule, or the reason of its refusal.
fn rule_of(route: &Route) -> String {
    match &route.parts[0].names {
        Ok(names) => names.to_string(),
        Err(refusal) => refusal.reason.as_str().to_owned(),
    }
}

fn fault(route: &Route) -> &str {
    route.fault.as_ref().map_or("", |fault| fault.reason.as_str())
}

const ROUTER: &str = "{rule: 'Host(`a.x`)', service: app, tls: {certResolver: le}}";

#[test]
fn a_router_is_the_oldest_route_of_the_home_namespace() {
    let route = only(&[&web(ROUTER)]);
    assert_eq!(route.key, Key::new(Kind::FileHttp, "home", "web@file"));
    assert_eq!(route.key.shown(), "HTTPRouter web@file");
    assert_eq!((route.created, &route.class), (Some(Timestamp::UNIX_EPOCH), &Class::Anyone));
    assert_eq!(route.tls.as_ref().unwrap().resolver.as_deref(), Some("le"));
    assert_eq!(rule_of(&route), "a.x");
    assert!(route.entry_points.is_empty() && route.fault.is_none());
}

#[test]
fn keys_are_read_in_any_case_and_lists_as_texts_too() {
    let text = "HTTP: {Routers: {Web: {ENTRYPOINTS: 'a, b', Rule: 'Host(`a.x`)', TLS: \
                {certresolver: le, Domains: [{Main: b.x, SANS: 'c.x,d.x'}]}}}}";
    let route = only(&[text]);
    assert_eq!(&*route.key.name, "Web@file");
    assert_eq!(route.entry_points, ["a".into(), "b".into()].into());
    let tls = route.tls.unwrap();
    assert_eq!(tls.domains[0].names.as_ref().unwrap().to_string(), "b.x, c.x, d.x");
    assert!(route.unknown_fields.is_empty());
}

#[test]
fn an_empty_tls_is_one_and_none_is_none() {
    let tls = |tls: &str| only(&[&web(&format!("{{rule: 'Host(`a.x`)', tls: {tls}}}"))]).tls;
    assert_eq!(tls("{}"), Some(Box::default()));
    assert_eq!(tls("true"), Some(Box::default()));
    assert_eq!(tls("false"), None);
    assert_eq!(tls("null"), None);
}

#[test]
fn a_rule_is_read_in_the_syntax_of_its_router() {
    let rule = |router: &str| rule_of(&only(&[&web(router)]));
    assert_eq!(rule("{rule: 'Host(`a.x`, `b.x`)', ruleSyntax: v2}"), "a.x, b.x");
    assert_eq!(rule("{rule: 'Host(`a.x`, `b.x`)'}"), "InvalidRule");
    assert_eq!(rule("{rule: 'PathPrefix(`/`)'}"), "NoNames");
    assert_eq!(rule("{service: app}"), "InvalidRule");
    let tree = config::plain("r.yml", &web("{rule: 'Host(`a.x`, `b.x`)'}")).unwrap();
    let old = Dynamic::read(&tree, Syntax::V2).unwrap();
    let routes = routes([("r.yml", &old)].into_iter(), "home", Extent::Whole);
    assert_eq!(rule_of(&routes.0[0]), "a.x, b.x");
}

#[test]
fn a_tcp_router_names_its_hosts_by_sni_and_passes_on_or_not() {
    let tcp = |tls: &str| {
        let rule = "HostSNI(`db.x`)";
        only(&[&format!("tcp: {{routers: {{db: {{rule: '{rule}', service: d, tls: {tls}}}}}}}")])
    };
    let route = tcp("{certResolver: le}");
    assert_eq!(
        (route.key.kind, rule_of(&route), fault(&route)),
        (Kind::FileTcp, "db.x".into(), "")
    );
    assert_eq!(fault(&tcp("{passthrough: true, certResolver: le}")), "Passthrough");
    assert_eq!(fault(&tcp("{passthrough: maybe}")), "InvalidObject");
}

#[test]
fn the_default_store_asks_for_its_certificate() {
    let wanted = "defaultGeneratedCert: {resolver: le, domain: {main: a.x, sans: [b.x]}}";
    let route = only(&[&format!("tls: {{stores: {{default: {{{wanted}}}}}}}")]);
    assert_eq!(route.key, Key::new(Kind::FileStore, "home", "default@file"));
    assert!(route.parts.is_empty());
    let tls = route.tls.unwrap();
    assert_eq!(tls.resolver.as_deref(), Some("le"));
    assert_eq!(tls.domains[0].names.as_ref().unwrap().to_string(), "a.x, b.x");
    let given = "defaultCertificate: {certFile: c, keyFile: k}";
    let route = only(&[&format!("tls: {{stores: {{default: {{{given}, {wanted}}}}}}}")]);
    assert_eq!(route.tls, None);
}

#[test]
fn a_router_without_its_service_is_refused_if_the_files_have_services() {
    let services = "http: {services: {app: {loadBalancer: {servers: []}}}}";
    let other = "http: {services: {other: {}}}";
    assert_eq!(rule_of(&only(&[&web(ROUTER)])), "a.x");
    assert_eq!(rule_of(&only(&[&web(ROUTER), services])), "a.x");
    assert_eq!(rule_of(&only(&[&web(ROUTER), other])), "MissingService");
    let tcp = "tcp: {services: {app: {}}}";
    assert_eq!(rule_of(&only(&[&web(ROUTER), tcp])), "MissingService");
    let elsewhere = ROUTER.replace("service: app", "service: app@kubernetescrd");
    assert_eq!(rule_of(&only(&[&web(&elsewhere), other])), "a.x");
    // the service may stand in a file that could not be read
    let (one, two) = (dynamic(&web(ROUTER)), dynamic(other));
    let (routes, _) = routes([("1", &one), ("2", &two)].into_iter(), "home", Extent::Part);
    assert_eq!(rule_of(&routes[0]), "a.x");
}

#[test]
fn of_one_name_in_two_files_the_first_counts_and_the_other_is_told() {
    let other = "{rule: 'Host(`b.x`)', service: app}";
    let (one, two) = (dynamic(&web(other)), dynamic(&web(ROUTER)));
    let read = |two| routes([("1.yml", &one), ("2.yml", two)].into_iter(), "home", Extent::Whole);
    let (found, told) = read(&two);
    assert_eq!((found.len(), rule_of(&found[0])), (1, "b.x".to_owned()));
    assert!(told[0].starts_with("2.yml: HTTPRouter web stands in 1.yml"), "{told:?}");
    assert_eq!(read(&one).1, Vec::<String>::new(), "both say the same");
    // names are as written, and each kind has its own
    let both =
        "{http: {routers: {web: {rule: x}}}, tcp: {routers: {web: {rule: x}, WEB: {rule: x}}}}";
    assert_eq!(routes_of(&[both]).len(), 3);
}

#[test]
fn what_is_wrong_with_a_router_costs_that_router() {
    let routes =
        routes_of(&["http: {routers: {bad: {rule: [], tls: 5}, good: {rule: 'Host(`a.x`)'}, \
                              list: [a], odd: {tls: {domains: a.x}}}}"]);
    let faults: Vec<&str> = routes.iter().map(fault).collect();
    assert_eq!(faults, ["InvalidObject", "", "InvalidObject", "InvalidObject"]);
    let message = &routes[3].fault.as_ref().unwrap().message;
    assert_eq!(message, "tls.domains: a list is expected; correct the file");
}

#[test]
fn what_nothing_reads_is_named() {
    let route = only(&[&web(
        "{entryPoint: [web], rule: 'Host(`a.x`)', tls: {certResolvr: le, domains: [{name: a.x}]}}",
    )]);
    assert_eq!(
        *route.unknown_fields,
        ["entryPoint", "tls.certResolvr", "tls.domains[0].name"].map(str::to_owned)
    );
    let long = "w".repeat(300);
    let text = format!(
        "{{htp: {{}}, http: {{router: {{}}, routers: {{{long}: {{}}}}}}, tls: {{stores: {{other: {{}}}}}}}}"
    );
    let read = dynamic(&text);
    let warnings: Vec<String> = read.warnings().collect();
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert_eq!(warnings[0], "htp: a key that nothing reads");
    assert_eq!(warnings[1], "http.router: a key that nothing reads");
    assert!(warnings.iter().all(|warning| warning.len() < 250));
    let told: Vec<String> = dynamic(&web("{entryPoint: [web]}")).warnings().collect();
    assert_eq!(told, ["HTTPRouter web: fields without effect: entryPoint"]);
    assert!(read.routers.is_empty());
}

#[test]
fn a_file_that_is_no_configuration_is_refused() {
    let read = |text: &str| Dynamic::read(&config::plain("r.yml", text).unwrap(), Syntax::V3);
    assert_eq!(read("http: [a]").unwrap_err(), "http: a map is expected; correct the file");
    assert!(read("just text").is_err());
    assert_eq!(read("").unwrap(), Dynamic::default());
}

#[test]
fn templating_is_found_outside_of_comments() {
    assert_eq!(templated("a: b\n{{ range $i := until 3 }}\n"), Some(2));
    assert_eq!(templated("rule: \"Host(`{{ env \"X\" }}`)\""), Some(1));
    assert_eq!(templated("a: '# {{ x }}'"), Some(1));
    assert_eq!(templated("a: \"\\\" # {{ x }}\""), Some(1));
    assert_eq!(templated("# {{ x }}\na: b # {{ y }}\na: don't # {{ z }}\n"), None);
    assert_eq!(templated("rule: HostRegexp(`^[a-z]{2}$`)"), None);
}
