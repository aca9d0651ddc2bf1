//! `routecert check`: what is wrong with a configuration, and what it comes to.

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::{Configuration, Failure, say};
use crate::config;
use crate::config::{Problem, Reading};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    configuration: Configuration,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// Print the JSON schema of the configuration, for editors, and stop
    #[arg(long, conflicts_with = "configfile")]
    schema: bool,
    /// Print the reference of all keys in Markdown, and stop
    #[arg(long, conflicts_with_all = ["schema", "configfile"])]
    reference: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Text,
}

impl Check {
    pub(super) fn run(&self, environment: &BTreeMap<String, String>) -> Result<(), Failure> {
        if self.schema {
            return print(&format!("{:#}\n", config::json_schema()));
        }
        if self.reference {
            return print(&config::markdown());
        }
        let reading = self.configuration.read(environment);
        let errors = errors(&reading);
        match self.output {
            Form::Json => print(&format!("{:#}\n", json(&reading)))?,
            Form::Text => {
                for problem in &errors {
                    say(&format!("error: {problem}"));
                }
                for problem in &reading.warnings {
                    say(&format!("warning: {problem}"));
                }
                if let Some(effective) = &reading.effective {
                    advise(&effective.part("certificatesResolvers"));
                    print(&effective.text())?;
                }
            }
        }
        match errors.len() {
            0 => Ok(()),
            1 => Err(Failure::Configuration("there is an error in the configuration".to_owned())),
            n => Err(Failure::Configuration(format!("there are {n} errors in the configuration"))),
        }
    }
}

/// Words on what is right and could be better.
fn advise(resolvers: &Value) {
    for (name, resolver) in resolvers.as_object().into_iter().flatten() {
        if resolver.pointer("/acme/keyType").and_then(Value::as_str) == Some("RSA4096") {
            let better = "keyType: EC256 is as strong, and its handshakes cost far less";
            say(&format!("advice: certificatesResolvers.{name}.acme: {better}"));
        }
    }
}

fn errors(reading: &Reading) -> Vec<Problem> {
    let structure = reading.config.as_ref().err();
    structure.into_iter().flatten().chain(&reading.faults).cloned().collect()
}

fn json(reading: &Reading) -> Value {
    let errors = errors(reading);
    let mut answer = json!({
        "ok": errors.is_empty(),
        "errors": list(&errors),
        "warnings": list(&reading.warnings),
    });
    if let (Some(effective), Some(answer)) = (&reading.effective, answer.as_object_mut()) {
        for part in ["entryPoints", "certificatesResolvers"] {
            answer.insert(part.to_owned(), effective.part(part));
        }
    }
    answer
}

fn list(problems: &[Problem]) -> Value {
    let shown = |problem: &Problem| json!({"place": problem.place, "key": problem.key, "message": problem.message});
    problems.iter().map(shown).collect()
}

fn print(text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::Failed(format!("cannot print: {error}"));
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(failed)
}
