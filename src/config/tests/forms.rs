//! Facts about the other forms: TOML, flags, variables, and what goes before what.

use std::collections::BTreeMap;

use crate::config::{Problem, Reading, Sources, parse, read};

fn words(words: &[&str]) -> Reading {
    let flags: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    read(&Sources { file: None, environment: &BTreeMap::new(), flags: &flags })
}

fn variables(variables: &[(&str, &str)]) -> Reading {
    let environment =
        variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    read(&Sources { file: None, environment: &environment, flags: &[] })
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refuses(reading: Reading, start: &str, part: &str) {
    let found = lines(&reading.config.err().unwrap_or_default());
    let fits = found.len() == 1 && found[0].starts_with(start) && found[0].contains(part);
    assert!(fits, "expected {start} … {part}\n{found:#?}");
}

#[track_caller]
fn warns(reading: &Reading, start: &str, part: &str) {
    let found = lines(&reading.warnings);
    assert!(reading.config.is_ok(), "{:#?}", reading.config);
    let fits = found.iter().any(|it| it.starts_with(start) && it.contains(part));
    assert!(fits, "expected {start} … {part}\n{found:#?}");
}

fn ports(reading: Reading) -> Vec<(String, u16)> {
    let entry_points = reading.config.unwrap().entry_points;
    entry_points.into_iter().map(|(name, it)| (name, it.port)).collect()
}

#[test]
fn toml_knows_its_lines() {
    let toml = |text: &str| parse("f.toml", text);
    refuses(
        toml("# é\r\n[log]\r\nlevel = 'LOUD'\r\n"),
        "f.toml:3:9: log.level: ",
        "expected TRACE",
    );
    refuses(toml("log = {level = 'INFO', lvel = 1}"), "f.toml:1:24: log.lvel: ", "`level`");
    refuses(toml("[log]\nlevel = INFO\n"), "f.toml:2:", "no valid TOML");
    refuses(toml("[log]\n[log]\n"), "f.toml:2:", "no valid TOML");
    refuses(toml("# nothing\n"), "f.toml: ", "holds no configuration");
    refuses(toml("entryPoints = 2026-01-01"), "f.toml:1:15: entryPoints: ", "expected a map");
    assert_eq!(ports(toml("[EntryPoints.a]\nADDRESS = ':0'\nreusePort = true")), [("a".into(), 0)]);
    let hours = "[certificatesResolvers.r.acme]\ncertificatesDuration = 0x1_0\ntlsChallenge = {}";
    let acme = toml(hours).effective.unwrap().part("certificatesResolvers");
    assert_eq!(acme["r"]["acme"]["certificatesDuration"], 16);
}

#[test]
fn flags_have_one_dash_or_two_and_names_of_any_case() {
    let given = ["traefik", "-EntryPoints.a.address=:1", "--entrypoints.b.ADDRESS=:2"];
    assert_eq!(ports(words(&given)), [("a".into(), 1), ("b".into(), 2)]);
    refuses(words(&["a"]), "word 1 of the flags: ", "is no flag");
    refuses(words(&["---a=b"]), "---a: ", "is no flag");
    refuses(words(&["--entrypoints..a=b"]), "--entrypoints..a: ", "empty part");
    refuses(words(&["--log.level"]), "--log.level: ", "has no value");
    refuses(words(&["--entrypoint.web.address=:1"]), "--entrypoint.web.address: ", "`entryPoints`");
    refuses(words(&["--log.levels=INFO"]), "--log.levels: log.levels: ", "`level`");
    refuses(
        words(&["--entrypoints.a.http.tls.domains[x].main=a"]),
        "--entrypoints.a.http.tls.domains[x].main: ",
        "index",
    );
    let deep = format!("--api{}=1", ".a".repeat(100));
    refuses(words(&[&deep]), "--api.a", "too deep");
    let twice = ["--entrypoints.a.address=:1", "--entrypoints.A.http.tls=true"];
    refuses(words(&twice), "--entrypoints.A.http.tls: ", "`A` differs only in case from `a`");
    warns(&words(&["--ping", "--", "x"]), "--: ", "left out");
}

#[test]
fn a_false_switch_is_off_whatever_stands_below() {
    let tls = |flags: &[&str]| {
        let all = [&["--entrypoints.a.address=:1"], flags].concat();
        words(&all).config.unwrap().entry_points["a"].tls.clone()
    };
    let below = "--entrypoints.a.http.tls.options=x";
    assert!(tls(&["--entrypoints.a.http.tls"]).is_some());
    assert!(tls(&["--entrypoints.a.http.tls=true", below]).is_some());
    assert!(tls(&["--entrypoints.a.http.tls=false", below]).is_none());
    assert!(tls(&[below, "--entrypoints.a.http.tls=false"]).is_none());
}

#[test]
fn variables_begin_with_a_key_of_the_root() {
    let web = ("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS", ":80");
    assert_eq!(ports(variables(&[web])), [("web".into(), 80)]);
    let own = ("ROUTECERT_ENTRYPOINTS_Web_address", ":81");
    assert_eq!(ports(variables(&[web, own])), [("web".into(), 81)]);
    assert_eq!(
        ports(variables(&[("traefik_entrypoints_web_address", ":1")])),
        [("http".into(), 80)]
    );
    assert_eq!(variables(&[("TRAEFIK_NETWORK", "x"), ("ROUTECERT_CACHE", "x")]).warnings, []);
    warns(
        &variables(&[("TRAEFIK_ENTRYPOINT_WEB_ADDRESS", ":1")]),
        "TRAEFIK_ENTRYPOINT_",
        "ENTRYPOINTS",
    );
    warns(
        &variables(&[("ROUTECERT_CONFIGFILE", "f.yml")]),
        "ROUTECERT_CONFIGFILE: ",
        "--configfile",
    );
    refuses(variables(&[("TRAEFIK_LOG__LEVEL", "x")]), "TRAEFIK_LOG__LEVEL: ", "empty part");
    refuses(variables(&[("TRAEFIK_LOGS", "x")]), "TRAEFIK_LOGS: ", "did you mean `log`?");
    let hours = variables(&[("ROUTECERT_ROUTECERT_REMOVEAFTER", "2h")]).config.unwrap();
    assert_eq!(hours.own.remove_after.as_secs(), 7200);
}

#[test]
fn lists_of_sections_have_indexes() {
    let domains = |reading: Reading| {
        let tls = reading.config.unwrap().entry_points["a"].tls.clone().unwrap();
        tls.domains.into_iter().map(|it| (it.main, it.sans)).collect::<Vec<_>>()
    };
    let expected =
        [("x".to_owned(), vec!["y".to_owned(), "z".to_owned()]), ("w".to_owned(), vec![])];
    let flag = |rest: &str| format!("--entrypoints.a.{rest}");
    let given = [
        "address=:1",
        "http.tls.domains[1].main=w",
        "http.tls.domains[0].main=x",
        "http.tls.domains[0].sans=y",
        "http.tls.domains[0].sans=z",
    ]
    .map(flag);
    assert_eq!(domains(words(&given.each_ref().map(String::as_str))), expected);
    let given = variables(&[
        ("TRAEFIK_ENTRYPOINTS_A_ADDRESS", ":1"),
        ("TRAEFIK_ENTRYPOINTS_A_HTTP_TLS_DOMAINS_0_MAIN", "x"),
        ("TRAEFIK_ENTRYPOINTS_A_HTTP_TLS_DOMAINS_0_SANS", "y, z"),
        ("TRAEFIK_ENTRYPOINTS_A_HTTP_TLS_DOMAINS_1_MAIN", "w"),
    ]);
    assert_eq!(domains(given), expected);
    let gap = ["--entrypoints.a.address=:1", "--entrypoints.a.http.tls.domains[3].main=w"];
    warns(&words(&gap), "--entrypoints.a.http.tls.domains[3].main: ", "not 0, 1, 2");
}

#[test]
fn settings_of_traefik_2_are_refused() {
    let removed = words(&["--providers.docker.swarmMode=true"]);
    refuses(removed, "--providers.docker.swarmMode: providers.docker.swarmMode: ", "no more");
    let old = ["--core.defaultRuleSyntax=v2"];
    warns(&words(&old), "--core.defaultRuleSyntax: core.defaultRuleSyntax: ", "is deprecated");
}
