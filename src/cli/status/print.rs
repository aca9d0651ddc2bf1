//! A status for programs (JSON) and for people (text).

use std::io::{ErrorKind, Write};

use crate::cli::Failure;
use crate::cli::status::{Certificate, Route, Status};

pub(super) fn json(status: &Status) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(status);
    out(&text.map_err(|error| Failure::Failed(format!("cannot print the status: {error}")))?)
}

pub(super) fn text(status: &Status) -> Result<(), Failure> {
    out(&for_people(status))
}

fn out(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{}", text.trim_end()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => {
            written.map_err(|error| Failure::Failed(format!("cannot print the status: {error}")))
        }
    }
}

fn for_people(status: &Status) -> String {
    if status.routes.is_empty() && status.certificates.is_empty() {
        return "there are no certificates, and no route is refused".to_owned();
    }
    let routes = status.routes.iter().map(route);
    routes.chain(status.certificates.iter().map(certificate)).collect::<Vec<_>>().join("\n")
}

fn route(route: &Route) -> String {
    let ready = if route.ready { "ready" } else { "not ready" };
    let mut text = format!("{}: {ready}, {}\n", route.key, route.reason);
    line(&mut text, "message", &route.message);
    for certificate in &route.certificates {
        line(&mut text, "by", certificate);
    }
    text
}

fn certificate(it: &Certificate) -> String {
    let ready = if it.ready { "ready" } else { "not ready" };
    let mut text = format!("{}: {ready}, {}\n", it.place(), it.reason);
    line(&mut text, "names", &it.names.join(", "));
    line(&mut text, "resolver", &it.resolver);
    for route in &it.routes {
        line(&mut text, "for", route);
    }
    let optional = [
        ("Secret", &it.secret),
        ("valid to", &it.not_after),
        ("renewal", &it.renewal),
        ("message", &Some(it.message.clone())),
    ];
    for (what, value) in optional {
        line(&mut text, what, value.as_deref().unwrap_or_default());
    }
    if let Some(error) = &it.last_error {
        line(&mut text, "error", &format!("{} at {}: {}", error.kind, error.at, error.message));
    }
    line(&mut text, "retry", it.next_retry.as_deref().unwrap_or_default());
    text
}

/// Nothing where there is nothing to say.
fn line(text: &mut String, what: &str, value: &str) {
    if !value.is_empty() {
        text.extend(["  ", &format!("{what:<9}"), " ", value, "\n"]);
    }
}
