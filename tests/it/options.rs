//! Every option of a resolver, in each of the four forms, and its default when it is absent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use routecert::config::{self, Reading, Sources};
use routecert::resolver::MacKey;
use serde_json::{Value, json};

/// An option under `acme`, a value as it is written, what it comes to, and its default.
type Row = (&'static str, &'static str, fn() -> Value, fn() -> Value);

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The two tables of Traefik's page; where they disagree (`preferredChain`) the first holds.
const ROWS: &[Row] = &[
    ("email", "a@example.com", || json!("a@example.com"), || json!("")),
    (
        "caServer",
        "https://ca.example/dir",
        || json!("https://ca.example/dir"),
        || json!(LETS_ENCRYPT),
    ),
    ("preferredChain", "ISRG Root X1", || json!("ISRG Root X1"), || json!("")),
    ("keyType", "EC384", || json!("EC384"), || json!("RSA4096")),
    (
        "eab",
        "{kid: k, hmacEncoded: aG1hYw}",
        || json!({"kid": "k", "hmacEncoded": "***"}),
        || Value::Null,
    ),
    ("eab.kid", "k", || json!("k"), || Value::Null),
    ("eab.hmacEncoded", "aG1hYw", || json!("***"), || Value::Null),
    ("certificatesDuration", "168", || json!(168), || json!(2160)),
    ("dnsChallenge.provider", "desec", || json!("desec"), || Value::Null),
    ("dnsChallenge.delayBeforeCheck", "5", || json!(5), || Value::Null),
    (
        "dnsChallenge.resolvers",
        "1.1.1.1:53,9.9.9.9",
        || json!(["1.1.1.1:53", "9.9.9.9"]),
        || Value::Null,
    ),
    ("dnsChallenge.disablePropagationCheck", "true", || json!(true), || Value::Null),
    ("httpChallenge.entryPoint", "web", || json!("web"), || Value::Null),
    ("tlsChallenge", "true", || json!({"delay": 0}), || Value::Null),
    ("storage", "/data/acme.json", || json!("/data/acme.json"), || json!("acme.json")),
    ("caCertificates", "a.pem,b.pem", || json!(["a.pem", "b.pem"]), || json!([])),
    ("caSystemCertPool", "true", || json!(true), || json!(false)),
    ("caServerName", "ca.example", || json!("ca.example"), || json!("")),
    // newer than that page
    ("profile", "shortlived", || json!("shortlived"), || json!("")),
    ("emailAddresses", "b@example.com", || json!(["b@example.com"]), || json!([])),
    ("disableCommonName", "true", || json!(true), || json!(false)),
    ("clientTimeout", "3m", || json!(180), || json!(120)),
    ("clientResponseHeaderTimeout", "1m10s", || json!(70), || json!(30)),
    ("certificateTimeout", "45", || json!(45), || json!(30)),
    ("httpChallenge.delay", "2", || json!(2), || Value::Null),
    ("tlsChallenge.delay", "1500ms", || json!(1.5), || Value::Null),
    ("dnsChallenge.propagation.delayBeforeChecks", "9s", || json!(9), || Value::Null),
    ("dnsChallenge.propagation.disableChecks", "true", || json!(true), || Value::Null),
    ("dnsChallenge.propagation.disableANSChecks", "true", || json!(true), || Value::Null),
    ("dnsChallenge.propagation.requireAllRNS", "true", || json!(true), || Value::Null),
];

fn read(file: Option<&Path>, variables: &[(String, String)], flags: &[String]) -> Reading {
    let environment: BTreeMap<String, String> = variables.iter().cloned().collect();
    config::read(&Sources { file, environment: &environment, flags })
}

fn file(name: &str, text: &str) -> Reading {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("options");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    read(Some(&path), &[], &[])
}

/// `path` of the resolver `le`, from what the configuration comes to.
#[track_caller]
fn shown(reading: &Reading, path: &str) -> Value {
    let all = reading.effective.as_ref().unwrap();
    let pointer = format!("/le/acme/{}", path.replace('.', "/"));
    all.part("certificatesResolvers").pointer(&pointer).cloned().unwrap_or_default()
}

/// Without what would need other settings: only the structure counts here.
#[track_caller]
fn read_well(reading: Reading, form: &str) -> Reading {
    assert!(reading.config.is_ok(), "{form}: {:?}", reading.config.err());
    reading
}

/// One setting, in four forms.
fn forms(path: &str, value: &str) -> [Reading; 4] {
    let flag = |path: &str, value: &str| format!("--certificatesResolvers.le.acme.{path}={value}");
    let variable = |path: &str, value: &str| {
        let name = format!("TRAEFIK_CERTIFICATESRESOLVERS_LE_ACME_{}", path.replace('.', "_"));
        (name.to_uppercase(), value.to_owned())
    };
    let quoted = if value.starts_with('{') { value.to_owned() } else { format!("'{value}'") };
    let (opened, closed) = (path.replace('.', ": {"), "}".repeat(path.split('.').count() + 2));
    let yaml = format!("certificatesResolvers: {{le: {{acme: {{{opened}: {quoted}{closed}");
    let keys = format!("certificatesResolvers.le.acme.{path}");
    let whole = [("kid", "k"), ("hmacEncoded", "aG1hYw")];
    let (toml, flags, variables) = if value.starts_with('{') {
        let inside = |(key, value): &(&str, &str)| (format!("{path}.{key}"), (*value).to_owned());
        let both: Vec<(String, String)> = whole.iter().map(inside).collect();
        (
            format!("{keys} = {{kid = 'k', hmacEncoded = 'aG1hYw'}}"),
            both.iter().map(|(key, value)| flag(key, value)).collect(),
            both.iter().map(|(key, value)| variable(key, value)).collect(),
        )
    } else {
        (format!("{keys} = '{value}'"), vec![flag(path, value)], vec![variable(path, value)])
    };
    let name = path.replace('.', "-");
    [
        file(&format!("{name}.yml"), &yaml),
        file(&format!("{name}.toml"), &toml),
        read(None, &[], &flags),
        read(None, &variables, &[]),
    ]
}

#[test]
fn each_option_is_read_in_each_form_and_has_its_default() {
    let absent = file("absent.yml", "certificatesResolvers: {le: {acme: {storage: acme.json}}}");
    for (path, written, expected, default) in ROWS {
        assert_eq!(shown(&absent, path), default(), "{path} by default");
        let forms = forms(path, written);
        for (reading, form) in forms.into_iter().zip(["YAML", "TOML", "flags", "variables"]) {
            let reading = read_well(reading, form);
            assert_eq!(shown(&reading, path), expected(), "{path} as {form}");
        }
    }
}

#[test]
fn what_is_read_is_what_the_program_has() {
    let flags = [
        "email=a@example.com",
        "caServer=https://ca.example/dir",
        "keyType=EC384",
        "certificatesDuration=168",
        "clientTimeout=3m",
        "profile=shortlived",
        "caServerName=ca",
        "caSystemCertPool=true",
        "httpChallenge.entryPoint=http",
        "httpChallenge.delay=2",
        "tlsChallenge.delay=3",
        "dnsChallenge.provider=desec",
        "dnsChallenge.resolvers=1.1.1.1",
        "dnsChallenge.delayBeforeCheck=5",
        "dnsChallenge.disablePropagationCheck=true",
        "preferredChain=ISRG Root X1",
        "eab.kid=k",
        "eab.hmacEncoded=aG1hYw",
        "clientResponseHeaderTimeout=70",
        "certificateTimeout=45",
        "emailAddresses=b@example.com",
        "disableCommonName=true",
    ];
    let flags: Vec<String> =
        flags.iter().map(|flag| format!("--certificatesResolvers.le.acme.{flag}")).collect();
    let le = read(None, &[], &flags).config.unwrap().resolvers["le"].clone().unwrap();
    assert_eq!(
        (le.email.as_str(), le.ca_server.as_str()),
        ("a@example.com", "https://ca.example/dir")
    );
    assert_eq!((le.key_type.as_str(), le.profile.as_deref()), ("EC384", Some("shortlived")));
    let hours = le.certificates_duration.as_secs() / 3600;
    assert_eq!((hours, le.client_timeout.as_secs()), (168, 180));
    assert_eq!((le.trust.server_name.as_deref(), le.trust.system_pool), (Some("ca"), true));
    assert_eq!(le.preferred_chain.as_deref(), Some("ISRG Root X1"));
    assert_eq!((le.response_header_timeout.as_secs(), le.certificate_timeout.as_secs()), (70, 45));
    let eab = le.eab.unwrap();
    assert_eq!((eab.kid.as_str(), eab.key), ("k", MacKey::Given(b"hmac".to_vec())));
    assert!(le.disable_common_name && le.email_addresses == ["b@example.com"]);
    let (http, tls) = (le.challenges.http.unwrap(), le.challenges.tls.unwrap());
    assert_eq!((http.entry_point.as_str(), http.delay.as_secs()), ("http", 2));
    let dns = le.challenges.dns.unwrap();
    assert_eq!((tls.delay.as_secs(), dns.provider.as_str()), (3, "desec"));
    assert_eq!((dns.resolvers.len(), dns.propagation.delay_before_checks.as_secs()), (1, 5));
    assert!(dns.propagation.disable_checks && !dns.propagation.disable_ans_checks);
}

#[test]
fn deprecated_options_are_read_and_the_new_ones_are_named() {
    for (old, new) in [
        ("delayBeforeCheck=5", "propagation.delayBeforeChecks"),
        ("disablePropagationCheck=true", "propagation.disableChecks"),
    ] {
        let flags = ["provider=desec", old]
            .map(|it| format!("--certificatesResolvers.le.acme.dnsChallenge.{it}"));
        let reading = read(None, &[], &flags);
        let named = reading.warnings.iter().filter(|it| it.message.contains(new)).count();
        assert_eq!(named, 1, "{:?}", reading.warnings);
        assert!(!shown(&reading, &format!("dnsChallenge.{new}")).is_null());
    }
}

#[test]
fn names_that_differ_only_in_case_are_an_error_in_every_form() {
    let yaml = "certificatesResolvers: {le: {acme: {email: a@b.c}}, LE: {acme: {email: a@b.c}}}";
    let toml = "certificatesResolvers.le.acme.email = 'a@b.c'\ncertificatesResolvers.Le.acme.email = 'a@b.c'\n";
    let flags = ["le", "Le"].map(|name| format!("--certificatesResolvers.{name}.acme.email=a@b.c"));
    for reading in [file("case.yml", yaml), file("case.toml", toml), read(None, &[], &flags)] {
        let errors = reading.config.unwrap_err();
        assert!(errors.iter().any(|it| it.message.contains("only in case")), "{errors:?}");
    }
}

#[test]
fn sources_are_merged_key_by_key_and_lists_are_replaced() {
    let yaml = "certificatesResolvers:\n  MyRes:\n    acme:\n      email: file@example.com\n      \
                caServerName: file\n      storage: file.json\n      caCertificates: [a.pem, b.pem]\n      \
                dnsChallenge: {provider: desec, resolvers: ['1.1.1.1', '8.8.8.8']}\n";
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("options");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("merged.yml");
    fs::write(&path, yaml).unwrap();
    let variable = |name: &str, value: &str| {
        (format!("TRAEFIK_CERTIFICATESRESOLVERS_MYRES_ACME_{name}"), value.to_owned())
    };
    let variables = [
        variable("EMAIL", "variable@example.com"),
        variable("CASERVERNAME", "variable"),
        variable("CACERTIFICATES", "c.pem"),
        variable("DNSCHALLENGE_RESOLVERS", "9.9.9.9"),
    ];
    let flag = ["--certificatesresolvers.myres.acme.email=flag@example.com".to_owned()];
    let reading = read(Some(&path), &variables, &flag);
    let config = reading.config.unwrap();
    assert_eq!(config.resolvers.keys().collect::<Vec<_>>(), ["MyRes"]);
    let resolver = config.resolvers["MyRes"].clone().unwrap();
    assert_eq!(resolver.email, "flag@example.com");
    assert_eq!(resolver.trust.server_name.as_deref(), Some("variable"));
    assert_eq!(resolver.trust.certificates, [Path::new("c.pem")]);
    let dns = resolver.challenges.dns.unwrap();
    assert_eq!((dns.provider.as_str(), dns.resolvers), ("desec", vec!["9.9.9.9".to_owned()]));
}

#[test]
fn problems_stand_in_the_order_of_the_file_then_variables_then_flags() {
    let yaml = "log: {level: LOUD}\ncertificatesResolvers:\n  b: {acme: {keyType: no}}\n  a: {acme: {emial: x}}\nentryPoints:\n  web: {adress: ':80'}\n";
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("options");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("order.yml");
    fs::write(&path, yaml).unwrap();
    let variables = [("TRAEFIK_LOG_FORMAT".to_owned(), "loud".to_owned())];
    let flags = ["--log.levle=x", "--entryPoints.web.addres=:80"].map(str::to_owned);
    let reading = read(Some(&path), &variables, &flags);
    let places: Vec<String> = reading.errors().into_iter().map(|it| it.place).collect();
    let shown = |line: &str| format!("{}:{line}", path.display());
    let expected = [
        shown("1:14"),
        shown("3:7"),
        shown("3:23"),
        shown("4:7"),
        shown("4:14"),
        shown("6:9"),
        "TRAEFIK_LOG_FORMAT".to_owned(),
        "--log.levle".to_owned(),
        "--entryPoints.web.addres".to_owned(),
    ];
    assert_eq!(places, expected, "{:#?}", reading.errors());
}
