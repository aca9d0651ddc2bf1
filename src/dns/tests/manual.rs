//! `manual` with a terminal and without. A test may itself run in a terminal or not, so each runs
//! once more as a child that has what it is about.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::dns::Task;
use crate::dns::tests::{built, pairs, task};

const CHILD: &str = "ROUTECERT_TEST_CHILD";
const NAME: &str = "dns::tests::manual::a_person_is_asked_where_he_is";

fn wanted() -> Task {
    task("example.com", "_acme-challenge.example.com", "a")
}

#[tokio::test]
async fn a_person_is_asked_where_he_is() {
    if std::env::var_os(CHILD).is_some() {
        return child().await;
    }
    let record = format!("_acme-challenge.example.com. 120 IN TXT \"{}\"", wanted().value);
    let enter = at_a_terminal("\n");
    let said = String::from_utf8_lossy(&enter.stdout).into_owned();
    for part in [&record, "press Enter", "set: Ok(Handle(Null))", "visibility: Engine"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let closed = at_a_terminal("");
    let said = String::from_utf8_lossy(&closed.stdout).into_owned();
    assert!(said.contains("the terminal was closed before Enter"), "{said}");

    let alone = program().stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&alone.stdout).into_owned();
    for part in ["set: Ok(Handle(Null))", "visibility: Awaited", &record.replace('"', "\\\"")] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

async fn child() {
    let made = built("manual", &pairs([])).unwrap();
    let set = made.set(&wanted()).await;
    made.unset(&wanted(), None).await.unwrap();
    let (visibility, asks) = (made.visibility(), made.asks(&wanted()));
    let said = format!("set: {set:?}\nvisibility: {visibility:?}\nasks: {asks:?}\n");
    std::io::stdout().write_all(said.as_bytes()).unwrap();
}

fn program() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1");
    command
}

/// Runs as somebody types `typed` and then closes the terminal.
fn at_a_terminal(typed: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let command = format!("{} --exact {NAME} --nocapture", program.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).env(CHILD, "1");
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = script.spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
