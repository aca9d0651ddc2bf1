//! Providers that leave the record to a program or a person, at a real name server.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use routecert::dns::{Account, Engine, Error, Task, Variables};
use routecert::http;
use routecert::name::Name;
use routecert::resolver::{CaTrust, DnsChallenge, Propagation};

use crate::parts::named::{self, Named, SECRET, Setup, Zone};
use crate::parts::{process, tools};

fn server() -> Named {
    let zones = vec![Zone::Primary("example.com", String::new())];
    Named::start(named::address(), &Setup { keys: vec![("key", "hmac-sha256")], zones })
}

fn engine(provider: &str, server: &Named, propagation: Propagation) -> Engine {
    let client = http::Client::for_apis(&CaTrust::default(), Duration::from_secs(10)).unwrap();
    let challenge = DnsChallenge {
        provider: provider.to_owned(),
        resolvers: vec![server.server()],
        propagation,
        ..DnsChallenge::default()
    };
    Engine::new(&challenge, Arc::new(client))
}

fn account(code: &str, variables: &[(&str, &str)]) -> Account {
    let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let variables = Variables::of_process(Arc::new(pairs.collect()));
    Account { code: code.to_owned(), variables }
}

async fn task(engine: &Engine, domain: &str, token: &str) -> Task {
    let domain = Name::parse(domain).unwrap();
    engine.task(&domain, token, &format!("{token}.thumbprint")).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test is the shell of what it calls")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// The hook that updates `server`, by a name of its own.
fn hook(server: &Named) -> PathBuf {
    let folder = process::new_folder("hook");
    process::write(&folder, "server", &server.address.to_string());
    process::write(&folder, "key", &format!("hmac-sha256:key:{SECRET}"));
    let hook = folder.join("hook.sh");
    let script = tools::clone_root().join("tests/data/dns/nsupdate.sh");
    std::os::unix::fs::symlink(script, &hook).unwrap();
    hook
}

#[tokio::test]
async fn a_program_makes_the_records_and_takes_them_away_one_after_another() {
    let server = server();
    let hook = hook(&server);
    let engine = engine("exec", &server, Propagation::default());
    let path = hook.display().to_string();
    let account = account("exec", &[("EXEC_PATH", &path), ("EXEC_SEQUENCE_INTERVAL", "0")]);
    for domain in ["example.com", "*.example.com"] {
        let task = task(&engine, domain, domain.trim_start_matches("*.")).await;
        let turn = engine.turn(&account, now()).await.unwrap();
        assert!(turn.is_some());
        let handle = engine.set(&account, &task, now()).await.unwrap();
        engine.wait_visible(&account, std::slice::from_ref(&task), now()).await.unwrap();
        assert_eq!(server.txt("_acme-challenge.example.com"), [task.value.as_str()]);
        engine.unset(&account, &task, Some(&handle), now()).await.unwrap();
        assert!(server.txt("_acme-challenge.example.com").is_empty());
    }
    process::write(hook.parent().unwrap(), "key", "hmac-sha256:key:d3Jvbmc=");
    let wrong = task(&engine, "example.com", "a").await;
    let error = engine.set(&account, &wrong, now()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Refused { .. }), "{text}");
    assert!(text.contains("exit code 2") && text.contains("BADSIG"), "{text}");
}

#[tokio::test]
async fn a_record_that_a_person_makes_is_waited_for_even_if_checks_are_off() {
    if std::io::stdin().is_terminal() {
        return once_more_without_a_terminal();
    }
    let server = server();
    let hook = hook(&server);
    let off = Propagation { disable_checks: true, ..Propagation::default() };
    let engine = engine("manual", &server, off);
    let usual = account("manual", &[("MANUAL_POLLING_INTERVAL", "1")]);
    let task = task(&engine, "example.com", "a").await;
    engine.set(&usual, &task, now()).await.unwrap();
    let asked = engine.asks(&usual, &task, now()).unwrap().unwrap();
    assert!(asked.contains(&task.value) && asked.contains(&task.fqdn), "{asked}");

    let hasty = [("MANUAL_POLLING_INTERVAL", "1"), ("MANUAL_PROPAGATION_TIMEOUT", "1")];
    let tasks = std::slice::from_ref(&task);
    let hasty = account("manual", &hasty);
    let error = engine.wait_visible(&hasty, tasks, now()).await.unwrap_err();
    assert!(matches!(error, Error::NotVisible { .. }), "{error}");

    let waiting = engine.wait_visible(&usual, tasks, now());
    let person = async {
        // he needs some time, and the first look finds nothing
        while server.asked(&["_acme-challenge.example.com IN TXT"]) < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        run(&hook, &task);
    };
    let (seen, ()) = tokio::join!(waiting, person);
    seen.unwrap();
}

fn run(hook: &Path, task: &Task) {
    let mut command = Command::new(hook);
    command.args(["present", &format!("{}.", task.fqdn), &task.value]);
    let output = process::run(command, "");
    assert!(output.status.success(), "{output:?}");
}

fn once_more_without_a_terminal() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = "hooks::a_record_that_a_person_makes_is_waited_for_even_if_checks_are_off";
    let status = command.args(["--exact", name]).stdin(Stdio::null()).status().unwrap();
    assert!(status.success());
}
