//! `exec`: a program of the user's sets the record.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::future;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::dns::{Context, Done, Entry, Error, Handle, Provider, Task, Timing};
use crate::http::shown;

pub(super) const ENTRY: Entry = Entry { codes: &["exec"], build };

/// A program that takes longer than this hangs; less than the engine gives a step.
const LIMIT: Duration = Duration::from_mins(4);
/// What a program leaves running may hold its output open for ever.
const AFTER_THE_END: Duration = Duration::from_secs(1);
/// Of what a program writes, the end is kept: there it says why it fails.
const MAX_OUTPUT: usize = 4096;
const MAX_SHOWN: usize = 400;

struct Exec {
    program: String,
    mode: Mode,
    timing: Timing,
    limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Record,
    /// The challenge itself; the program makes name and value of it.
    Raw,
}

fn build(context: &Context) -> Result<Box<dyn Provider>, Error> {
    let variables = &context.variables;
    if !variables.are_of_process() {
        let message = "runs programs on this machine, so it is for resolvers of the static \
                       configuration only; use another provider in a CertificateResolver";
        return Err(variables.fault(message.to_owned()));
    }
    let is_raw = variables.text("EXEC_MODE")?.is_some_and(|it| it.eq_ignore_ascii_case("raw"));
    let sequence = Some(Duration::from_mins(1));
    Ok(Box::new(Exec {
        program: variables.need("EXEC_PATH")?,
        mode: if is_raw { Mode::Raw } else { Mode::Record },
        timing: variables.timing("EXEC", Timing { sequence, ..Timing::default() })?,
        limit: LIMIT,
    }))
}

impl Provider for Exec {
    fn set<'a>(&'a self, task: &'a Task) -> Done<'a, Handle> {
        Box::pin(async {
            self.run("set the record", "present", task).await?;
            Ok(Handle::default())
        })
    }

    fn unset<'a>(&'a self, task: &'a Task, _handle: Option<&'a Handle>) -> Done<'a, ()> {
        Box::pin(self.run("take the record away", "cleanup", task))
    }

    fn timing(&self) -> Timing {
        self.timing
    }
}

impl Exec {
    async fn run(&self, step: &'static str, verb: &str, task: &Task) -> Result<(), Error> {
        let mut command = Command::new(&self.program);
        command.arg(verb).args(self.arguments(task));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        let child = command.spawn().map_err(|error| self.cannot_start(step, &error))?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
        let mut output = Output::default();
        let ended = timeout(self.limit, ends(child, &mut output)).await;
        let Ok(status) = ended else {
            drop(group);
            let seconds = self.limit.as_secs();
            let cause = format!(
                "{} has not ended within {seconds} s and is killed, with all that it started",
                self.program
            );
            return Err(Error::Unreachable { provider: "exec", step, cause });
        };
        group.0 = None;
        tracing::debug!(
            "exec: {} {verb}: {} {}",
            self.program,
            end_of(&output.out),
            end_of(&output.err)
        );
        let status = status.map_err(|error| self.refused(step, &error.to_string()))?;
        if status.success() {
            return Ok(());
        }
        let said = if output.err.is_empty() { &output.out } else { &output.err };
        Err(self.refused(step, &format!("{}{}", how(status), with_colon(&end_of(said)))))
    }

    fn arguments(&self, task: &Task) -> Vec<String> {
        match self.mode {
            Mode::Record => vec![format!("{}.", task.fqdn), task.value.clone()],
            Mode::Raw => vec![
                "--".to_owned(),
                task.domain.as_str().to_owned(),
                task.token.clone(),
                task.key_authorization.clone(),
            ],
        }
    }

    fn refused(&self, step: &'static str, cause: &str) -> Error {
        let cause = format!("{}: {cause}", self.program);
        Error::Refused { provider: "exec", step, cause }
    }

    fn cannot_start(&self, step: &'static str, error: &io::Error) -> Error {
        let is_there = Path::new(&self.program).exists();
        let why = match error.kind() {
            io::ErrorKind::NotFound if is_there => {
                "what runs it is missing: the first line of a script names its shell, and a small \
                 container image has none"
            }
            io::ErrorKind::NotFound => {
                "there is no such file; in a container it must be part of the image or mounted"
            }
            io::ErrorKind::PermissionDenied => "it may not be executed; `chmod +x` allows that",
            // Somebody is writing it just now.
            io::ErrorKind::ExecutableFileBusy => {
                let cause = format!("{}: {error}", self.program);
                return Error::Unreachable { provider: "exec", step, cause };
            }
            _ => "it is neither a program for this machine nor a script that begins with #!",
        };
        let message = format!("EXEC_PATH {}: {error}: {why}", self.program);
        Error::Settings { provider: "exec", message }
    }
}

/// The processes that one run started, until it has ended; killed when dropped before.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended by itself just now.
            kill_process_group(leader, Signal::KILL).ok();
        }
    }
}

#[derive(Debug, Default)]
struct Output {
    out: Vec<u8>,
    err: Vec<u8>,
}

async fn ends(mut child: Child, output: &mut Output) -> io::Result<ExitStatus> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let mut reading = pin!(future::join(keep(out, &mut output.out), keep(err, &mut output.err)));
    tokio::select! {
        _ = &mut reading => child.wait().await,
        status = child.wait() => {
            drop(timeout(AFTER_THE_END, reading).await);
            status
        }
    }
}

/// Reads all and keeps the end.
async fn keep(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        kept.extend(chunk.iter().take(count));
        let surplus = kept.len().saturating_sub(MAX_OUTPUT);
        kept.drain(..surplus);
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn end_of(output: &[u8]) -> String {
    let surplus = output.len().saturating_sub(MAX_SHOWN);
    let end = String::from_utf8_lossy(output.get(surplus..).unwrap_or_default());
    let before = if surplus > 0 { "…" } else { "" };
    format!("{before}{}", shown(end.trim()))
}

fn with_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn script(name: &str) -> String {
        format!("{}/tests/data/dns/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn runs(program: &str, limit: Duration) -> Exec {
        let timing = Timing::default();
        Exec { program: program.to_owned(), mode: Mode::Raw, timing, limit }
    }

    async fn fails(exec: &Exec) -> Error {
        let task = Task {
            domain: Name::parse("example.com").unwrap(),
            fqdn: "_acme-challenge.example.com".to_owned(),
            value: "v".to_owned(),
            token: "--token".to_owned(),
            key_authorization: "key".to_owned(),
        };
        exec.set(&task).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_what_it_started() {
        let marker = std::env::temp_dir().join(format!("routecert-exec-{}", std::process::id()));
        // a name of its own, by which its child is found
        let link = marker.with_extension("sh");
        std::os::unix::fs::symlink(script("hangs.sh"), &link).unwrap();
        let error = fails(&runs(&link.display().to_string(), Duration::from_millis(500))).await;
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("has not ended within"), "{error}");
        let pid = std::fs::read_to_string(link.with_extension("sh.pid")).unwrap();
        let child = format!("/proc/{}/cmdline", pid.trim());
        // killed, and gone or a zombie: then its command line is empty
        for _ in 0..200 {
            if std::fs::read(&child).unwrap_or_default().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(std::fs::read(&child).unwrap_or_default().is_empty(), "the child still runs");
        std::fs::remove_file(link.with_extension("sh.pid")).unwrap();
        std::fs::remove_file(&link).unwrap();
    }

    #[tokio::test]
    async fn of_a_failure_exit_code_and_the_end_of_what_it_said_are_shown() {
        let error = fails(&runs(&script("fails.sh"), LIMIT)).await;
        assert!(matches!(error, Error::Refused { step: "set the record", .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("ended with exit code 7") && text.contains("…"), "{text}");
        assert!(text.ends_with("the last line: present -- example.com --token key"), "{text}");
        assert!(text.len() < 700 && !text.contains(char::is_control), "{text}");
    }

    #[tokio::test]
    async fn what_cannot_be_started_says_why() {
        for (program, why) in [
            ("/nowhere/hook".to_owned(), "there is no such file"),
            (script("no-shell.sh"), "what runs it is missing"),
            (script("not-executable.sh"), "chmod +x"),
            (script("no-program"), "neither a program for this machine nor a script"),
        ] {
            let error = fails(&runs(&program, LIMIT)).await;
            assert!(matches!(error, Error::Settings { .. }), "{error}");
            let text = error.to_string();
            assert!(text.starts_with("exec: EXEC_PATH ") && text.contains(why), "{text}");
        }
    }
}
