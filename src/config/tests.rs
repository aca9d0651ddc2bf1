//! Facts about the configuration, one line each.

mod forms;
mod objects;
mod resolvers;
mod sections;
mod text;

use std::path::Path;
use std::time::Duration;

use crate::cert::KeyType;
use crate::config::{Config, Domain, LogFormat, Reading, Redirect, StoreKind, parse};
use crate::resolver::Resolver;

pub(super) const ENTRY_POINTS: &str =
    "entryPoints: {web: {address: ':80'}, websecure: {address: ':443'}}\n";

fn reading(text: &str) -> Reading {
    parse("f.yml", text)
}

#[track_caller]
pub(super) fn config(text: &str) -> Config {
    let reading = reading(text);
    reading.config.unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"))
}

fn errors(text: &str) -> Vec<String> {
    reading(text).config.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let reading = reading(text);
    reading.faults.iter().chain(&reading.warnings).map(ToString::to_string).collect()
}

/// The only error begins with `start` and has `part`.
#[track_caller]
pub(super) fn refuses(text: &str, start: &str, part: &str) {
    let found = errors(text);
    let fits = found.len() == 1 && found[0].starts_with(start) && found[0].contains(part);
    assert!(fits, "{text}\nexpected {start} … {part}\n{found:#?}");
}

/// No error, and exactly one warning with `part`.
#[track_caller]
pub(super) fn warns(text: &str, part: &str) {
    let (errors, found) = (errors(text), warnings(text));
    let fits = errors.is_empty() && found.iter().filter(|w| w.contains(part)).count() == 1;
    assert!(fits, "{text}\nexpected {part}\n{errors:#?}\n{found:#?}");
}

#[track_caller]
pub(super) fn silent(text: &str) {
    assert_eq!((errors(text), warnings(text)), (vec![], vec![]), "{text}");
}

/// A configuration whose resolver `le` has these keys beside a challenge and an address.
pub(super) fn with_acme(keys: &str) -> String {
    let usual = "email: a@example.com, httpChallenge: {entryPoint: web}";
    format!("{ENTRY_POINTS}certificatesResolvers: {{le: {{acme: {{{usual}, {keys}}}}}}}\n")
}

pub(super) fn alone(acme: &str) -> String {
    format!("{ENTRY_POINTS}certificatesResolvers: {{le: {{acme: {{email: a@b.c, {acme}}}}}}}\n")
}

#[track_caller]
pub(super) fn resolver(keys: &str) -> Resolver {
    config(&with_acme(keys)).resolvers["le"].clone().unwrap()
}

const WHOLE: &str = r#"
entryPoints:
  web:
    address: "127.0.0.1:8000"
    http: {redirections: {entryPoint: {to: websecure, scheme: https, permanent: true}}}
  websecure:
    address: "[::1]:8443"
    http: {tls: {certResolver: le, domains: [{main: a.example, sans: ["*.a.example"]}]}}
certificatesResolvers:
  le:
    acme:
      email: a@example.com
      caServer: https://127.0.0.1:14000/dir
      caCertificates: [/path/ca.pem]
      keyType: EC256
      storage: acme.json
      httpChallenge: {entryPoint: web, delay: 2}
providers: {kubernetesCRD: {namespaces: [a, b], ingressClass: edge}}
log: {level: DEBUG, format: json}
routecert:
  certificatesNamespace: certs
  controllerNamespace: system
  removeAfter: 1h30m
  adminAddress: "127.0.0.1:9000"
"#;

#[test]
fn entry_points_of_a_whole_configuration_are_read() {
    let config = config(WHOLE);
    let web = &config.entry_points["web"];
    assert_eq!((web.host, web.port), (Some("127.0.0.1".parse().unwrap()), 8000));
    let redirect = Redirect { scheme: "https".to_owned(), port: 8443, permanent: true };
    assert_eq!(web.redirect, Some(redirect));
    let tls = config.entry_points["websecure"].tls.clone().unwrap();
    assert_eq!(tls.cert_resolver.as_deref(), Some("le"));
    let domain = Domain { main: "a.example".to_owned(), sans: vec!["*.a.example".to_owned()] };
    assert_eq!(tls.domains, [domain]);
}

#[test]
fn resolvers_of_a_whole_configuration_are_read() {
    let le = config(WHOLE).resolvers["le"].clone().unwrap();
    assert_eq!((le.name.as_str(), le.email.as_str()), ("le", "a@example.com"));
    assert_eq!(
        (le.ca_server.as_str(), le.key_type),
        ("https://127.0.0.1:14000/dir", KeyType::Ec256)
    );
    assert_eq!(le.trust.certificates, [std::path::PathBuf::from("/path/ca.pem")]);
    let http = le.challenges.http.unwrap();
    assert_eq!((http.entry_point.as_str(), http.delay), ("web", Duration::from_secs(2)));
}

#[test]
fn the_rest_of_a_whole_configuration_is_read() {
    let config = config(WHOLE);
    let provider = config.kubernetes_crd.unwrap();
    assert_eq!((provider.namespaces.len(), provider.ingress_class.as_deref()), (2, Some("edge")));
    assert_eq!((config.log.level.as_str(), config.log.format), ("debug", LogFormat::Json));
    let own = config.own;
    assert_eq!(
        (own.certificates_namespace.as_str(), own.admin_address.as_str()),
        ("certs", "127.0.0.1:9000")
    );
    assert_eq!(own.controller_namespace.as_deref(), Some("system"));
    assert_eq!(own.remove_after, Duration::from_mins(90));
}

#[test]
fn defaults_are_those_of_traefik_and_of_the_own_section() {
    let le = resolver("disableCommonName: false");
    assert_eq!(le.ca_server, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(
        (le.key_type, le.certificates_duration),
        (KeyType::Rsa4096, Duration::from_hours(2160))
    );
    assert_eq!(
        (le.client_timeout, le.challenges.http.unwrap().delay),
        (Duration::from_mins(2), Duration::ZERO)
    );
    let config = config("log: {}");
    assert_eq!((config.entry_points["http"].host, config.entry_points["http"].port), (None, 80));
    assert_eq!((config.kubernetes_crd, config.log.level.as_str()), (None, "info"));
    let own = config.own;
    assert_eq!(
        (own.certificates_namespace.as_str(), own.admin_address.as_str()),
        ("routecert-certs", ":9402")
    );
    assert_eq!((own.controller_namespace, own.remove_after), (None, Duration::from_hours(24)));
}

#[test]
fn case_of_keys_is_folded_and_names_are_kept() {
    let text = "ENTRYPOINTS: {Web: {ADDRESS: ':80'}}\ncertificatesresolvers: {MyRes: {acme: {EMAIL: a@b.c, httpchallenge: {ENTRYPOINT: Web}}}}\n";
    silent(text);
    let config = config(text);
    assert!(config.entry_points.contains_key("Web"));
    assert_eq!(config.resolvers["MyRes"].as_ref().unwrap().email, "a@b.c");
}

#[test]
fn a_problem_is_one_line_with_place_key_and_message() {
    let text = "entryPoints:\n  web:\n    adress: ':80'\n";
    let expected = "f.yml:3:5: entryPoints.web.adress: unknown key; did you mean `address`?";
    assert_eq!(errors(text), [expected]);
    assert_eq!(errors("# nothing"), ["f.yml: holds no configuration"]);
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = "entryPoints: {web: {address: nonsense}}\ncertificatesResolvers: {le: {acme: {emial: x, clientTimeout: soon}}}\nlog: {level: LOUD}\nroutecert: {removeAfter: -1s}\n";
    let found = errors(text);
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn unknown_keys_are_errors_with_the_right_key() {
    refuses(
        &with_acme("ca_server: x"),
        "f.yml:2:93: certificatesResolvers.le.acme.ca_server: ",
        "did you mean `caServer`?",
    );
    refuses(
        &alone("dnsChallenge: {delayBeforeChecks: 3}"),
        "f.yml:2:",
        "belongs at `certificatesResolvers.le.acme.dnsChallenge.propagation.delayBeforeChecks`",
    );
    refuses(
        "certificatesResolvers: {le: {email: a@b.c}}",
        "f.yml:1:30: ",
        "belongs at `certificatesResolvers.le.acme.email`",
    );
    refuses(
        "entryPoints: {web: {address: ':1', tls: {}}}",
        "f.yml:1:36: ",
        "belongs at `entryPoints.web.http.tls`",
    );
    refuses(
        "entryPoints: {web: {address: ':1', port: 80}}",
        "f.yml:1:36: ",
        "expected one of address, ",
    );
    refuses(
        "providers: {kubernetesCRD: {namespace: a}}",
        "f.yml:1:29: ",
        "did you mean `namespaces`?",
    );
    refuses("providers: {kubernetesCDR: {}}", "f.yml:1:13: ", "did you mean `kubernetesCRD`?");
    refuses("routecert: {removAfter: 1h}", "f.yml:1:13: ", "did you mean `removeAfter`?");
    refuses("routecert: {selfCheck: {timeuot: 1s}}", "f.yml:1:25: ", "did you mean `timeout`?");
}

#[test]
fn unknown_root_keys_are_errors_only_near_a_known_one() {
    refuses(
        "certificateResolvers: {}",
        "f.yml:1:1: certificateResolvers: ",
        "did you mean `certificatesResolvers`?",
    );
    refuses("entryPoint: {}", "f.yml:1:1: entryPoint: ", "did you mean `entryPoints`?");
    warns("x-log: {}\nlog: {}", "f.yml:1:1: x-log: is no key");
    warns("something: {}\nlog: {}", "something: is no key");
    refuses("pilot: {token: x}", "f.yml:1:1: pilot: ", "no Pilot any more");
}

#[test]
fn sections_of_traefik_without_use_give_one_warning() {
    let text = "api: {}\naccessLog: {filePath: x}\nping: true\nproviders: {docker: {}, kubernetesCRD: {}}\n";
    let expected = "f.yml: Traefik settings that routecert has no use for: providers.docker, accessLog, api, ping";
    assert_eq!(warnings(text), [expected]);
}

#[test]
fn certificates_are_kept_where_routes_come_from_unless_it_is_said() {
    let kind = |providers: &str, own: &str| {
        config(&format!("{ENTRY_POINTS}providers: {providers}\nroutecert: {own}\n")).store()
    };
    assert_eq!(kind("{kubernetesCRD: {}}", "{}"), StoreKind::Secrets);
    assert_eq!(kind("{kubernetesIngress: {}, file: {filename: f}}", "{}"), StoreKind::Secrets);
    assert_eq!(kind("{file: {filename: f}}", "{}"), StoreKind::File);
    assert_eq!(kind("{file: {filename: f}}", "{store: secrets}"), StoreKind::Secrets);
    assert_eq!(kind("{kubernetesCRD: {}}", "{store: file}"), StoreKind::File);
    refuses("routecert: {store: disk}", "f.yml:1:20: ", "expected secrets or file");
    let storages = config(&with_acme("storage: /a/b.json")).storages;
    assert_eq!(storages["le"], Path::new("/a/b.json"));
    assert_eq!(config(&with_acme("keyType: EC256")).storages["le"], Path::new("acme.json"));
}

#[test]
fn keys_that_are_not_honoured_yet_give_one_warning() {
    let rest = "log: {compress: true}\nroutecert: {hostHold: 1h, providedBeforeExpired: false}\n";
    let found = warnings(&(with_acme("profile: shortlived") + rest));
    assert_eq!(found.len(), 1, "{found:#?}");
    for key in ["log.compress", "routecert.providedBeforeExpired"] {
        assert!(found[0].contains(key), "{key}");
    }
    assert!(!found[0].contains("profile") && !found[0].contains("hostHold"), "{found:#?}");
}

#[test]
fn entry_point_middlewares_are_an_error() {
    refuses(
        "entryPoints: {web: {address: ':1', http: {middlewares: [auth@file]}}}",
        "f.yml:1:43: entryPoints.web.http.middlewares: ",
        "weaken",
    );
    silent("entryPoints: {web: {address: ':1', http: {middlewares: []}}}");
}

#[test]
fn a_udp_or_empty_entry_point_is_left_out() {
    let udp = "entryPoints: {web: {address: ':80'}, dns: {address: ':53/udp'}, none: }";
    warns(udp, "entryPoints.dns.address: UDP has no certificates");
    warns(udp, "entryPoints.none: the entry point is empty");
    assert_eq!(config(udp).entry_points.len(), 1);
}

#[test]
fn a_redirect_goes_to_an_entry_point_or_a_port() {
    let to = |keys: &str| {
        format!(
            "entryPoints: {{a: {{address: ':80', http: {{redirections: {{entryPoint: {{{keys}}}}}}}}}, b: {{address: ':8443'}}}}"
        )
    };
    let redirect = |keys: &str| config(&to(keys)).entry_points["a"].redirect.clone().unwrap();
    assert_eq!(
        redirect("to: b"),
        Redirect { scheme: "https".to_owned(), port: 8443, permanent: true }
    );
    assert_eq!(redirect("to: ':443', permanent: 'false'").port, 443);
    assert!(!redirect("to: ':443', permanent: 'false'").permanent);
    refuses(&to("to: c"), "f.yml:1:", "expected `:443` or an entry point that exists (a, b)");
    refuses(&to("scheme: https"), "f.yml:1:", "to is missing");
    refuses(&to("to: b, scheme: ftp"), "f.yml:1:", "expected http or https");
    warns(&to("to: b, priority: '10'"), "redirections.entryPoint.priority");
}

#[test]
fn entry_point_tls_is_on_as_a_map_or_true() {
    let tls = |value: &str| {
        config(&format!("entryPoints: {{a: {{address: ':1', http: {{tls: {value}}}}}}}"))
            .entry_points["a"]
            .tls
            .clone()
    };
    assert!(tls("{}").is_some() && tls("true").is_some());
    assert!(tls("false").is_none() && tls("yes").is_none());
    refuses("entryPoints: {a: {address: ':1', http: {tls: }}}", "f.yml:1:34: ", "without any");
    refuses("entryPoints: {a: }", "f.yml:1:14: entryPoints: ", "only names without settings");
    assert_eq!(tls("{domains: [{sans: [a, b]}]}").unwrap().domains[0].main, "a");
    warns(
        "entryPoints: {a: {address: ':1', http: {tls: {certResolver: le}}}}",
        "`le`: no such resolver",
    );
    warns("entryPoints: {a: {address: ':1', http: {tls: {options: x}}}}", "http.tls.options");
    refuses(
        "entryPoints: {a: {address: ':1', http: {tls: {domains: [{main: ''}]}}}}",
        "f.yml:1:",
        "main is missing",
    );
}

#[test]
fn secrets_are_in_no_message_and_no_debug_text() {
    let text = with_acme("eab: {kid: k, hmacEncoded: SECRET}")
        + "providers: {kubernetesCRD: {token: SECRET}}\n";
    assert!(!format!("{:?}", reading(&text)).contains("SECRET"));
}
