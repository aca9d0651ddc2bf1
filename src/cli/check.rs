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
        let errors = reading.errors();
        match self.output {
            Form::Json => print(&format!("{:#}\n", json(&reading)))?,
            Form::Text => {
                for problem in &errors {
                    say(&format!("error: {problem}"));
                }
                for problem in &reading.warnings {
                    say(&format!("warning: {problem}"));
                }
                for problem in &reading.advice {
                    say(&format!("advice: {problem}"));
                }
                if let Some(effective) = &reading.effective {
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

fn json(reading: &Reading) -> Value {
    let errors = reading.errors();
    let mut warnings = [reading.warnings.as_slice(), &reading.advice].concat();
    Problem::sort(&mut warnings);
    let mut answer = json!({
        "ok": errors.is_empty(),
        "errors": list(&errors),
        "warnings": list(&warnings),
    });
    if let (Some(effective), Some(answer)) = (&reading.effective, answer.as_object_mut()) {
        for part in ["entryPoints", "certificatesResolvers"] {
            answer.insert(part.to_owned(), effective.part(part));
        }
        answer.insert("variables".to_owned(), effective.variables());
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
