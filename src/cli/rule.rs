//! `routecert rule`: what a rule says, and whether it is for a request.

mod batch;

use std::io::Write;
use std::net::IpAddr;

use clap::{Args, ValueEnum};

use crate::cli::Failure;
use crate::rule;
use crate::rule::{Connection, HttpRequest, Node, Protocol, Request, Rule, Syntax};

/// Characters of a rule's line that an error shows.
const SHOWN: usize = 100;

#[derive(Debug, Args)]
pub(super) struct Question {
    #[arg(
        required_unless_present = "batch",
        help = "The rule, such as 'Host(`example.com`) && PathPrefix(`/shop`)'"
    )]
    rule: Option<String>,
    /// It is one of an IngressRouteTCP
    #[arg(long)]
    tcp: bool,
    /// The language it is written in
    #[arg(long, value_enum, default_value = "v3")]
    syntax: Language,
    #[arg(
        long,
        value_name = "REQUEST",
        help = "Does it match 'GET https://example.com/shop?a=b'? With --tcp a server name, maybe ''"
    )]
    request: Option<String>,
    /// A header of that request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", requires = "request")]
    headers: Vec<String>,
    /// Where that request comes from
    #[arg(long, value_name = "IP", requires = "request")]
    client_ip: Option<IpAddr>,
    /// A protocol that the connection offers (with --tcp)
    #[arg(long, value_name = "NAME", requires_all = ["request", "tcp"])]
    alpn: Vec<String>,
    /// Read questions from standard input, a JSON object a line, and print each with its answer
    #[arg(long, conflicts_with_all = ["rule", "tcp", "syntax", "request"])]
    batch: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    V2,
    V3,
}

pub(super) fn run(question: &Question) -> Result<(), Failure> {
    if question.batch {
        let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
        return batch::run(input, output).map_err(failed);
    }
    let text = question.rule.as_deref().unwrap_or_default();
    let protocol = if question.tcp { Protocol::Tcp } else { Protocol::Http };
    let syntax = match question.syntax {
        Language::V2 => Syntax::V2,
        Language::V3 => Syntax::V3,
    };
    let request = question.request()?;
    let rule = Rule::parse(text, protocol, syntax)
        .map_err(|error| Failure::Failed(pointed(text, &error)))?;
    let explained = explain(&rule, rule::default_priority(text, protocol), request.as_ref());
    std::io::stdout().write_all(explained.as_bytes()).map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: std::io::Error) -> Failure {
    Failure::Failed(format!("cannot read the questions or print the answers: {error}"))
}

impl Question {
    fn request(&self) -> Result<Option<Request>, Failure> {
        let Some(text) = &self.request else { return Ok(None) };
        if self.tcp {
            let connection = Connection::new(text, self.alpn.clone(), self.client_ip);
            return Ok(Some(Request::Tcp(connection)));
        }
        let request = http_request(text, &self.headers).map_err(Failure::Configuration)?;
        Ok(Some(Request::Http(request.with_client(self.client_ip))))
    }
}

fn http_request(text: &str, lines: &[String]) -> Result<HttpRequest, String> {
    let (method, url) = match text.trim().split_once(char::is_whitespace) {
        Some((method, url)) => (method, url.trim()),
        None => ("GET", text.trim()),
    };
    let (mut host, target) = split_url(url);
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("the header `{line}` has no `:`; write it as 'Name: value'"))?;
        if name.eq_ignore_ascii_case("host") {
            host = value.trim();
        } else {
            headers.push((name.trim(), value.trim()));
        }
    }
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let request = HttpRequest::new(method, host, &target)
        .ok_or_else(|| format!("the URL `{url}` has a `%` without two hexadecimal digits"))?;
    Ok(headers.into_iter().fold(request, |request, (name, value)| request.with_header(name, value)))
}

/// Host (empty if there is none), then path and query.
fn split_url(url: &str) -> (&str, &str) {
    let url = url.split('#').next().unwrap_or_default();
    if url.starts_with('/') {
        return ("", url);
    }
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
}

/// The error, and the line of the rule where it is with a mark below.
fn pointed(text: &str, error: &rule::Error) -> String {
    let line = text.lines().nth(error.line - 1).unwrap_or_default();
    let before = error.column - 1;
    let skipped = before.saturating_sub(SHOWN / 2);
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = line.chars().skip(skipped).take(SHOWN).map(visible).collect();
    let place = format!("line {}, column {}", error.line, error.column);
    let mark = " ".repeat(before - skipped);
    format!("the rule is invalid at {place}: {}\n  {shown}\n  {mark}^", error.message)
}

fn explain(rule: &Rule, priority: i64, request: Option<&Request>) -> String {
    let names = match rule.names().join(", ") {
        names if names.is_empty() => "none: the rule alone asks for no certificate".to_owned(),
        names => names,
    };
    let mut text = format!("rule      {rule}\nnames     {names}\npriority  {priority}\n");
    if let Some(request) = request {
        text.push_str(if rule.matches(request) { "matches   yes\n" } else { "matches   no\n" });
    }
    text.push_str("tree\n");
    branch(rule.root(), request, 0, &mut text);
    text
}

fn branch(node: &Node, request: Option<&Request>, depth: usize, text: &mut String) {
    let answer = match request.map(|request| node.matches(request)) {
        Some(true) => "  yes",
        Some(false) => "  no ",
        None => "",
    };
    let (words, parts) = match node {
        Node::All(parts) => ("all of".to_owned(), parts.as_slice()),
        Node::Any(parts) => ("any of".to_owned(), parts.as_slice()),
        Node::Leaf { .. } => (node.to_string(), [].as_slice()),
    };
    text.extend([answer, "  ", &"  ".repeat(depth), &words, "\n"]);
    for part in parts {
        branch(part, request, depth + 1, text);
    }
}

#[cfg(test)]
mod tests;
