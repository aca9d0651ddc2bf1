//! Facts about the text of a configuration: YAML, single values, bounds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::cert::KeyType;
use crate::config::tests::{ENTRY_POINTS, config, refuses, resolver, silent, warns, with_acme};
use crate::config::{Sources, parse, read};

#[test]
fn names_that_differ_only_in_case_and_keys_given_twice_are_errors() {
    refuses(
        "entryPoints: {web: {address: ':1'}, WEB: {address: ':2'}}",
        "f.yml:1:37: entryPoints.WEB: ",
        "differs only in case",
    );
    refuses("log: {level: INFO, LEVEL: WARN}", "f.yml:1:20: log.LEVEL: ", "stands twice");
    refuses("log:\n  level: INFO\n  level: WARN\n", "f.yml:3:3: level: ", "the first is on line 2");
}

#[test]
fn durations_are_seconds_or_those_of_go() {
    let after =
        |text: &str| config(&format!("routecert: {{removeAfter: {text}}}")).own.remove_after;
    for (text, millis) in [
        ("30", 30_000),
        ("'30'", 30_000),
        ("30s", 30_000),
        ("1h30m", 5_400_000),
        ("1h2m3.25s", 3_723_250),
        ("+10s", 10_000),
        (".5s", 500),
        ("100ms", 100),
        ("0", 0),
        ("1_000", 1_000_000),
        ("2562047h", 2_562_047 * 3_600_000),
    ] {
        assert_eq!(after(text), Duration::from_millis(millis), "{text}");
    }
    assert_eq!(after("5µs"), Duration::from_micros(5));
    for wrong in [
        "10 s",
        "'10s '",
        "soon",
        "1.5",
        "1d",
        "s",
        "1..5s",
        "'99999999999999999999'",
        "''",
        "[1s]",
    ] {
        refuses(
            &format!("routecert: {{removeAfter: {wrong}}}"),
            "f.yml:1:26: routecert.removeAfter: ",
            "expected a ",
        );
    }
    refuses("routecert: {removeAfter: -5}", "f.yml:1:26: ", "must not be negative");
    refuses("routecert: {removeAfter: 2562048h}", "f.yml:1:26: ", "too long");
}

#[test]
fn other_values_are_read_as_traefik_does() {
    assert_eq!(
        resolver("certificatesDuration: '72'").certificates_duration,
        Duration::from_hours(72)
    );
    assert_eq!(
        resolver("certificatesDuration: 2_160").certificates_duration,
        Duration::from_hours(2160)
    );
    assert_eq!(resolver("keyType: EC384").key_type, KeyType::Ec384);
    assert!(resolver("caSystemCertPool: 'T'").trust.system_pool);
    assert_eq!(resolver("caCertificates: 'a.pem, b.pem'").trust.certificates.len(), 2);
    refuses(&with_acme("caSystemCertPool: maybe"), "f.yml:2:", "expected true or false");
    refuses(&with_acme("certificatesDuration: 2160.5"), "f.yml:2:", "expected a whole number");
    refuses(&with_acme("caServer: {a: b}"), "f.yml:2:", "a map: expected a single value");
    refuses("entryPoints: [a]", "f.yml:1:14: entryPoints: ", "a list: expected a map");
    refuses("log: INFO", "f.yml:1:6: log: ", "`INFO`: expected a map with ");
    refuses("just text", "f.yml:1:1: ", "expected a map with certificatesResolvers, ");
    refuses("log: {format: xml}", "f.yml:1:15: log.format: ", "expected common or json");
    refuses("log: {level: LOUD}", "f.yml:1:14: log.level: ", "expected TRACE, DEBUG");
    refuses("routecert: {certificatesNamespace: A_b}", "f.yml:1:36: ", "expected a namespace");
    refuses("routecert: {adminAddress: nine}", "f.yml:1:27: ", "expected `:80`");
}

#[test]
fn a_switch_without_content_is_off_and_says_so() {
    warns("providers: {kubernetesCRD: }", "providers.kubernetesCRD: is empty and therefore off");
    assert!(config("providers: {kubernetesCRD: true}").kubernetes_crd.is_some());
    warns("providers: {kubernetesCRD: on}", "leaves this off");
}

#[test]
fn anchors_aliases_and_merge_keys_are_resolved() {
    let text = format!(
        "{ENTRY_POINTS}x-acme: &acme\n  email: a@b.c\n  keyType: EC384\n  httpChallenge: &http {{entryPoint: web}}\ncertificatesResolvers:\n  one: {{acme: {{<<: *acme, keytype: EC256}}}}\n  two: {{acme: {{<<: [{{email: x@y.z}}, *acme]}}}}\n  three: {{acme: {{email: a@b.c, httpChallenge: *http}}}}\n"
    );
    let resolvers = config(&text).resolvers;
    let one = resolvers["one"].clone().unwrap();
    assert_eq!((one.email.as_str(), one.key_type), ("a@b.c", KeyType::Ec256));
    let two = resolvers["two"].clone().unwrap();
    assert_eq!((two.email.as_str(), two.key_type), ("x@y.z", KeyType::Ec384));
    assert!(resolvers["three"].is_ok());
    refuses("log: {<<: 3}", "f.yml:1:7: <<: ", "merges maps only");
    refuses("log: &a {level: *a}", "f.yml:1:17: ", "its own anchor");
    refuses("log: *a", "f.yml:1:6: ", "no valid YAML");
}

#[test]
fn broken_yaml_is_one_error_with_its_place() {
    refuses("entryPoints:\n\tweb: {}\n", "f.yml:2:", "spaces, not with tabs");
    refuses("log:\n  level: INFO\n api: {}\n", "f.yml:3:", "no valid YAML");
    refuses("entryPoints:\n  web:\n    {{ if true }}\n    x: 1\n", "f.yml:", "");
    refuses("log: {}\n---\nlog: {}\n", "f.yml:2:", "second document");
    refuses("{[a]: b}", "f.yml:1:2: ", "a key must be plain text");
    refuses("log: !secret x", "f.yml:1:14: ", "tag");
    silent("\u{feff}---\r\nlog: {level: !!str INFO}\r\n...\r\n");
}

#[test]
fn size_depth_and_aliases_are_bounded() {
    refuses(&"#".repeat(1024 * 1024 + 1), "f.yml: ", "larger than 1 MiB");
    refuses(
        &format!("log: {}{}", "[".repeat(200), "]".repeat(200)),
        "f.yml:1:",
        "nested too deeply",
    );
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", [below.as_str(); 9].join(", ")).unwrap();
    }
    refuses(&bomb, "f.yml:", "too large");
    let mut ladder = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        writeln!(ladder, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    refuses(&ladder, "f.yml:6", "nested too deeply");
}

#[test]
fn very_many_problems_are_cut() {
    let mut text = String::new();
    for n in 0..500 {
        writeln!(text, "k{n}: v").unwrap();
    }
    let warnings = parse("f.yml", &text).warnings;
    assert_eq!(warnings.len(), 201);
    assert_eq!(warnings[200].to_string(), "f.yml: and 300 more of this kind");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let file = Some(Path::new("/no/such/file.yml"));
    let reading = read(&Sources { file, environment: &BTreeMap::new(), flags: &[] });
    let errors = reading.config.unwrap_err();
    assert!(errors[0].to_string().starts_with("/no/such/file.yml: cannot be read: "), "{errors:?}");
}

#[test]
fn addresses_have_these_forms() {
    let at = |address: &str| {
        let config = config(&format!("entryPoints: {{web: {{address: '{address}'}}}}"));
        let web = config.entry_points["web"].clone();
        format!("{:?} {}", web.host, web.port)
    };
    assert_eq!(at(":80"), "None 80");
    assert_eq!(at("127.0.0.1:80"), "Some(127.0.0.1) 80");
    assert_eq!(at("localhost:80"), "Some(127.0.0.1) 80");
    assert_eq!(at("[::1]:80/tcp"), "Some(::1) 80");
    for wrong in ["80", "web:80", "::1:80", ":http", ":65536", ":80/sctp", ":", "[::1:80"] {
        let text = format!("entryPoints: {{web: {{address: '{wrong}'}}}}");
        refuses(&text, "f.yml:1:30: entryPoints.web.address: ", wrong);
    }
    warns("entryPoints: {web: {asDefault: true}}", "entryPoints.web: address is missing");
}
