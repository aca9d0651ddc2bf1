//! `run` without a cluster: everything is kept in `acme.json` and what stands beside it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use crate::binary;
use crate::parts::alone::Alone;

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
    let json: serde_json::Value = serde_json::from_str(&alone.stored()).unwrap();
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
