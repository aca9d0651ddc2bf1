//! Questions about rules, one JSON object a line, each printed again with its answer as `got`.

use std::collections::BTreeMap;
use std::io;
use std::io::{BufRead, Write};
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cli::rule::split_url;
use crate::rule;
use crate::rule::{Connection, HttpRequest, Protocol, Request, Rule, Syntax};

/// A question. Which fields count depends on `op`.
#[derive(Debug, Deserialize)]
struct Question {
    op: Op,
    rule: String,
    syntax: Option<String>,
    /// The address that the request comes from, with its port.
    remote: Option<SocketAddr>,
    #[serde(default)]
    url: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    method: String,
    headers: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    sni: String,
    alpn: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    /// The names of an HTTP rule.
    Domains,
    /// The names of a TCP rule.
    HostSni,
    Http,
    Tcp,
    /// Its default priorities.
    Prio,
}

pub(super) fn run(mut input: impl BufRead, output: impl Write) -> io::Result<()> {
    let mut output = io::BufWriter::new(output);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        writeln!(output, "{}", answered(&line))?;
        line.clear();
    }
    output.flush()
}

/// The line with its answer. What is no JSON object is not repeated.
fn answered(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line.trim_ascii());
    let object: Map<String, Value> = match serde_json::from_slice(line) {
        Ok(object) => object,
        Err(error) => return json!({"got": unreadable(&error)}).to_string(),
    };
    let got = match Question::deserialize(Value::Object(object.clone())) {
        Ok(question) => answer(&question),
        Err(error) => unreadable(&error),
    };
    match text.strip_suffix('}') {
        // As it was written, but for what it lacks.
        Some(open) if !object.is_empty() && !object.contains_key("got") => {
            format!("{}, \"got\": {got}}}", open.trim_end())
        }
        _ => {
            let mut object = object;
            object.insert("got".to_owned(), got);
            Value::Object(object).to_string()
        }
    }
}

fn unreadable(error: &serde_json::Error) -> Value {
    json!({"error": error.to_string()})
}

fn answer(question: &Question) -> Value {
    let protocol = match question.op {
        Op::Domains | Op::Http => Protocol::Http,
        Op::HostSni | Op::Tcp => Protocol::Tcp,
        Op::Prio => {
            let priority = |protocol| rule::default_priority(&question.rule, protocol);
            return json!({"http": priority(Protocol::Http), "tcp": priority(Protocol::Tcp)});
        }
    };
    let syntax = Syntax::of(question.syntax.as_deref());
    let Ok(rule) = Rule::parse(&question.rule, protocol, syntax) else {
        return json!({"invalid": true});
    };
    match question.op {
        Op::Http => match question.http_request() {
            Some(request) => json!({"match": rule.matches(&request)}),
            None => json!({"error": "the URL has a `%` without two hexadecimal digits"}),
        },
        Op::Tcp => {
            let matches = rule.matches(&question.connection());
            json!({"match": matches, "catch_all": matches && rule.is_catch_all()})
        }
        Op::Domains | Op::HostSni | Op::Prio => json!({"names": rule.names()}),
    }
}

impl Question {
    fn http_request(&self) -> Option<Request> {
        let (_, target) = split_url(&self.url);
        let mut request = HttpRequest::new(&self.method, &self.host, target)?
            .with_client(self.remote.map(|address| address.ip()));
        for (name, values) in self.headers.iter().flatten() {
            for value in values {
                request = request.with_header(name, value.as_str());
            }
        }
        Some(Request::Http(request))
    }

    fn connection(&self) -> Request {
        let alpn = self.alpn.clone().unwrap_or_default();
        let client = self.remote.map(|address| address.ip());
        Request::Tcp(Connection::new(&self.sni, alpn, client))
    }
}
