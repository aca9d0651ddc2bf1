//! The values of one matcher, checked and made ready, and whether they hold for a request.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::rule::Syntax;
use crate::rule::address::Network;
use crate::rule::host::Host;
use crate::rule::matcher::Kind;
use crate::rule::pattern::{Budget, Pattern};
use crate::rule::request::{Connection, HttpRequest, Request};
use crate::rule::scan::shorten;
use crate::rule::template;
use crate::rule::template::Place;

/// One matcher made ready. A list means any of it, if nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    Alpn(Vec<String>),
    ClientIp(Vec<Network>),
    /// All of them.
    Headers(Vec<(String, Wanted)>),
    Host(Vec<Host>),
    HostRegexp(Vec<Pattern>),
    /// v2: compared with the host as it was sent.
    HostTemplate(Vec<Pattern>),
    HostSni(Vec<Host>),
    HostSniRegexp(Vec<Pattern>),
    Method(Vec<String>),
    Path(Vec<String>),
    PathPrefix(Vec<String>),
    PathRegexp(Vec<Pattern>),
    Query(String, Wanted),
    /// v2, all of them: a key, and what its first value fits behind that key and a `=`.
    QueryTemplates(Vec<(String, Pattern)>),
}

/// What any value of a header or of a query's key must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Equal(String),
    Fitting(Pattern),
}

impl Wanted {
    fn is(&self, value: &[u8]) -> bool {
        match self {
            Self::Equal(text) => text.as_bytes() == value,
            Self::Fitting(pattern) => pattern.fits(value),
        }
    }
}

impl Condition {
    /// `values` are as many as the kind takes, none empty. `Err` goes on behind the matcher's name.
    pub(super) fn new(
        kind: Kind,
        syntax: Syntax,
        values: &[String],
        budget: &mut Budget,
    ) -> Result<Self, String> {
        Ok(match kind {
            Kind::Alpn => Self::Alpn(each(values, alpn)?),
            Kind::ClientIp => Self::ClientIp(each(values, network)?),
            Kind::Host | Kind::HostHeader => {
                Self::Host(each(values, |value| Host::of_request(value, syntax))?)
            }
            Kind::HostSni => Self::HostSni(Host::of_connection(values, syntax)?),
            Kind::Method => Self::Method(values.iter().map(|value| value.to_uppercase()).collect()),
            Kind::Path if syntax == Syntax::V3 => Self::Path(each(values, path)?),
            Kind::PathPrefix if syntax == Syntax::V3 => Self::PathPrefix(each(values, path)?),
            Kind::Path => Self::PathRegexp(templates(values, Place::Path, budget)?),
            Kind::PathPrefix => Self::PathRegexp(templates(values, Place::PathPrefix, budget)?),
            Kind::PathRegexp => Self::PathRegexp(patterns(values, budget)?),
            Kind::HostRegexp if syntax == Syntax::V3 => {
                Self::HostRegexp(patterns(&each(values, ascii)?, budget)?)
            }
            Kind::HostRegexp => {
                Self::HostTemplate(templates(&each(values, ascii)?, Place::Host, budget)?)
            }
            Kind::HostSniRegexp if syntax == Syntax::V3 => {
                Self::HostSniRegexp(patterns(&each(values, ascii)?, budget)?)
            }
            Kind::HostSniRegexp => Self::HostSniRegexp(templates(values, Place::Sni, budget)?),
            Kind::Header | Kind::Headers => Self::Headers(pairs(values, |text| Ok(equal(text)))?),
            Kind::HeaderRegexp | Kind::HeadersRegexp => {
                Self::Headers(pairs(values, |text| fitting(text, budget))?)
            }
            Kind::Query if syntax == Syntax::V2 => Self::QueryTemplates(query(values, budget)?),
            Kind::Query | Kind::QueryRegexp => {
                let (key, value) = values.split_first().ok_or("has no value")?;
                let wanted = match value.first() {
                    Some(text) if kind == Kind::QueryRegexp => fitting(text, budget)?,
                    Some(text) => equal(text),
                    None => equal(""),
                };
                Self::Query(key.clone(), wanted)
            }
        })
    }

    pub(super) fn holds(&self, request: &Request) -> bool {
        match request {
            Request::Http(request) => self.holds_for_http(request),
            Request::Tcp(connection) => self.holds_for_tcp(connection),
        }
    }

    fn holds_for_http(&self, request: &HttpRequest) -> bool {
        let any = |patterns: &[Pattern], bytes: &[u8]| patterns.iter().any(|p| p.fits(bytes));
        match self {
            Self::ClientIp(networks) => contain(networks, request.client),
            Self::Headers(wanted) => wanted.iter().all(|(name, wanted)| {
                let mut given = request.headers.iter();
                given.any(|(key, value)| key.eq_ignore_ascii_case(name) && wanted.is(value))
            }),
            Self::Host(hosts) => hosts.iter().any(|host| host.is_request(&request.host)),
            Self::HostRegexp(patterns) => {
                // Traefik compares the result of a CNAME lookup too, which is empty without one.
                any(patterns, request.host.as_bytes()) || any(patterns, b"")
            }
            Self::HostTemplate(patterns) => any(patterns, request.bare_host.as_bytes()),
            Self::Method(methods) => methods.contains(&request.method),
            Self::Path(paths) => paths.iter().any(|path| path.as_bytes() == request.path),
            Self::PathPrefix(paths) => {
                paths.iter().any(|path| request.path.starts_with(path.as_bytes()))
            }
            Self::PathRegexp(patterns) => any(patterns, &request.path),
            Self::Query(key, wanted) => {
                let mut given = request.query.iter();
                given.any(|(name, value)| name == key.as_bytes() && wanted.is(value))
            }
            Self::QueryTemplates(all) => all.iter().all(|(key, pattern)| {
                let first = request.query.iter().find(|(name, _)| name == key.as_bytes());
                let whole = first.map(|(name, value)| [name, b"=".as_slice(), value].concat());
                pattern.fits(&whole.unwrap_or_default())
            }),
            Self::Alpn(_) | Self::HostSni(_) | Self::HostSniRegexp(_) => false,
        }
    }

    fn holds_for_tcp(&self, connection: &Connection) -> bool {
        match self {
            Self::Alpn(protocols) => connection.alpn.iter().any(|given| protocols.contains(given)),
            Self::ClientIp(networks) => contain(networks, connection.client),
            Self::HostSni(hosts) => hosts.iter().any(|host| host.is_connection(&connection.sni)),
            Self::HostSniRegexp(patterns) => {
                patterns.iter().any(|pattern| pattern.fits(connection.sni.as_bytes()))
            }
            _ => false,
        }
    }
}

fn contain(networks: &[Network], client: Option<IpAddr>) -> bool {
    client.is_some_and(|client| networks.iter().any(|network| network.contains(client)))
}

fn each<T>(
    values: &[String],
    mut check: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    values.iter().map(|value| check(value)).collect()
}

fn equal(text: &str) -> Wanted {
    Wanted::Equal(text.to_owned())
}

fn fitting(text: &str, budget: &mut Budget) -> Result<Wanted, String> {
    Ok(Wanted::Fitting(pattern(text, budget)?))
}

fn pattern(text: &str, budget: &mut Budget) -> Result<Pattern, String> {
    Pattern::new(text, budget)
        .map_err(|wrong| format!("cannot use the regular expression `{}` {wrong}", shorten(text)))
}

fn patterns(values: &[String], budget: &mut Budget) -> Result<Vec<Pattern>, String> {
    each(values, |value| pattern(value, budget))
}

fn templates(values: &[String], place: Place, budget: &mut Budget) -> Result<Vec<Pattern>, String> {
    each(values, |value| {
        if matches!(place, Place::Path | Place::PathPrefix) {
            path(value)?;
        }
        let template = template::compile(value, place, budget);
        template.map(|template| template.pattern).map_err(|wrong| about(value, &wrong))
    })
}

fn about(value: &str, wrong: &str) -> String {
    format!("`{}` {wrong}", shorten(value))
}

/// Names and values in turn; of equal names the last counts.
fn pairs(
    values: &[String],
    mut wanted: impl FnMut(&str) -> Result<Wanted, String>,
) -> Result<Vec<(String, Wanted)>, String> {
    let mut pairs = BTreeMap::new();
    for pair in values.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("takes pairs of a name and a value, not {}", values.len()));
        };
        pairs.insert(name.clone(), wanted(value)?);
    }
    Ok(pairs.into_iter().collect())
}

/// v2: `a=b`, `c={name:regexp}`; each value is cut at its first `=`, and the pieces count in pairs.
fn query(values: &[String], budget: &mut Budget) -> Result<Vec<(String, Pattern)>, String> {
    let pieces: Vec<&str> = values.iter().flat_map(|value| value.splitn(2, '=')).collect();
    let texts: Vec<String> = pieces.chunks(2).map(|pair| pair.join("=")).collect();
    if pieces.len() % 2 == 1 {
        return Err(format!(
            "takes keys with values, such as `key=value`, not `{}`",
            values.join("`, `")
        ));
    }
    let mut named = Vec::new();
    let mut queries = Vec::new();
    for text in &texts {
        let template =
            template::compile(text, Place::Query, budget).map_err(|wrong| about(text, &wrong))?;
        if let Some(name) = template.names.iter().find(|name| named.contains(*name)) {
            return Err(format!("has the name `{}` twice in its braces", shorten(name)));
        }
        named.extend(template.names);
        let key = text.split_once('=').map_or("", |(key, _)| key);
        queries.push((key.to_owned(), template.pattern));
    }
    Ok(queries)
}

fn alpn(value: &str) -> Result<String, String> {
    if value == "acme-tls/1" {
        return Err("`acme-tls/1` is reserved for certificate challenges".to_owned());
    }
    Ok(value.to_owned())
}

fn network(value: &str) -> Result<Network, String> {
    let wrong = || about(value, "is no IP address and no network such as 192.0.2.0/24");
    Network::parse(value).ok_or_else(wrong)
}

fn ascii(value: &str) -> Result<String, String> {
    if !value.is_ascii() {
        return Err(about(value, "has non-ASCII letters, which no host name in a request has"));
    }
    Ok(value.to_owned())
}

fn path(value: &str) -> Result<String, String> {
    if !value.starts_with('/') {
        return Err(about(value, "must begin with `/`"));
    }
    Ok(value.to_owned())
}
