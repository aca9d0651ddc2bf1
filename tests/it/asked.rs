//! `routecert renew`, `revoke` and `gc`, as a person calls them, and what the controller does then.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::look::{self, LE};
use crate::parts::alone::Alone;
use crate::parts::client::Chain;
use crate::parts::process;
use crate::parts::stand::{Issued, Stand};
use crate::{binary, stand};

/// Exit code, standard output, standard error.
type Told = (Option<i32>, String, String);

fn run(args: &[&str]) -> Told {
    let mut command = Command::new(binary());
    process::clean_environment(&mut command, &std::env::temp_dir());
    command.args(args);
    let output = process::run(command, "");
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), out, err)
}

/// As somebody who may do everything.
fn ask(stand: &Stand<'_>, args: &[&str]) -> Told {
    let kubeconfig = stand.cluster.admin.display().to_string();
    let namespace = stand.settings.controller_namespace.as_str();
    let (command, args) = args.split_first().unwrap();
    let place = [command, "--kubeconfig", &kubeconfig, "--controller-namespace", namespace];
    run(&[&place[..], args].concat())
}

#[track_caller]
fn done(told: &Told, parts: &[&str]) {
    assert_eq!(told.0, Some(0), "{told:?}");
    for part in parts {
        assert!(told.1.contains(part), "`{part}` is not in {told:?}");
    }
}

#[track_caller]
fn refused(told: &Told, parts: &[&str]) {
    assert_eq!(told.0, Some(1), "{told:?}");
    for part in parts {
        assert!(told.2.contains(part), "`{part}` is not in {told:?}");
    }
}

async fn ready(stand: &Stand<'_>, names: &str) -> Issued {
    let issued = stand.certificate(names).await;
    let condition = async || {
        let object = stand.object("AcmeCertificate", &issued.secret).await?;
        if object["status"]["reason"] == "Issued" { Ok(()) } else { Err(object.to_string()) }
    };
    stand.eventually("the AcmeCertificate", condition).await;
    issued
}

/// What the CA says of a certificate.
fn status_at_ca(stand: &Stand<'_>, issued: &Issued) -> Value {
    let path = format!("/cert-status-by-serial/{}", issued.chain.serial().replace(':', ""));
    serde_json::from_str(&stand.ca.manage(&path).unwrap()).unwrap()
}

#[tokio::test]
async fn a_renewal_is_asked_for_by_name_by_domain_or_by_route_and_each_asks_once() {
    let stand = stand("renew").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let mut before = ready(&stand, "a.example.com").await;
    let place = format!("{}/{}", stand.routes, before.secret);
    let route = format!("IngressRoute/{}/blog", stand.routes);
    for (orders, name) in (2..).zip([place.as_str(), "a.example.com", &route]) {
        let told = ask(&stand, &["renew", name, "--force", "--wait"]);
        done(&told, &[&place, "renewal asked for", "renewed; valid until"]);
        let after = stand.certificate("a.example.com").await;
        assert_ne!(after.chain.serial(), before.chain.serial());
        assert_eq!(status_at_ca(&stand, &before)["Status"], "Valid");
        assert_eq!(stand.ca.orders(), orders);
        before = after;
    }
    controller.process.terminate(Duration::from_secs(10));
    let told = ask(&stand, &["renew", &place, "--force"]);
    done(&told, &["renewal asked for"]);
    assert!(told.2.contains("no controller leads"), "{told:?}");
    done(&ask(&stand, &["renew", &place]), &["asked for at", "nothing was written"]);
    let _controller = stand.start_controller();
    let renewed = async || {
        let now = stand.certificate("a.example.com").await;
        if now.chain == before.chain { Err("the old one".to_owned()) } else { Ok(()) }
    };
    stand.eventually("another certificate", renewed).await;
    assert_eq!(stand.ca.orders(), 5, "asked twice, done once");
}

#[tokio::test]
async fn a_revoked_certificate_is_replaced_by_one_with_another_key() {
    let stand = stand("revoke").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let before = ready(&stand, "a.example.com").await;
    let args = ["revoke", "a.example.com", "--reason", "keycompromise", "--wait"];
    done(&ask(&stand, &args), &["with reason keyCompromise", "a new key", ": revoked"]);
    let at_ca = status_at_ca(&stand, &before);
    assert_eq!((&at_ca["Status"], &at_ca["Reason"]), (&"Revoked".into(), &1.into()), "{at_ca}");
    let replaced = async || {
        let now = stand.certificate("a.example.com").await;
        if now.chain == before.chain { Err("the old one".to_owned()) } else { Ok(now) }
    };
    let after = stand.eventually("another certificate", replaced).await;
    assert_eq!(status_at_ca(&stand, &after)["Status"], "Valid");
    assert_eq!(stand.ca.orders(), 2);

    // what no route wants is revoked, and gone at once: removeAfter is a day
    stand.delete_route("blog");
    let unused = async || {
        let told = ask(&stand, &["gc"]);
        if told.1.contains("no route wants it since") { Ok(()) } else { Err(format!("{told:?}")) }
    };
    stand.eventually("the certificate to be unused", unused).await;
    refused(&ask(&stand, &["renew", &after.secret]), &["no route wants it", "nothing was written"]);
    let told = ask(&stand, &["revoke", &after.secret, "--wait"]);
    done(&told, &["deleted, since no route wants it", ": revoked"]);
    assert_eq!(status_at_ca(&stand, &after)["Status"], "Revoked");
    gone(&stand).await;
    refused(&ask(&stand, &["revoke", &after.secret]), &["it was deleted at"]);
    assert_eq!(stand.ca.orders(), 2);
}

async fn gone(stand: &Stand<'_>) {
    let gone = async || {
        let left = stand.certificates().await?;
        if left.is_empty() { Ok(()) } else { Err(format!("{:?}", left.keys())) }
    };
    stand.eventually("every certificate to be gone", gone).await;
}

#[tokio::test]
async fn a_mistake_is_named_and_nothing_is_written() {
    let stand = stand("mistakes").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let issued = ready(&stand, "a.example.com").await;
    let end = if issued.secret.ends_with('a') { "b" } else { "a" };
    let near = issued.secret.get(..issued.secret.len() - 1).unwrap().to_owned() + end;
    refused(
        &ask(&stand, &["renew", &near]),
        &["there is no certificate", "Nearest", &issued.secret],
    );
    let elsewhere = format!("elsewhere/{}", issued.secret);
    refused(&ask(&stand, &["renew", &elsewhere]), &[&elsewhere, &stand.routes]);
    refused(&ask(&stand, &["revoke", "b.example.com"]), &["did you mean a.example.com?"]);
    refused(&ask(&stand, &["renew", "nowhere/blog"]), &["there is no route nowhere/blog"]);
    assert_eq!(ask(&stand, &["renew", "rc-short"]).0, Some(2));
    assert_eq!(ask(&stand, &["revoke", &near, "--reason", "boredom"]).0, Some(2));

    let kubeconfig = stand.cluster.admin.display().to_string();
    let args = ["--kubeconfig", &kubeconfig, "--controller-namespace", &stand.routes];
    let told = run(&[&["renew", &issued.secret], &args[..]].concat());
    refused(&told, &["no record at all", "--controller-namespace"]);

    let proxy = stand.cluster.identity(&stand.settings.controller_namespace, "routecert-proxy");
    let proxy = proxy.display().to_string();
    let told = run(&["renew", &issued.secret, "--kubeconfig", &proxy]);
    let namespace = &stand.settings.controller_namespace;
    let role = format!("kubectl create role routecert-by-hand -n {namespace}");
    refused(&told, &["not allowed", &role]);
    look::fence(&stand, "fence").await;
    assert_eq!(stand.certificate("a.example.com").await, issued);
}

#[tokio::test]
async fn so_many_that_lose_their_routes_at_once_are_kept_until_a_person_lets_them_go() {
    let mut stand = stand("mass").await;
    "1s".clone_into(&mut stand.settings.remove_after);
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let domains: Vec<String> = (0..11).map(|one| format!("{{main: a{one}.example.com}}")).collect();
    let tls = format!("{{certResolver: le, domains: [{}]}}", domains.join(", "));
    stand.route("many", "Host(`a0.example.com`)", &tls);
    stand.route("one", "Host(`b.example.com`)", LE);
    let all = async |count: usize| {
        let condition = async || {
            let there = stand.certificates().await?;
            if there.len() == count { Ok(there) } else { Err(format!("{:?}", there.keys())) }
        };
        stand.eventually("the certificates", condition).await
    };
    let before = all(12).await;
    stand.delete_route("many");
    let held = async || {
        let told = ask(&stand, &["gc"]);
        if told.1.contains("11 of 11 are held back") { Ok(()) } else { Err(format!("{told:?}")) }
    };
    stand.eventually("all to be held back", held).await;
    let name = &before["a3.example.com"].secret;
    let shown = stand.object("AcmeCertificate", name).await.unwrap();
    assert_eq!(shown["status"]["reason"], "MassRemovalHeld", "{shown}");
    // a new leader knows it from the records
    controller.process.terminate(Duration::from_secs(10));
    let _controller = stand.start_controller();
    look::fence(&stand, "fence").await;
    held().await.unwrap();
    assert!(before.keys().all(|names| all_of(&stand, names)), "all are there");
    done(&ask(&stand, &["gc", "--confirm"]), &["11 may go", "a3.example.com"]);
    let left = async || {
        let there = stand.certificates().await?;
        let names: Vec<&String> = there.keys().filter(|name| name.starts_with('a')).collect();
        if names.is_empty() { Ok(there) } else { Err(format!("{names:?}")) }
    };
    let left = stand.eventually("those that nobody wants to be gone", left).await;
    assert_eq!(left["b.example.com"], before["b.example.com"]);
    done(&ask(&stand, &["gc", "--confirm"]), &["nothing to confirm"]);
}

fn all_of(stand: &Stand<'_>, names: &str) -> bool {
    stand.served(names).is_ok()
}

/// Of a `run` without a cluster.
fn ask_alone(alone: &Alone, args: &[&str]) -> Told {
    let configuration = alone.configuration().display().to_string();
    let (command, args) = args.split_first().unwrap();
    run(&[&[command, "--configfile", &configuration], args].concat())
}

async fn another(alone: &Alone, names: &str, before: &Chain) -> Chain {
    alone
        .eventually("another certificate", async || {
            let mut all = alone.certificates()?;
            all.remove(names).filter(|now| now != before).ok_or_else(|| "the old one".to_owned())
        })
        .await
}

#[tokio::test]
async fn a_process_with_its_files_takes_what_is_asked_for_running_or_at_its_next_start() {
    let alone = Alone::new(binary(), "asked");
    alone.route(&["a.example.com"]);
    let mut run = alone.start();
    let first = alone.certificate("a.example.com").await;
    let told = ask_alone(&alone, &["renew", "a.example.com", "--force", "--wait"]);
    done(&told, &["renewal asked for", "renewed; valid until"]);
    let second = another(&alone, "a.example.com", &first).await;

    let args = ["revoke", "a.example.com", "--reason", "superseded", "--wait"];
    done(&ask_alone(&alone, &args), &["with reason superseded", ": revoked"]);
    let path = format!("/cert-status-by-serial/{}", second.serial().replace(':', ""));
    let at_ca: Value = serde_json::from_str(&alone.ca.manage(&path).unwrap()).unwrap();
    assert_eq!((&at_ca["Status"], &at_ca["Reason"]), (&"Revoked".into(), &4.into()), "{at_ca}");
    let third = another(&alone, "a.example.com", &second).await;
    alone.serves("a.example.com", &third).await;
    let ask = alone.folder.join("store/acme.json.ask");
    assert_eq!(ask.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let empty = async || match std::fs::read_to_string(&ask).unwrap().as_str() {
        "" => Ok(()),
        text => Err(text.to_owned()),
    };
    alone.eventually("the file to be emptied", empty).await;

    run.process.kill();
    done(&ask_alone(&alone, &["renew", "a.example.com", "--force"]), &["renewal asked for"]);
    done(&ask_alone(&alone, &["renew", "a.example.com"]), &["nothing was written"]);
    refused(&ask_alone(&alone, &["renew", "b.example.com"]), &["did you mean a.example.com?"]);
    run = alone.start();
    another(&alone, "a.example.com", &third).await;
    alone.eventually("the file to be emptied", empty).await;
    assert_eq!(alone.ca.orders(), 4, "each wish is done once: {}", run.process.log());
}

#[tokio::test]
async fn a_file_of_routers_that_is_suddenly_empty_costs_no_certificate_until_a_person_says_so() {
    let mut alone = Alone::new(binary(), "asked-mass");
    alone.own.push("removeAfter: 1s".to_owned());
    let names: Vec<String> = (0..11).map(|one| format!("a{one}.example.com")).collect();
    let mut hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    hosts.push("b.example.com");
    alone.route(&hosts);
    let run = alone.start();
    for host in &hosts {
        alone.certificate(host).await;
    }
    alone.route(&["b.example.com"]);
    let held = async || {
        let told = ask_alone(&alone, &["gc"]);
        if told.1.contains("11 of 11 are held back") { Ok(()) } else { Err(format!("{told:?}")) }
    };
    alone.eventually("all to be held back", held).await;
    run.process.kill();
    done(&ask_alone(&alone, &["gc", "--confirm"]), &["11 may go", "a3.example.com"]);
    assert_eq!(alone.certificates().unwrap().len(), 12, "nothing is gone yet");
    let _run = alone.start();
    let left = async || {
        let left = alone.certificates()?;
        if left.len() == 1 { Ok(left) } else { Err(format!("{:?}", left.keys())) }
    };
    let left = alone.eventually("those that nobody wants to be gone", left).await;
    assert!(left.contains_key("b.example.com"));
    done(&ask_alone(&alone, &["gc"]), &["nothing is to be deleted"]);
}
