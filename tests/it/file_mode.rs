//! `run` without a cluster: everything is kept in `acme.json` and what stands beside it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::look::{self, LE};
use crate::parts::alone::Alone;
use crate::parts::process::{self, Process, Program};
use crate::{binary, stand};

const STOP: Duration = Duration::from_secs(10);

fn alone(name: &str) -> Alone {
    Alone::new(binary(), name)
}

/// A start that is refused: what it says, with exit code 1.
#[track_caller]
fn refused(alone: &Alone) -> String {
    let run = alone.launch();
    let status = run.process.finish(STOP);
    let log = run.process.log();
    assert_eq!(status.code(), Some(1), "{log}");
    log
}

#[tokio::test]
async fn a_router_of_a_file_gets_a_certificate_that_a_restart_keeps() {
    let alone = alone("alone");
    alone.route(&["a.example.com"]);
    let run = alone.start();
    let issued = alone.certificate("a.example.com").await;
    issued.verify(&alone.ca.root(), "a.example.com").unwrap();
    alone.serves("a.example.com", &issued).await;
    let reply = alone.get("https://a.example.com/x").unwrap();
    assert_eq!(reply.json()["headers"]["host"], "a.example.com");
    assert_eq!(fs::metadata(&alone.storage).unwrap().permissions().mode() & 0o777, 0o600);
    alone.logs(&run, "Issued: valid until").await;

    // the file of routers is followed
    alone.route(&["a.example.com", "b.example.com"]);
    let second = alone.certificate("b.example.com").await;
    assert!(run.process.terminate(STOP).0.success());
    let run = alone.start();
    alone.serves("a.example.com", &issued).await;
    alone.serves("b.example.com", &second).await;
    alone.logs(&run, "everything is known").await;
    assert_eq!((alone.ca.orders(), alone.ca.accounts()), (2, 1));

    // without what stands beside it, nothing is got anew
    run.process.terminate(STOP);
    fs::remove_file(alone.folder.join("store/acme.json.state")).unwrap();
    let run = alone.start();
    alone.logs(&run, "everything is known").await;
    alone.logs(&run, "a route wants the certificate again").await;
    alone.serves("a.example.com", &issued).await;
    assert_eq!(alone.ca.orders(), 2);
}

#[tokio::test]
async fn a_certificate_of_a_file_is_renewed_in_its_place() {
    let mut alone = alone("alone-renewal");
    alone.ca.live_for(40);
    alone.acme.push("certificatesDuration: 1".to_owned());
    alone.route(&["a.example.com"]);
    let _run = alone.start();
    let first = alone.certificate("a.example.com").await;
    let renewed = alone
        .eventually("a renewed certificate", async || {
            let all = alone.certificates()?;
            let held = all.get("a.example.com").ok_or("none")?;
            if *held == first { Err("the first".to_owned()) } else { Ok(held.clone()) }
        })
        .await;
    alone.serves("a.example.com", &renewed).await;
    let json: Value = serde_json::from_str(&alone.stored()).unwrap();
    assert_eq!(json["le"]["Certificates"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_the_store_is_refused_and_left_as_it_is() {
    let alone = alone("alone-refused");
    alone.route(&["a.example.com"]);
    let path = alone.storage.display().to_string();
    let flat = r#"{"Account": {"Email": "x"}, "Certificates": [], "HTTPChallenges": {}}"#;
    let cut_off = r#"{"le": {"Account": null, "Certificates": [{"dom"#;
    for (text, mode, parts) in [
        (cut_off, 0o600, vec!["cannot be read as acme.json", "left as it is"]),
        (flat, 0o600, vec!["Traefik 1", "routecert import", "--resolver"]),
        ("{}", 0o644, vec!["644", "too open", "chmod 600"]),
    ] {
        alone.store(text, mode);
        let log = refused(&alone);
        for part in parts.iter().copied().chain([path.as_str()]) {
            assert!(log.contains(part), "`{part}` is not in: {log}");
        }
        assert_eq!(alone.stored(), text);
    }
    fs::remove_file(&alone.storage).unwrap();
    fs::create_dir(&alone.storage).unwrap();
    assert!(refused(&alone).contains("is a directory"));
    assert_eq!(alone.ca.requests(), 0);
}

#[tokio::test]
async fn an_empty_file_is_a_new_store_and_a_second_process_is_refused() {
    let alone = alone("alone-twice");
    alone.store("", 0o600);
    alone.route(&[]);
    let _first = alone.start();
    let log = refused(&alone);
    assert!(log.contains("another process has it"), "{log}");
}

#[tokio::test]
async fn certificates_for_routes_of_a_cluster_can_be_in_a_file() {
    let stand = stand("alone-cluster").await;
    let upstream = stand.upstream.url();
    let more = ["--upstream", &upstream, "--", "--routecert.store=file"];
    stand.route("blog", "Host(`a.example.com`)", LE);
    let run = stand.launch_with("run", &more);
    look::told(&stand, "blog", "Issued").await;
    let issued = stand.served("a.example.com").unwrap();
    issued.verify(&stand.ca.root(), "a.example.com").unwrap();
    assert!(stand.certificates().await.unwrap().is_empty());
    run.process.terminate(STOP);

    // whose it was is not in acme.json: who wants it gets it
    fs::remove_file(stand.folder.join("acme.json.state")).unwrap();
    let run = stand.launch_with("run", &more);
    look::logs(&stand, &run, "certificate taken over for namespace alone-cluster-routes").await;
    let served = async || stand.served("a.example.com");
    assert_eq!(stand.eventually("it to be served", served).await, issued);
    let text = fs::read_to_string(stand.folder.join("acme.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["le"]["Certificates"].as_array().unwrap().len(), 1);
    assert_eq!(stand.ca.orders(), 1);
}

#[test]
fn a_controller_by_itself_keeps_nothing_in_files() {
    let mut alone = alone("alone-controller");
    alone.own.push("store: file".to_owned());
    let mut command = Command::new(binary());
    command.arg("controller").arg("--configfile").arg(alone.configuration());
    let output = process::run(command, "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("`routecert run` alone") && !alone.storage.exists(), "{error}");
}

#[tokio::test]
async fn an_order_goes_on_after_a_kill() {
    let mut alone = alone("alone-killed");
    alone.acme.push("httpChallenge: {entryPoint: web, delay: 2}".to_owned());
    alone.route(&["a.example.com"]);
    let state = alone.folder.join("store/acme.json.state");
    let run = alone.start();
    alone
        .eventually("the order in the state", async || {
            let text = fs::read_to_string(&state).unwrap_or_default();
            if text.contains("pending") { Ok(()) } else { Err(text) }
        })
        .await;
    run.process.kill();
    // a line that was cut off costs nothing but itself
    let whole = fs::read(&state).unwrap();
    fs::write(&state, [&whole[..], b"12345678 {\"kind\":\"sta"].concat()).unwrap();
    let run = alone.start();
    alone.logs(&run, "a record is cut off or spoilt").await;
    let issued = alone.certificate("a.example.com").await;
    alone.serves("a.example.com", &issued).await;
    assert_eq!((alone.ca.orders(), alone.ca.accounts()), (1, 1));
}

#[tokio::test]
async fn what_somebody_else_writes_into_the_file_is_not_overwritten() {
    let alone = alone("alone-edited");
    alone.route(&["a.example.com"]);
    let run = alone.start();
    let issued = alone.certificate("a.example.com").await;
    let edited = alone.stored().replacen('{', "{\n  \"mine\": {\"Account\": null, \"x\": 1},", 1);
    alone.store(&edited, 0o600);
    alone.route(&["a.example.com", "b.example.com"]);
    alone.certificate("b.example.com").await;
    assert!(alone.stored().contains("\"x\": 1"), "{}", alone.stored());
    assert_eq!(alone.certificate("a.example.com").await, issued);

    // broken while it runs: kept, and served on
    let inode = fs::metadata(&alone.storage).unwrap().ino();
    fs::write(&alone.storage, "{\"le\": {").unwrap();
    alone.route(&["a.example.com", "b.example.com", "c.example.com"]);
    alone.logs(&run, "cannot be read as acme.json").await;
    assert_eq!(alone.stored(), "{\"le\": {");
    assert_eq!(fs::metadata(&alone.storage).unwrap().ino(), inode);
    alone.serves("a.example.com", &issued).await;
}

/// `run` with a `script` before it, in mounts of its own; `$0` is the host's file, `$1` the store's.
fn mounted_by(script: &str, alone: &Alone, host: &Path, number: usize) -> Process {
    let configuration = alone.configuration();
    let script = format!("{script} && shift && exec \"$@\"");
    let own = ["-m", "--", "sh", "-c", &script].map(str::to_owned);
    let paths = [host, &alone.storage, binary()].map(|path| path.display().to_string());
    let rest = ["run", "--configfile"].map(str::to_owned);
    let last = [configuration.display().to_string(), "--upstream".to_owned(), alone.upstream.url()];
    Process::start(Program {
        name: format!("mounted-{number}"),
        path: "unshare".into(),
        args: [&own[..], &paths, &rest, &last].concat(),
        env: Vec::new(),
        folder: alone.folder.clone(),
    })
}

/// With the host's file at the place of `acme.json`, as a container has it.
fn mounted(alone: &Alone, host: &Path, number: usize) -> Process {
    mounted_by("mount --bind \"$0\" \"$1\"", alone, host, number)
}

/// Only root may.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "true"]).status();
    tried.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_file_that_is_mounted_by_itself_survives_kills_in_the_middle_of_writes() {
    if !may_mount() {
        return;
    }
    let alone = alone("alone-mounted");
    let host = alone.folder.join("host.json");
    // large, so that a write takes its time
    let text = format!("{{\"pad\": {{\"Account\": null, \"pad\": \"{}\"}}}}", "x".repeat(8 << 20));
    alone.store(&text, 0o600);
    fs::rename(&alone.storage, &host).unwrap();
    alone.store("", 0o600);
    let length = || fs::metadata(&host).unwrap().len();
    let mut hosts: Vec<String> = Vec::new();
    let mut recovered = 0;
    for round in 0..4 {
        hosts.push(format!("h{round}.example.com"));
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        alone.route(&names);
        let run = mounted(&alone, &host, round);
        let before = length();
        // twice as long, while both the old and the new content are in it
        let begun = || length() > before + (1 << 20) || run.log().contains("certificate stored");
        alone
            .eventually("a write to begin", async || {
                while run.exited().is_none() && !begun() {}
                if begun() { Ok(()) } else { Err(run.log()) }
            })
            .await;
        run.kill();
        recovered += usize::from(run.log().contains("recovered"));
        if round == 0 {
            assert!(run.log().contains("is mounted by itself"), "{}", run.log());
        }
    }
    let last = mounted(&alone, &host, 4);
    alone
        .eventually("all certificates", async || {
            let text = fs::read_to_string(&host).map_err(|error| error.to_string())?;
            let json: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let held = json["le"]["Certificates"].as_array().map_or(0, Vec::len);
            let pad = json["pad"]["pad"].as_str().map_or(0, str::len);
            if (held, pad) == (4, 8 << 20) { Ok(()) } else { Err(format!("{held}, {pad}")) }
        })
        .await;
    recovered += usize::from(last.log().contains("recovered"));
    assert!(recovered > 0, "no kill was in the middle of a write");
    assert_eq!((alone.ca.orders(), alone.ca.accounts()), (4, 1));
}

#[tokio::test]
async fn a_new_store_that_goes_with_the_container_is_told_of() {
    if !may_mount() {
        return;
    }
    let alone = alone("alone-passing");
    alone.route(&[]);
    let script = "mount -t tmpfs none \"${1%/*}\"";
    let run = mounted_by(script, &alone, &alone.storage, 0);
    alone
        .eventually("the warning", async || {
            let log = run.log();
            if log.contains("is on a file system in memory") { Ok(()) } else { Err(log) }
        })
        .await;
}
