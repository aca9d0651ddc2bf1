//! The matchers of both protocols: their names, how many values they take, which values are right.

use std::net::IpAddr;

use crate::rule::Protocol;
use crate::rule::scan::shorten;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Alpn,
    ClientIp,
    Header,
    HeaderRegexp,
    Host,
    HostRegexp,
    HostSni,
    HostSniRegexp,
    Method,
    Path,
    PathPrefix,
    PathRegexp,
    Query,
    QueryRegexp,
}

/// One call of a rule, with values that are right for its kind. Regular expressions are kept as
/// written, not yet compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    kind: Kind,
    values: Vec<String>,
}

struct Spec {
    name: &'static str,
    kind: Kind,
    protocols: &'static [Protocol],
    /// Least and most values.
    values: (usize, usize),
}

const HTTP: &[Protocol] = &[Protocol::Http];
const TCP: &[Protocol] = &[Protocol::Tcp];
const BOTH: &[Protocol] = &[Protocol::Http, Protocol::Tcp];

const fn spec(
    name: &'static str,
    kind: Kind,
    protocols: &'static [Protocol],
    values: (usize, usize),
) -> Spec {
    Spec { name, kind, protocols, values }
}

const MATCHERS: &[Spec] = &[
    spec("ALPN", Kind::Alpn, TCP, (1, 1)),
    spec("ClientIP", Kind::ClientIp, BOTH, (1, 1)),
    spec("Header", Kind::Header, HTTP, (2, 2)),
    spec("HeaderRegexp", Kind::HeaderRegexp, HTTP, (2, 2)),
    spec("Host", Kind::Host, HTTP, (1, 1)),
    spec("HostRegexp", Kind::HostRegexp, HTTP, (1, 1)),
    spec("HostSNI", Kind::HostSni, TCP, (1, 1)),
    spec("HostSNIRegexp", Kind::HostSniRegexp, TCP, (1, 1)),
    spec("Method", Kind::Method, HTTP, (1, 1)),
    spec("Path", Kind::Path, HTTP, (1, 1)),
    spec("PathPrefix", Kind::PathPrefix, HTTP, (1, 1)),
    spec("PathRegexp", Kind::PathRegexp, HTTP, (1, 1)),
    spec("Query", Kind::Query, HTTP, (1, 2)),
    spec("QueryRegexp", Kind::QueryRegexp, HTTP, (1, 2)),
];

/// Matchers of the v2 syntax that v3 no longer has.
const OLD: &[&str] = &["HostHeader", "Headers", "HeadersRegexp"];

impl Matcher {
    /// `Err` is a message that begins with the matcher as written.
    pub(super) fn new(protocol: Protocol, name: &str, values: Vec<String>) -> Result<Self, String> {
        let spec = find(protocol, name)?;
        check_count(spec, values.len())?;
        if values.iter().any(String::is_empty) {
            return Err(format!("{} has an empty value", spec.name));
        }
        check_values(spec.kind, &values).map_err(|wrong| format!("{} {wrong}", spec.name))?;
        Ok(Self { kind: spec.kind, values })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// As written; never empty, and no value is empty.
    pub fn values(&self) -> &[String] {
        &self.values
    }
}

fn find(protocol: Protocol, name: &str) -> Result<&'static Spec, String> {
    let shown = shorten(name);
    let names = list(protocol);
    let Some(spec) = MATCHERS.iter().find(|spec| spec.name.eq_ignore_ascii_case(name)) else {
        return Err(if OLD.iter().any(|old| old.eq_ignore_ascii_case(name)) {
            format!("`{shown}` belongs to the old rule syntax v2; expected one of {names}")
        } else {
            format!("unknown matcher `{shown}`; expected one of {names}")
        });
    };
    if !spec.protocols.contains(&protocol) {
        let other = match protocol {
            Protocol::Http => "TCP",
            Protocol::Tcp => "HTTP",
        };
        return Err(format!("`{shown}` is for {other} routes; expected one of {names}"));
    }
    if !spellings(spec.name).iter().any(|spelling| spelling == name) {
        let right = spellings(spec.name).join("`, `");
        return Err(format!("`{shown}` is not spelled right; expected one of `{right}`"));
    }
    Ok(spec)
}

/// Upper and lower case cannot be mixed freely in Traefik's own parser either.
fn spellings(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let mut title = lower.clone();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let mut all = vec![name.to_owned(), lower, name.to_ascii_uppercase(), title];
    all.dedup();
    all
}

fn list(protocol: Protocol) -> String {
    let fitting = MATCHERS.iter().filter(|spec| spec.protocols.contains(&protocol));
    fitting.map(|spec| spec.name).collect::<Vec<_>>().join(", ")
}

fn check_count(spec: &Spec, count: usize) -> Result<(), String> {
    let (least, most) = spec.values;
    if (least..=most).contains(&count) {
        return Ok(());
    }
    let expected = match (least, most) {
        (1, 1) => "exactly one value".to_owned(),
        (least, most) if least == most => format!("exactly {least} values"),
        (least, most) => format!("{least} to {most} values"),
    };
    let advice = if least == 1 && count > 1 {
        format!("; join several with `||`: {0}(`a`) || {0}(`b`)", spec.name)
    } else {
        String::new()
    };
    Err(format!("{} takes {expected}, not {count}{advice}", spec.name))
}

fn check_values(kind: Kind, values: &[String]) -> Result<(), String> {
    let Some(value) = values.first() else { return Ok(()) };
    let shown = shorten(value);
    match kind {
        Kind::Host if !value.is_ascii() => {
            Err(format!("`{shown}` has non-ASCII letters; write the name as punycode (xn--…)"))
        }
        Kind::HostRegexp | Kind::HostSniRegexp if !value.is_ascii() => {
            Err(format!("`{shown}` has non-ASCII letters, which no host name in a request has"))
        }
        Kind::HostSni if !is_sni(value) => Err(format!(
            "`{shown}` is no server name; expected a host name, `*.` and a name, or `*`"
        )),
        Kind::Path | Kind::PathPrefix if !value.starts_with('/') => {
            Err(format!("`{shown}` must begin with `/`"))
        }
        Kind::ClientIp if !is_address_or_network(value) => {
            Err(format!("`{shown}` is no IP address and no network such as 192.0.2.0/24"))
        }
        Kind::Alpn if value == "acme-tls/1" => {
            Err("`acme-tls/1` is reserved for certificate challenges".to_owned())
        }
        _ => Ok(()),
    }
}

fn is_sni(value: &str) -> bool {
    let host = value.strip_prefix("*.").unwrap_or(value);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':');
    value == "*" || (!host.is_empty() && host.chars().all(good))
}

fn is_address_or_network(value: &str) -> bool {
    let Some((address, bits)) = value.split_once('/') else {
        return value.parse::<IpAddr>().is_ok();
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    let digits = !bits.is_empty() && bits.len() <= 3 && bits.chars().all(|c| c.is_ascii_digit());
    digits && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}
