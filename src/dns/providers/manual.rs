//! `manual`: a person sets the record.

use std::io::{IsTerminal, Write};

use tokio::sync::Mutex;

use crate::dns::{Context, Done, Entry, Error, Handle, Provider, Task, Timing, Visibility};

pub(super) const ENTRY: Entry = Entry { codes: &["manual"], build };

/// One question at a time.
static TERMINAL: Mutex<()> = Mutex::const_new(());

struct Manual {
    person: Person,
    timing: Timing,
}

/// How the person is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Person {
    AtTheTerminal,
    /// Reads the log or a status some time; that the record is there says the DNS.
    Elsewhere,
}

fn build(context: &Context) -> Result<Box<dyn Provider>, Error> {
    let variables = &context.variables;
    if !variables.are_of_process() {
        let message = "asks whoever started this program, so it is for resolvers of the static \
                       configuration only; use another provider in a CertificateResolver";
        return Err(variables.fault(message.to_owned()));
    }
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let patience = Timing { propagation_timeout: PATIENCE, ..Timing::default() };
    Ok(Box::new(Manual {
        person: if is_terminal { Person::AtTheTerminal } else { Person::Elsewhere },
        timing: variables.timing("MANUAL", patience)?,
    }))
}

/// A person has to be found first.
const PATIENCE: std::time::Duration = std::time::Duration::from_hours(1);

impl Provider for Manual {
    fn set<'a>(&'a self, task: &'a Task) -> Done<'a, Handle> {
        Box::pin(async {
            let wish = wish(task);
            match self.person {
                Person::AtTheTerminal => {
                    let _turn = TERMINAL.lock().await;
                    ask(format!("\n{wish}\nThen press Enter. ")).await?;
                }
                Person::Elsewhere => tracing::warn!("manual: {wish}; it is waited for"),
            }
            Ok(Handle::default())
        })
    }

    fn unset<'a>(&'a self, task: &'a Task, _handle: Option<&'a Handle>) -> Done<'a, ()> {
        Box::pin(async {
            tracing::info!("manual: {}", thanks(task));
            Ok(())
        })
    }

    fn timing(&self) -> Timing {
        self.timing
    }

    fn visibility(&self) -> Visibility {
        match self.person {
            Person::AtTheTerminal => Visibility::Engine,
            Person::Elsewhere => Visibility::Awaited,
        }
    }

    fn asks(&self, task: &Task) -> Option<String> {
        Some(wish(task))
    }
}

fn wish(task: &Task) -> String {
    format!(
        "make the record `{}. 120 IN TXT \"{}\"`; others at this name stay",
        task.fqdn, task.value
    )
}

fn thanks(task: &Task) -> String {
    format!("the record `{}. IN TXT \"{}\"` can be taken away", task.fqdn, task.value)
}

async fn ask(question: String) -> Result<(), Error> {
    let answered = tokio::task::spawn_blocking(move || {
        let mut terminal = std::io::stderr().lock();
        write!(terminal, "{question}").and_then(|()| terminal.flush())?;
        drop(terminal);
        std::io::stdin().read_line(&mut String::new())
    });
    let cause = match answered.await {
        Ok(Ok(1..)) => return Ok(()),
        Ok(Ok(_)) => "the terminal was closed before Enter was pressed".to_owned(),
        Ok(Err(error)) => format!("the terminal cannot be read: {error}"),
        Err(error) => error.to_string(),
    };
    Err(Error::Refused { provider: "manual", step: "ask for the record", cause })
}
