//! Facts about the `spec.acme` of a `CertificateResolver`.

use serde_json::{Value, json};

use crate::config::tests::{ENTRY_POINTS, config};
use crate::resolver::{Resolver, SecretKey};

#[track_caller]
fn read(acme: &Value) -> (Result<Resolver, String>, String) {
    let (resolver, problems) = config(ENTRY_POINTS).resolver_from("le", acme);
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    (resolver, lines.join("\n"))
}

#[track_caller]
fn refused(acme: &Value, part: &str) {
    let (resolver, problems) = read(acme);
    let why = resolver.expect_err("usable");
    assert!(why.contains(part) && problems.contains(part), "{part}\n{why}\n{problems}");
    assert!(
        problems.lines().all(|line| line.starts_with("CertificateResolver le: ")),
        "{problems}"
    );
}

#[test]
fn an_object_is_read_like_a_static_resolver() {
    let acme = json!({
        "email": "a@example.com", "keyType": "EC256", "certificatesDuration": 168,
        "caServer": "https://ca.example/dir", "profile": "shortlived",
        "httpChallenge": {"entryPoint": "web", "delay": "2s"}, "tlsChallenge": {},
    });
    let (resolver, problems) = read(&acme);
    let resolver = resolver.unwrap();
    let text = "certificatesResolvers: {le: {acme: {email: a@example.com, keyType: EC256, \
                certificatesDuration: 168, caServer: 'https://ca.example/dir', profile: shortlived, \
                httpChallenge: {entryPoint: web, delay: 2s}, tlsChallenge: {}}}}";
    let same = config(&format!("{ENTRY_POINTS}{text}")).resolvers["le"].clone().unwrap();
    assert_eq!(resolver, same);
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn solvers_have_zones_and_credentials_from_secrets() {
    let secret = |key: &str| json!({"secretRef": {"name": "dns", "key": key}});
    let (resolver, problems) = read(&json!({"email": "a@b.c", "dnsChallenge": {
        "resolvers": ["1.1.1.1"],
        "propagation": {"delayBeforeChecks": 3},
        "solvers": [
            {
                "zones": ["Example.com"],
                "provider": "dnsupdate",
                "env": {"DNSUPDATE_NAMESERVER": secret("t")},
            },
            {"provider": "rfc2136", "ambient": true},
        ],
    }}));
    let dns = resolver.unwrap().challenges.dns.unwrap();
    assert_eq!((dns.solvers.len(), dns.provider.as_str(), dns.resolvers.len()), (2, "", 1));
    assert_eq!(dns.solvers[0].zones[0].as_str(), "example.com");
    let key = SecretKey { name: "dns".to_owned(), key: "t".to_owned() };
    assert_eq!(dns.solvers[0].env["DNSUPDATE_NAMESERVER"], key);
    assert!(dns.solvers[1].ambient && dns.solvers[1].env.is_empty());
    assert_eq!(dns.propagation.delay_before_checks.as_secs(), 3);
    assert!(dns.obstacles.is_empty() && problems.is_empty(), "{problems}");
}

#[test]
fn an_object_names_no_file_no_command_and_no_variable_of_the_process() {
    let http = json!({"entryPoint": "web"});
    refused(&json!({"httpChallenge": http, "storage": "acme.json"}), "kept in the cluster");
    refused(&json!({"httpChallenge": http, "caCertificates": ["/ca.pem"]}), "may name no files");
    refused(
        &json!({"httpChallenge": http, "eab": {"kid": "k", "hmacEncoded": "aG1hYw"}}),
        "hmacSecretRef",
    );
    for provider in ["exec", "manual", "EXEC"] {
        let solvers = json!([{"provider": provider}]);
        refused(&json!({"dnsChallenge": {"solvers": solvers}}), "static configuration only");
        refused(&json!({"dnsChallenge": {"provider": provider}}), "static configuration only");
    }
    for variable in ["DESEC_TOKEN_FILE", "OCI_PRIVATE_KEY_PATH", "AWS_PROFILE"] {
        let env = json!({variable: {"secretRef": {"name": "a", "key": "b"}}});
        let solvers = json!([{"provider": "desec", "env": env}]);
        refused(&json!({"dnsChallenge": {"solvers": solvers}}), "names a file");
    }
    let (resolver, _) = read(&json!({"dnsChallenge": {"provider": "rfc2136"}}));
    let obstacles = resolver.unwrap().challenges.dns.unwrap().obstacles;
    assert!(obstacles[0].contains("not set: DNSUPDATE_NAMESERVER"), "{obstacles:?}");
}

#[test]
fn what_is_wrong_in_an_object_is_told_with_the_right_key() {
    let http = json!({"entryPoint": "web"});
    refused(
        &json!({"httpChallenge": http, "emial": "a@b.c"}),
        "spec.acme.emial: unknown key; did you mean `email`?",
    );
    refused(&json!({"httpChallenge": {"entryPoint": "nope"}}), "no entry point `nope`");
    refused(&json!({"httpChallenge": http, "eab": {"kid": "k"}}), "is missing beside kid");
    refused(
        &json!({"httpChallenge": http, "eab": {"kid": "k", "hmacSecretRef": {"name": "a"}}}),
        "and a key",
    );
    let solver = |solver: Value| json!({"dnsChallenge": {"solvers": [solver]}});
    refused(&solver(json!({"zones": ["a.example"]})), "provider is missing");
    refused(&solver(json!({"provider": "descc"})), "did you mean `desec`?");
    refused(&solver(json!({"provider": "desec", "zones": ["*.a"]})), "without `*.`");
    refused(&solver(json!({"provider": "desec", "env": {"A": {"secretRef": {}}}})), "without any");
    refused(&solver(json!({"provider": "desec", "env": {"A": {"value": "x"}}})), "secretRef");
    refused(&json!({}), "no challenge is set");
    refused(&json!(null), "spec.acme: ");
}

#[test]
fn very_many_mistakes_are_told_in_few_words() {
    let solvers = |count: usize, code: &str| -> Vec<Value> {
        (0..count).map(|_| json!({"provider": code})).collect()
    };
    let (resolver, _) = read(&json!({"dnsChallenge": {"solvers": solvers(100, "nobody")}}));
    assert!(resolver.unwrap_err().ends_with("; and 92 more"));
    refused(&json!({"dnsChallenge": {"solvers": solvers(101, "gcloud")}}), "more than 100 solvers");
    let (resolver, _) = read(&json!({"dnsChallenge": {"solvers": solvers(20, "rfc2136")}}));
    let why = resolver.unwrap().usable().unwrap_err();
    assert!(why.ends_with("; and 12 more"), "{why}");
    let keys = (0..500).map(|n| (format!("key{n}"), json!(1))).collect();
    let (resolver, problems) = read(&Value::Object(keys));
    assert!(resolver.unwrap_err().len() < 10_000 && problems.lines().count() < 300);
}
