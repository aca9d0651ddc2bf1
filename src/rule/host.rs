//! Host names as rules give them, and which names of requests and connections they stand for.

use crate::rule::Syntax;
use crate::rule::scan::shorten;

/// In lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// Everything, even no name.
    Any,
    /// Every name.
    Named,
    Exact(String),
    /// One label, then this, which begins with a dot.
    Below(String),
    /// A text that no name is equal to.
    Never,
}

impl Host {
    /// The value of a `Host`; only v3 knows wildcards.
    pub(super) fn of_request(value: &str, syntax: Syntax) -> Result<Self, String> {
        if !value.is_ascii() {
            let shown = shorten(value);
            let advice = "has non-ASCII letters; write the name as punycode (xn--…)";
            return Err(format!("`{shown}` {advice}"));
        }
        Ok(match syntax {
            Syntax::V3 => Self::new(value),
            Syntax::V2 => Self::Exact(value.to_ascii_lowercase()),
        })
    }

    /// The values of a `HostSNI`.
    pub(super) fn of_connection(values: &[String], syntax: Syntax) -> Result<Vec<Self>, String> {
        let mut hosts = Vec::with_capacity(values.len());
        for value in values {
            check_server_name(value, syntax)?;
            let without_dot = value.strip_suffix('.').unwrap_or(value);
            match (syntax, value.as_str()) {
                // Behind others it does not stand for a missing name.
                (_, "*") => hosts.push(if hosts.is_empty() { Self::Any } else { Self::Named }),
                (Syntax::V3, _) => hosts.push(Self::new(without_dot)),
                (Syntax::V2, _) => hosts.extend(
                    [value, without_dot].map(|name| Self::Exact(name.to_ascii_lowercase())),
                ),
            }
        }
        Ok(hosts)
    }

    fn new(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix('*') {
            None => Self::Exact(lower),
            Some("") => Self::Any,
            Some(below) if below.starts_with('.') => Self::Below(below.to_owned()),
            Some(_) => Self::Never,
        }
    }

    /// Whether this stands for the host of a request; a trailing dot on either side is no
    /// difference.
    pub(super) fn is_request(&self, host: &str) -> bool {
        self.is(host, |wanted, given| {
            wanted == given
                || wanted.strip_suffix('.') == Some(given)
                || given.strip_suffix('.') == Some(wanted)
        })
    }

    pub(super) fn is_connection(&self, sni: &str) -> bool {
        self.is(sni, |wanted, given| wanted == given)
    }

    fn is(&self, host: &str, same: fn(&str, &str) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Never => false,
            _ if host.is_empty() => false,
            Self::Named => true,
            Self::Exact(wanted) => same(wanted, host),
            Self::Below(wanted) => {
                let below = host.find('.').and_then(|at| host.get(at..));
                same(wanted, below.unwrap_or_default())
            }
        }
    }
}

fn check_server_name(value: &str, syntax: Syntax) -> Result<(), String> {
    let (wildcards, known) = match syntax {
        Syntax::V3 => (true, "a host name, `*.` and a name, or `*`"),
        Syntax::V2 => (false, "a host name or `*`"),
    };
    let host = value.strip_prefix("*.").filter(|_| wildcards).unwrap_or(value);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':');
    if value == "*" || (!host.is_empty() && host.chars().all(good)) {
        return Ok(());
    }
    Err(format!("`{}` is no server name; expected {known}", shorten(value)))
}
