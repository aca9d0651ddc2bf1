//! `routecert providers`: which DNS providers there are, and what each is told by.

use std::io::{ErrorKind, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::Failure;
use crate::config;
use crate::provider;
use crate::provider::Provider;

/// Arguments of `providers`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A provider, to be told its variables; without one all are listed
    code: Option<String>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Text,
}

/// A line of the list, as `-o json` has it.
#[derive(Debug, Serialize)]
struct Line {
    code: &'static str,
    aliases: Vec<&'static str>,
    name: &'static str,
    built: bool,
    gone: bool,
}

/// All of one provider, as `-o json` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    #[serde(flatten)]
    line: Line,
    /// For resolvers of the static configuration, not for those that are objects.
    static_only: bool,
    /// Of these sets one is needed; each variable is a list of the names that it goes by.
    required: Vec<Vec<Vec<&'static str>>>,
    optional: Vec<Variable>,
}

#[derive(Debug, Serialize)]
struct Variable {
    name: &'static str,
    default: Option<&'static str>,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let Some(code) = &self.code else {
            let lines: Vec<Line> = provider::all().map(line).collect();
            return out(&match self.output {
                Form::Json => json(&lines)?,
                Form::Text => table(&lines),
            });
        };
        let whole = whole(provider::find(code).ok_or_else(|| unknown(code))?);
        out(&match self.output {
            Form::Json => json(&whole)?,
            Form::Text => for_people(&whole),
        })
    }
}

fn line(provider: Provider) -> Line {
    Line {
        code: provider.code,
        aliases: provider.codes().skip(1).collect(),
        name: provider.name,
        built: provider.built,
        gone: provider.gone,
    }
}

fn whole(provider: Provider) -> Whole {
    let optional = provider.optional().map(|(name, default)| Variable { name, default });
    Whole {
        line: line(provider),
        static_only: provider.is_of_the_machine(),
        required: provider.needed(),
        optional: optional.collect(),
    }
}

fn unknown(code: &str) -> Failure {
    let near = config::nearest(code, provider::all().flat_map(Provider::codes));
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let code: String = code.chars().take(64).collect();
    Failure::Configuration(format!(
        "no DNS provider has the code `{code}`; {near}`routecert providers` lists them all"
    ))
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))
}

fn out(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{}", text.trim_end()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::Failed(format!("cannot print: {error}"))),
    }
}

fn state(line: &Line) -> &'static str {
    match line {
        Line { gone: true, .. } => "shut down",
        Line { built: true, .. } => "yes",
        _ => "no",
    }
}

fn table(lines: &[Line]) -> String {
    let row = |code: &str, aliases: &str, built: &str, name: &str| {
        format!("{code:<18}{aliases:<16}{built:<11}{name}\n")
    };
    let mut text = row("CODE", "ALIASES", "BUILT", "NAME");
    for line in lines {
        text.push_str(&row(line.code, &line.aliases.join(","), state(line), line.name));
    }
    let count = lines.iter().filter(|line| line.built).count();
    let all = lines.len();
    format!(
        "{text}\n{count} of {all} are built. `routecert providers CODE` tells a provider's variables.\n"
    )
}

fn for_people(whole: &Whole) -> String {
    let Whole { line, static_only, required, optional } = whole;
    let mut text = format!("{}: {}\n", line.code, line.name);
    if !line.aliases.is_empty() {
        text.extend(["aliases: ", &line.aliases.join(", "), "\n"]);
    }
    text.push_str(match state(line) {
        "shut down" => "built: no, its service has shut down\n",
        "yes" => "built: yes\n",
        _ => "built: no, this version cannot use it\n",
    });
    if *static_only {
        text.push_str("for resolvers of the static configuration only\n");
    }
    let mut head = "\nrequired\n";
    for set in required {
        text.push_str(head);
        for names in set {
            text.extend(["  ", &names.join(" or "), "\n"]);
        }
        head = "\nor, in place of these\n";
    }
    if !optional.is_empty() {
        text.push_str("\noptional\n");
    }
    for Variable { name, default } in optional {
        let default = default.map(|value| format!("{value} s")).unwrap_or_default();
        text.push_str(format!("  {name:<40}{default}").trim_end());
        text.push('\n');
    }
    if !required.is_empty() || !optional.is_empty() {
        text.push_str(
            "\nIn place of each VAR, VAR_FILE can be set, the path of a file that holds the value. \
             Files\nare read at each use; a final line end is cut.\n",
        );
    }
    text
}
