//! A plan for programs (JSON) and for people (text).

use std::io::{ErrorKind, Write};

use crate::cli::Failure;
use crate::cli::plan::result::{Certificate, Plan};

pub(super) fn json(plan: &Plan) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(plan);
    out(&text.map_err(|error| Failure::Failed(format!("cannot print the plan: {error}")))?)
}

pub(super) fn text(plan: &Plan) -> Result<(), Failure> {
    out(&for_people(plan))
}

fn out(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{}", text.trim_end()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => {
            written.map_err(|error| Failure::Failed(format!("cannot print the plan: {error}")))
        }
    }
}

fn for_people(plan: &Plan) -> String {
    let mut text = match plan.certificates.len() {
        0 => "no certificate would be got\n".to_owned(),
        1 => "1 certificate would be got:\n".to_owned(),
        count => format!("{count} certificates would be got:\n"),
    };
    for certificate in &plan.certificates {
        one(&mut text, certificate);
    }
    if !plan.refusals.is_empty() {
        text.push_str("\nrefused:\n");
    }
    for refusal in &plan.refusals {
        line(
            &mut text,
            format_args!("  {}: {}: {}", refusal.route, refusal.reason, refusal.message),
        );
    }
    if !plan.warnings.is_empty() {
        text.push_str("\nwarnings:\n");
    }
    for warning in &plan.warnings {
        line(&mut text, format_args!("  {warning}"));
    }
    text
}

fn one(text: &mut String, certificate: &Certificate) {
    let proven = |name: &String| {
        let challenge = certificate.challenges.get(name).copied().unwrap_or("-");
        format!("{name} ({challenge})")
    };
    let names: Vec<String> = certificate.names.iter().map(proven).collect();
    line(text, format_args!("\n  {}", names.join(", ")));
    line(text, format_args!("    resolver  {}", certificate.resolver));
    let secret = &certificate.secret;
    line(text, format_args!("    Secret    {}/{}", secret.namespace, secret.name));
    for copy in &certificate.copies {
        line(text, format_args!("    copy      {}/{}", copy.namespace, copy.name));
    }
    for route in &certificate.routes {
        line(text, format_args!("    for       {route}"));
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.push_str(&arguments.to_string());
    text.push('\n');
}
