//! The matchers of both protocols and both syntaxes: their names, and how many values they take.

use crate::rule::condition::Condition;
use crate::rule::pattern::Budget;
use crate::rule::request::Request;
use crate::rule::scan::shorten;
use crate::rule::{Protocol, Syntax};

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Alpn,
    ClientIp,
    Header,
    HeaderRegexp,
    /// v2 only.
    Headers,
    /// v2 only.
    HeadersRegexp,
    Host,
    /// v2 only: like `Host`, but no certificate is asked for its names.
    HostHeader,
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

/// One call of a rule, with values that are right for its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    kind: Kind,
    name: &'static str,
    values: Vec<String>,
    condition: Condition,
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
const ONE: (usize, usize) = (1, 1);
const MANY: (usize, usize) = (1, usize::MAX);

const fn spec(
    name: &'static str,
    kind: Kind,
    protocols: &'static [Protocol],
    values: (usize, usize),
) -> Spec {
    Spec { name, kind, protocols, values }
}

const V3: &[Spec] = &[
    spec("ALPN", Kind::Alpn, TCP, ONE),
    spec("ClientIP", Kind::ClientIp, BOTH, ONE),
    spec("Header", Kind::Header, HTTP, (2, 2)),
    spec("HeaderRegexp", Kind::HeaderRegexp, HTTP, (2, 2)),
    spec("Host", Kind::Host, HTTP, ONE),
    spec("HostRegexp", Kind::HostRegexp, HTTP, ONE),
    spec("HostSNI", Kind::HostSni, TCP, ONE),
    spec("HostSNIRegexp", Kind::HostSniRegexp, TCP, ONE),
    spec("Method", Kind::Method, HTTP, ONE),
    spec("Path", Kind::Path, HTTP, ONE),
    spec("PathPrefix", Kind::PathPrefix, HTTP, ONE),
    spec("PathRegexp", Kind::PathRegexp, HTTP, ONE),
    spec("Query", Kind::Query, HTTP, (1, 2)),
    spec("QueryRegexp", Kind::QueryRegexp, HTTP, (1, 2)),
];

const V2: &[Spec] = &[
    spec("ALPN", Kind::Alpn, TCP, MANY),
    spec("ClientIP", Kind::ClientIp, BOTH, MANY),
    spec("Headers", Kind::Headers, HTTP, MANY),
    spec("HeadersRegexp", Kind::HeadersRegexp, HTTP, MANY),
    spec("Host", Kind::Host, HTTP, MANY),
    spec("HostHeader", Kind::HostHeader, HTTP, MANY),
    spec("HostRegexp", Kind::HostRegexp, HTTP, MANY),
    spec("HostSNI", Kind::HostSni, TCP, MANY),
    spec("HostSNIRegexp", Kind::HostSniRegexp, TCP, MANY),
    spec("Method", Kind::Method, HTTP, MANY),
    spec("Path", Kind::Path, HTTP, MANY),
    spec("PathPrefix", Kind::PathPrefix, HTTP, MANY),
    spec("Query", Kind::Query, HTTP, MANY),
];

/// The matchers of one syntax for one protocol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Language {
    pub(super) protocol: Protocol,
    pub(super) syntax: Syntax,
}

impl Matcher {
    /// `Err` is a message that begins with the matcher as written.
    pub(super) fn new(
        language: Language,
        name: &str,
        values: Vec<String>,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        let spec = language.find(name)?;
        check_count(spec, values.len())?;
        if values.iter().any(String::is_empty) {
            return Err(format!("{} has an empty value", spec.name));
        }
        let condition = Condition::new(spec.kind, language.syntax, &values, budget)
            .map_err(|wrong| format!("{} {wrong}", spec.name))?;
        Ok(Self { kind: spec.kind, name: spec.name, values, condition })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// As rules spell it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// As written; never empty, and no value is empty.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    pub(super) fn holds(&self, request: &Request) -> bool {
        self.condition.holds(request)
    }
}

impl Language {
    fn specs(self) -> &'static [Spec] {
        match self.syntax {
            Syntax::V3 => V3,
            Syntax::V2 => V2,
        }
    }

    fn find(self, name: &str) -> Result<&'static Spec, String> {
        let shown = shorten(name);
        let names = self.names();
        let Some(spec) = named(self.specs(), name) else {
            let (others, other) = match self.syntax {
                Syntax::V3 => (V2, "the old rule syntax v2 (the route's `syntax: v2`)"),
                Syntax::V2 => (V3, "the rule syntax v3, and this route has `syntax: v2`"),
            };
            return Err(if named(others, name).is_some() {
                format!("`{shown}` belongs to {other}; expected one of {names}")
            } else {
                format!("unknown matcher `{shown}`; expected one of {names}")
            });
        };
        if !spec.protocols.contains(&self.protocol) {
            let other = match self.protocol {
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

    fn names(self) -> String {
        let fitting = self.specs().iter().filter(|spec| spec.protocols.contains(&self.protocol));
        fitting.map(|spec| spec.name).collect::<Vec<_>>().join(", ")
    }
}

fn named(specs: &'static [Spec], name: &str) -> Option<&'static Spec> {
    specs.iter().find(|spec| spec.name.eq_ignore_ascii_case(name))
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
