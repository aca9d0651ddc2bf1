//! `routecert status` and `routecert providers`, as a person calls them.

use std::process::Command;

use serde_json::Value;

use crate::look::{self, LE};
use crate::parts::process;
use crate::parts::stand::Stand;
use crate::{binary, stand};

/// Exit code, standard output, standard error.
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    process::clean_environment(&mut command, &std::env::temp_dir());
    command.args(args);
    let output = process::run(command, "");
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), out, err)
}

fn status(stand: &Stand<'_>, args: &[&str]) -> (Option<i32>, String, String) {
    let kubeconfig = stand.cluster.admin.display().to_string();
    run(&[&["status", "--kubeconfig", &kubeconfig], args].concat())
}

#[track_caller]
fn json(stand: &Stand<'_>, args: &[&str]) -> (Option<i32>, Value) {
    let (code, out, err) = status(stand, &[args, &["-o", "json"]].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

#[tokio::test]
async fn what_is_held_and_what_is_refused_is_told_by_name_by_route_and_in_all() {
    let stand = stand("status").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let space = stand.routes.as_str();
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.traefik_route("theirs", "Host(`b.example.com`)", LE);
    look::told(&stand, "blog", "Issued").await;
    let theirs = stand.certificate("b.example.com").await.secret;
    let ready = async || {
        let (code, all) = json(&stand, &["-n", space]);
        let count = all["certificates"].as_array().map_or(0, Vec::len);
        if code == Some(0) && count == 2 { Ok(all) } else { Err(all.to_string()) }
    };
    let all = stand.eventually("two certificates", ready).await;
    assert_eq!(all["routes"], Value::Array(Vec::new()));

    for name in [theirs.clone(), format!("{space}/{theirs}")] {
        let (code, found) = json(&stand, &[&name]);
        let one = &found["certificates"][0];
        assert_eq!((code, &one["names"][0]), (Some(0), &"b.example.com".into()), "{found}");
        assert_eq!(one["routes"][0], format!("IngressRoute.traefik.io {space}/theirs"));
        assert!(one["notAfter"].is_string() && one["renewal"].is_string(), "{found}");
        assert!(one["lastError"].is_null() && one["nextRetry"].is_null(), "{found}");
    }
    for words in [
        vec![format!("IngressRoute/{space}/theirs")],
        vec!["ingressroute.traefik.io".to_owned(), format!("{space}/theirs")],
        vec![format!("{space}/theirs")],
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, found) = json(&stand, &words);
        assert_eq!((code, &found["routes"][0]["reason"]), (Some(0), &"Issued".into()), "{found}");
        assert_eq!(found["routes"][0]["certificates"][0], format!("{space}/{theirs}"));
        assert_eq!(found["certificates"][0]["name"], theirs.as_str());
    }
    let (code, text, _) = status(&stand, &[&format!("{space}/blog")]);
    assert_eq!(code, Some(0), "{text}");
    for part in ["IngressRoute.routecert.dev", ": ready, Issued", "a.example.com", "renewal"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    refused(&stand).await;
}

/// Two routes of it are refused, one by an Event.
async fn refused(stand: &Stand<'_>) {
    let space = stand.routes.as_str();
    stand.route("ours-refused", "Host(`c.example.com`)", "{certResolver: nobody}");
    stand.traefik_route("theirs-refused", "Host(`d.example.com`)", "{certResolver: nobody}");
    look::told(stand, "ours-refused", "UnknownResolver").await;
    look::event(stand, "theirs-refused").await;
    let (code, all) = json(stand, &["-n", space]);
    assert_eq!(code, Some(1));
    let routes: Vec<&Value> = all["routes"].as_array().unwrap().iter().collect();
    assert_eq!(routes.len(), 2, "{all}");
    for route in routes {
        assert_eq!((&route["reason"], &route["ready"]), (&"UnknownResolver".into(), &false.into()));
        assert!(route["message"].as_str().unwrap().contains("`nobody`"), "{route}");
    }
    let (code, text, err) = status(stand, &[&format!("{space}/theirs-refused")]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not ready, UnknownResolver") && err.contains("1 route(s)"), "{text}");

    // mended: the Event is still there, and the route is well
    stand.traefik_route("theirs-refused", "Host(`d.example.com`)", LE);
    let well = async || {
        let (code, found) = json(stand, &[&format!("{space}/theirs-refused")]);
        if code == Some(0) { Ok(()) } else { Err(found.to_string()) }
    };
    stand.eventually("the mended route", well).await;

    let (code, _, err) = status(stand, &[&format!("{space}/nobody")]);
    assert_eq!(code, Some(1));
    assert!(err.contains(&format!("there is no route {space}/nobody")), "{err}");
    let (code, _, err) = status(stand, &["rc-aaaaaaaaaaaaaaaaaaaa"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no AcmeCertificate"), "{err}");
    let (code, _, err) = status(stand, &["Pod", "a/b"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("`Pod` is no kind of route"), "{err}");
}

#[tokio::test]
async fn an_error_is_told_with_its_type_and_the_next_try() {
    let stand = stand("status-failed").await;
    // nobody answers the challenge
    let _controller = stand.start_controller();
    stand.route("blog", "Host(`a.example.com`)", LE);
    look::told(&stand, "blog", "Failed").await;
    let shown = async || {
        let (code, found) = json(&stand, &["-n", &stand.routes]);
        let one = found["certificates"][0].clone();
        if code == Some(1) && one["reason"] == "Failed" { Ok(one) } else { Err(found.to_string()) }
    };
    let one = stand.eventually("the failure", shown).await;
    assert_eq!(one["ready"], false);
    assert_eq!(one["lastError"]["type"], "Refused");
    let error = one["lastError"]["message"].as_str().unwrap();
    assert!(error.contains("a.example.com"), "{error}");
    let [at, next] = [&one["lastError"]["at"], &one["nextRetry"]].map(|it| it.as_str().unwrap());
    assert!(at < next, "{at} {next}");
    let (_, text, _) = status(&stand, &[one["name"].as_str().unwrap()]);
    for part in ["not ready, Failed", "error     Refused at ", &format!("retry     {next}")] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn providers_are_listed_with_what_is_built() {
    let (code, text, _) = run(&["providers"]);
    assert_eq!(code, Some(0));
    let built = |code: &str, built: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(code)).unwrap();
        assert!(line.split_whitespace().any(|word| word == built), "{line}");
    };
    built("httpreq", "yes");
    built("abion", "no");
    built("iwantmyname", "shut");
    let (_, list, _) = run(&["providers", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let list = list.as_array().unwrap();
    assert!(list.len() > 230);
    let acme_dns = list.iter().find(|it| it["code"] == "acmedns").unwrap();
    assert_eq!((&acme_dns["aliases"][0], &acme_dns["built"]), (&"acme-dns".into(), &true.into()));
}

#[test]
fn a_provider_is_told_with_its_variables_by_code_or_alias_in_any_case() {
    let (code, text, _) = run(&["providers", "CloudFlare"]);
    assert_eq!(code, Some(0));
    for part in [
        "cloudflare: Cloudflare",
        "CLOUDFLARE_DNS_API_TOKEN or CF_DNS_API_TOKEN",
        "or, in place of these",
        "CLOUDFLARE_EMAIL or CF_API_EMAIL",
        "_FILE",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let (_, json, _) = run(&["providers", "acme-dns", "-o", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["code"], "acmedns");
    let storage = ["ACME_DNS_STORAGE_PATH", "ACME_DNS_STORAGE_BASE_URL"];
    assert_eq!(json["required"][0][1], serde_json::json!(storage));
    assert_eq!(json["optional"][0]["name"], "ACME_DNS_ALLOWLIST");
    let (_, text, _) = run(&["providers", "exec"]);
    for part in ["EXEC_PATH", "EXEC_MODE", "static configuration only", "60 s", "VAR_FILE"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let (code, _, err) = run(&["providers", "cloudflair"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("did you mean `cloudflare`?"), "{err}");
}
