//! `routecert check`: four forms of a configuration, one meaning; and the printed reference.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::binary;
use crate::layers::root;

/// The program's answer, with nothing in its environment but `variables`.
fn run(arguments: &[&str], variables: &[String]) -> Output {
    let variables = variables.iter().map(|it| it.split_once('=').unwrap());
    Command::new(binary())
        .arg("check")
        .args(arguments)
        .env_clear()
        .envs(variables)
        .output()
        .unwrap()
}

fn check(arguments: &[&str], variables: &[String]) -> Value {
    let output = run(&[&["-o", "json"], arguments].concat(), variables);
    let answer = serde_json::from_slice(&output.stdout);
    let answer: Value = answer
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(if answer["ok"] == true { 0 } else { 2 }));
    answer
}

fn file(name: &str, text: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn flags(words: &[&str]) -> Value {
    check(&[&["--"], words].concat(), &[])
}

/// `--a.b=c` → `TRAEFIK_A_B=c`
fn variable(flag: &str) -> String {
    let (name, value) = flag.trim_start_matches('-').split_once('=').unwrap();
    format!("TRAEFIK_{}={value}", name.to_uppercase().replace('.', "_"))
}

/// Only the places differ between the forms, and so the order.
fn without_places(mut answer: Value) -> Value {
    for list in ["errors", "warnings"] {
        let problems = answer[list].as_array_mut().unwrap();
        for problem in problems.iter_mut() {
            problem.as_object_mut().unwrap().remove("place");
        }
        problems.sort_by_key(Value::to_string);
    }
    answer
}

fn messages(answer: &Value, list: &str) -> String {
    answer[list].as_array().unwrap().iter().map(|it| it.to_string() + "\n").collect()
}

/// The examples of Traefik's page on certificates resolvers: the keys of the resolver in YAML and
/// in TOML, and all of it as flags.
const EXAMPLES: &[(&str, &str, &[&str])] = &[
    (
        "email: a@example.com, storage: acme.json, httpChallenge: {entryPoint: web}",
        "email = 'a@example.com'\nstorage = 'acme.json'\nhttpChallenge.entryPoint = 'web'",
        &["email=a@example.com", "storage=acme.json", "httpchallenge.entrypoint=web"],
    ),
    (
        "tlsChallenge: {}",
        "[certificatesResolvers.myresolver.acme.tlsChallenge]",
        &["tlschallenge=true"],
    ),
    (
        "httpChallenge: {entryPoint: web}",
        "[certificatesResolvers.myresolver.acme.httpChallenge]\nentryPoint = 'web'",
        &["httpchallenge.entrypoint=web"],
    ),
    (
        "dnsChallenge: {provider: digitalocean, delayBeforeCheck: 0}",
        "[certificatesResolvers.myresolver.acme.dnsChallenge]\nprovider = 'digitalocean'\ndelayBeforeCheck = 0",
        &["dnschallenge.provider=digitalocean", "dnschallenge.delaybeforecheck=0"],
    ),
    (
        "dnsChallenge: {provider: ovh, resolvers: ['1.1.1.1:53', '8.8.8.8:53']}",
        "[certificatesResolvers.myresolver.acme.dnsChallenge]\nprovider = 'ovh'\nresolvers = ['1.1.1.1:53', '8.8.8.8:53']",
        &["dnschallenge.provider=ovh", "dnschallenge.resolvers=1.1.1.1:53,8.8.8.8:53"],
    ),
    (
        "eab: {kid: abc-keyID-xyz, hmacEncoded: abc-hmac-xyz}",
        "[certificatesResolvers.myresolver.acme.eab]\nkid = 'abc-keyID-xyz'\nhmacEncoded = 'abc-hmac-xyz'",
        &["eab.kid=abc-keyID-xyz", "eab.hmacencoded=abc-hmac-xyz"],
    ),
    (
        "caServer: https://acme-staging-v02.api.letsencrypt.org/directory",
        "caServer = 'https://acme-staging-v02.api.letsencrypt.org/directory'",
        &["caserver=https://acme-staging-v02.api.letsencrypt.org/directory"],
    ),
    ("storage: acme.json", "storage = 'acme.json'", &["storage=acme.json"]),
    ("certificatesDuration: 72", "certificatesDuration=72", &["certificatesduration=72"]),
    (
        "preferredChain: 'ISRG Root X1'",
        "preferredChain = 'ISRG Root X1'",
        &["preferredchain=ISRG Root X1"],
    ),
    ("keyType: RSA4096", "keyType = 'RSA4096'", &["keytype=RSA4096"]),
    (
        "caCertificates: [a.pem, b.pem], caSystemCertPool: true, caServerName: ca.example",
        "caCertificates = ['a.pem', 'b.pem']\ncaSystemCertPool = true\ncaServerName = 'ca.example'",
        &["cacertificates=a.pem,b.pem", "casystemcertpool=true", "caservername=ca.example"],
    ),
];

#[test]
fn four_forms_of_an_example_are_one_configuration() {
    for (number, (yaml, toml, keys)) in EXAMPLES.iter().enumerate() {
        let yaml = format!(
            "entryPoints: {{web: {{address: ':80'}}, websecure: {{address: ':443'}}}}\n\
             certificatesResolvers:\n  myresolver:\n    acme: {{{yaml}}}\n"
        );
        let toml = format!(
            "[entryPoints]\n  [entryPoints.web]\n  address = ':80'\n  [entryPoints.websecure]\n  address = ':443'\n\
             [certificatesResolvers.myresolver.acme]\n{toml}\n"
        );
        let mut words: Vec<String> =
            ["--entryPoints.web.address=:80", "--entryPoints.websecure.address=:443"]
                .map(str::to_owned)
                .to_vec();
        words.extend(
            keys.iter().map(|key| format!("--certificatesresolvers.myresolver.acme.{key}")),
        );
        let yaml = file(&format!("{number}.yml"), &yaml);
        let toml = file(&format!("{number}.toml"), &toml);
        let variables: Vec<String> = words.iter().map(|it| variable(it)).collect();
        let expected = without_places(check(&["--configfile", yaml.to_str().unwrap()], &[]));
        assert!(expected["certificatesResolvers"]["myresolver"]["acme"].is_object());
        let others = [
            check(&["--configFile", toml.to_str().unwrap()], &[]),
            flags(&words.iter().map(String::as_str).collect::<Vec<_>>()),
            check(&[], &variables),
        ];
        for other in others.map(without_places) {
            assert_eq!(other, expected, "example {number}");
        }
    }
}

#[test]
fn a_flag_goes_before_a_variable_and_that_before_the_file() {
    let file = file(
        "layers.yml",
        "entryPoints: {web: {address: ':80'}}\ncertificatesResolvers:\n  MyRes:\n    acme:\n      \
         email: file@example.com\n      profile: file\n      storage: file.json\n      \
         httpChallenge: {entryPoint: web}\n      emailAddresses: [a@example.com, b@example.com]\n",
    );
    let variables = [
        "TRAEFIK_CERTIFICATESRESOLVERS_MYRES_ACME_EMAIL=traefik@example.com",
        "ROUTECERT_CERTIFICATESRESOLVERS_MYRES_ACME_EMAIL=own@example.com",
        "TRAEFIK_CERTIFICATESRESOLVERS_MYRES_ACME_PROFILE=variable",
        "TRAEFIK_CERTIFICATESRESOLVERS_MYRES_ACME_EMAILADDRESSES=c@example.com",
    ]
    .map(str::to_owned);
    let flag = "--certificatesResolvers.myRES.acme.profile=flag";
    let answer = check(&["--configfile", file.to_str().unwrap(), "--", flag], &variables);
    let acme = &answer["certificatesResolvers"]["MyRes"]["acme"];
    assert_eq!(answer["ok"], true, "{answer:#}");
    assert_eq!(acme["email"], "own@example.com");
    assert_eq!(acme["profile"], "flag");
    assert_eq!(acme["storage"], "file.json");
    assert_eq!(acme["emailAddresses"], serde_json::json!(["c@example.com"]));
    assert_eq!(answer["certificatesResolvers"].as_object().unwrap().len(), 1);

    let output = run(&["--configfile", file.to_str().unwrap(), "--", flag], &variables);
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "email: \"own@example.com\"  # ROUTECERT_CERTIFICATESRESOLVERS_MYRES_ACME_EMAIL\n",
        "profile: \"flag\"  # --certificatesResolvers.myRES.acme.profile\n",
        "layers.yml:7:16\n",
        "keyType: \"RSA4096\"  # default\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn the_file_may_be_named_among_the_flags_in_any_case_and_is_not_looked_for() {
    let path = file("traefik.yml", "entryPoints: {file: {address: ':81'}}\n");
    let given = format!("--configFile={}", path.display());
    assert!(flags(&[&given])["entryPoints"]["file"].is_object());
    assert!(
        check(&[&given.replace("configFile", "CONFIGFILE")], &[])["entryPoints"]["file"]
            .is_object()
    );
    let there = Command::new(binary())
        .args(["check", "-o", "json"])
        .current_dir(path.parent().unwrap())
        .env_clear()
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&there.stdout).unwrap();
    assert!(answer["entryPoints"]["http"].is_object(), "{answer:#}");
}

#[test]
fn what_kubernetes_injects_for_a_service_of_that_name_is_left_alone() {
    let variables = [
        "TRAEFIK_SERVICE_HOST=10.0.0.1",
        "ROUTECERT_PORT=tcp://10.0.0.1:80",
        "TRAEFIK_METRICS_SERVICE_PORT=9100",
        "TRAEFIK_METRICS_SERVICE_PORT_METRICS=9100",
        "TRAEFIK_METRICS_PORT=tcp://10.0.0.1:9100",
        "TRAEFIK_METRICS_PORT_9100_TCP=tcp://10.0.0.1:9100",
        "TRAEFIK_METRICS_PORT_9100_TCP_ADDR=10.0.0.1",
        "TRAEFIK_METRICS_PORT_9100_TCP_PORT=9100",
    ]
    .map(str::to_owned);
    let answer = check(&[], &variables);
    assert_eq!((&answer["ok"], messages(&answer, "warnings").as_str()), (&Value::Bool(true), ""));
}

#[test]
fn all_problems_are_told_at_once_each_with_its_source() {
    let path = file("broken.toml", "[entryPoints.web]\naddress = ':80'\nport = 1\n");
    let words = ["--log.levle=INFO", "--entrypoints", "x", "--log.level"];
    let variables = ["TRAEFIK_PINGER=1".to_owned()];
    let arguments = [&["--configfile", path.to_str().unwrap(), "--"], words.as_slice()].concat();
    let errors = messages(&check(&arguments, &variables), "errors");
    for part in [
        "broken.toml:3:1",
        "\"--log.levle\"",
        "did you mean `level`?",
        "word 3 of the flags",
        "has no value",
        "TRAEFIK_PINGER",
        "did you mean `ping`?",
    ] {
        assert!(errors.contains(part), "{part}\n{errors}");
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let path = file(
        "secret.yml",
        "certificatesResolvers: {le: {acme: {tlsChallenge: true, eab: {kid: k, hmacEncoded: 'U0VDUkVU!'}}}}\n\
         providers: {kubernetesCRD: {token: U0VDUkVU}}\n",
    );
    for form in ["json", "text"] {
        let output = run(&["--configfile", path.to_str().unwrap(), "-o", form], &[]);
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8(all).unwrap();
        assert!(all.contains("***") && !all.contains("U0VDUkVU"), "{all}");
        assert!(all.contains("base64url"), "{all}");
    }
}

#[test]
fn an_unknown_provider_is_an_error_that_names_the_nearest() {
    let key = "--certificatesresolvers.le.acme.dnschallenge.provider";
    let of = |code: &str| flags(&[&format!("{key}={code}")]);
    let wrong = of("rout53");
    assert!(messages(&wrong, "errors").contains("did you mean `route53`?"), "{wrong:#}");
    let right = of("desec");
    assert_eq!(right["ok"], true);
    assert!(messages(&right, "warnings").contains("not set: DESEC_TOKEN"), "{right:#}");
    let given = check(&["--", &format!("{key}=desec")], &["DESEC_TOKEN=x".to_owned()]);
    assert!(!messages(&given, "warnings").contains("DESEC_TOKEN"), "{given:#}");
}

#[test]
fn lego_s_variables_hold_for_a_resolver_that_says_nothing_about_its_ca() {
    let variables = |names: &[&str]| -> Vec<String> {
        let all = [
            "LEGO_CA_CERTIFICATES=/a.pem:/b.pem",
            "LEGO_CA_SERVER_NAME=ca",
            "LEGO_CA_SYSTEM_CERT_POOL=true",
        ];
        all.iter()
            .filter(|it| names.iter().any(|n| it.starts_with(n)))
            .map(|&it| it.to_owned())
            .collect()
    };
    let words = |key: &str| {
        [
            "--certificatesresolvers.r.acme.tlschallenge".to_owned(),
            format!("--certificatesresolvers.r.acme.{key}"),
        ]
    };
    let acme = |key: &str, names: &[&str]| {
        let words = words(key);
        let answer = check(&["--", &words[0], &words[1]], &variables(names));
        answer["certificatesResolvers"]["r"]["acme"].clone()
    };
    let whole = acme("email=a@example.com", &["LEGO"]);
    assert_eq!(whole["caCertificates"], serde_json::json!(["/a.pem", "/b.pem"]));
    assert_eq!((&whole["caServerName"], &whole["caSystemCertPool"]), (&"ca".into(), &true.into()));
    assert_eq!(acme("email=a@example.com", &["LEGO_CA_S"])["caServerName"], "");
    let own = acme("caservername=mine", &["LEGO"]);
    assert_eq!(
        (&own["caServerName"], &own["caCertificates"]),
        (&"mine".into(), &serde_json::json!([]))
    );
}

#[test]
fn the_documentation_has_every_key_as_it_is() {
    let shown = |what: &str| String::from_utf8(run(&[what], &[]).stdout).unwrap();
    let documentation = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let stale = "is stale; run `make reference`";
    assert!(documentation.ends_with(&shown("--reference")), "docs/configuration.md {stale}");
    let schema = fs::read_to_string(root().join("docs/configuration.schema.json")).unwrap();
    assert!(schema == shown("--schema"), "docs/configuration.schema.json {stale}");
}
