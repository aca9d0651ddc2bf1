//! Traefik's dynamic configuration in files: its routers and its default store → routes.

mod section;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::api::Domain;
use crate::name::Names;
use crate::route::file::section::{Section, shown};
use crate::route::ingress_route;
use crate::route::names;
use crate::route::store;
use crate::route::{Class, Entry, Key, Kind, Part, Reason, Refusal, Route, Tls};
use crate::rule::{Protocol, Syntax};

/// Longest name of a router, in bytes: that of an object of the cluster.
const MAX_NAME: usize = 253;
/// Warnings about one file, and fields in one of them.
const MAX_WARNINGS: usize = 20;

/// One file, as far as certificates go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dynamic {
    /// By kind and name as written.
    routers: BTreeMap<(Kind, String), Router>,
    /// Of HTTP and of TCP, by the kind of their routers.
    services: BTreeSet<(Kind, String)>,
    /// What the file has and nobody reads.
    ignored: Vec<String>,
}

/// A router, or the default store.
#[derive(Debug, Clone, PartialEq, Default)]
struct Router {
    entry_points: Vec<String>,
    tls: Option<Tls>,
    /// `None`: a store has no rule.
    names: Option<Result<Names, Refusal>>,
    /// Of the files; none if it names that of another provider.
    service: Option<String>,
    fault: Option<Refusal>,
    unknown_fields: Vec<String>,
}

/// Whether everything that the files say is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// A file could not be read: what is not seen may be in it.
    Part,
}

/// The first line with Go templating outside of comments, counted from 1. Traefik runs such a file
/// as a template; here its text would be taken for what the template makes of it.
pub fn templated(text: &str) -> Option<usize> {
    let is_template = |line: &str| without_comment(line).contains("{{");
    text.lines().position(is_template).map(|before| before + 1)
}

/// A line up to its comment, in YAML and in TOML.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        let begins = before.is_whitespace() || "[{(,:=".contains(before);
        match quote {
            Some(open) if c == open && before != '\\' => quote = None,
            None if begins && matches!(c, '"' | '\'') => quote = Some(c),
            None if begins && c == '#' => return line.get(..at).unwrap_or(line),
            _ => {}
        }
        before = c;
    }
    line
}

impl Dynamic {
    /// Reads the tree of a file; `syntax` is that of rules that do not say theirs. What is wrong
    /// with one router is a refusal of that router. `Err`: a part that must be a map is none.
    pub fn read(tree: &Value, syntax: Syntax) -> Result<Self, String> {
        Self::sections(tree, syntax).map_err(|refusal| refusal.message)
    }

    /// What people should know of the file, one a line.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let fields = |((kind, name), router): (&(Kind, String), &Router)| {
            let fields: Vec<&str> =
                router.unknown_fields.iter().take(MAX_WARNINGS).map(String::as_str).collect();
            let word = kind.word();
            let message = || format!("{word} {name}: fields without effect: {}", fields.join(", "));
            (!fields.is_empty()).then(message)
        };
        let routers = self.routers.iter().filter_map(fields);
        self.ignored.iter().cloned().chain(routers).take(MAX_WARNINGS)
    }

    fn sections(tree: &Value, syntax: Syntax) -> Result<Self, Refusal> {
        let root = Section::of(tree, "")?;
        let mut read = Self::default();
        read.ignore(&root, &["http", "tcp", "udp", "tls"]);
        let http = root.section("http")?;
        read.ignore(&http, &["routers", "services", "middlewares", "models", "serversTransports"]);
        read.routers(&http, Kind::FileHttp, syntax)?;
        let tcp = root.section("tcp")?;
        read.ignore(&tcp, &["routers", "services", "middlewares", "models", "serversTransports"]);
        read.routers(&tcp, Kind::FileTcp, syntax)?;
        let tls = root.section("tls")?;
        read.ignore(&tls, &["certificates", "options", "stores"]);
        for (name, value) in tls.section("stores")?.named() {
            read.store(name, value);
        }
        Ok(read)
    }

    fn ignore(&mut self, section: &Section<'_>, known: &[&str]) {
        let unknown = section.unknown(known).into_iter();
        self.ignored.extend(unknown.map(|path| format!("{path}: a key that nothing reads")));
    }

    fn routers(&mut self, part: &Section<'_>, kind: Kind, syntax: Syntax) -> Result<(), Refusal> {
        for (name, value) in part.section("routers")?.named() {
            if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
                let name = shown(name);
                let warning = format!(
                    "{} `{name}` is left out: its name must have 1 to {MAX_NAME} printable bytes",
                    kind.word()
                );
                self.ignored.push(warning);
                continue;
            }
            let router = router(value, kind, syntax).unwrap_or_else(Router::broken);
            self.routers.insert((kind, name.to_owned()), router);
        }
        let services = part.section("services")?;
        self.services.extend(services.named().map(|(name, _)| (kind, name.to_owned())));
        Ok(())
    }

    fn store(&mut self, name: &str, value: &Value) {
        if name == store::DEFAULT {
            let router = store_of(value).unwrap_or_else(Router::broken);
            self.routers.insert((Kind::FileStore, name.to_owned()), router);
        } else {
            let name = shown(name);
            let warning = format!("tls.stores.{name}: a store has effect only if it is `default`");
            self.ignored.push(warning);
        }
    }
}

impl Router {
    fn broken(fault: Refusal) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }
}

const HTTP_KEYS: &[&str] = &[
    "entryPoints",
    "middlewares",
    "observability",
    "parentRefs",
    "priority",
    "rule",
    "ruleSyntax",
    "service",
    "tls",
];
const TCP_KEYS: &[&str] =
    &["entryPoints", "middlewares", "priority", "rule", "ruleSyntax", "service", "tls"];

fn router(value: &Value, kind: Kind, default: Syntax) -> Result<Router, Refusal> {
    let section = Section::of(value, "")?;
    let (keys, protocol) = match kind {
        Kind::FileTcp => (TCP_KEYS, Protocol::Tcp),
        _ => (HTTP_KEYS, Protocol::Http),
    };
    let mut unknown_fields = section.unknown(keys);
    let syntax = ingress_route::syntax(section.text("ruleSyntax")?.as_deref(), default);
    let rule = section.text("rule")?.filter(|rule| !rule.trim().is_empty());
    let no_rule = || Refusal::new(Reason::InvalidRule, "the router has no rule; give it one");
    let names = rule.ok_or_else(no_rule).and_then(|it| names::of_rule(&it, protocol, syntax));
    let tls = section.switch("tls")?;
    let passes = match &tls {
        Some(tls) if protocol == Protocol::Tcp => tls.boolean("passthrough")?,
        _ => false,
    };
    Ok(Router {
        entry_points: section.texts("entryPoints")?,
        tls: tls.map(|tls| tls_of(&tls, protocol, &mut unknown_fields)).transpose()?,
        names: Some(names),
        service: section.text("service")?.filter(|name| !name.is_empty() && !name.contains('@')),
        fault: passes.then(ingress_route::passthrough),
        unknown_fields,
    })
}

fn tls_of(
    tls: &Section<'_>,
    protocol: Protocol,
    unknown_fields: &mut Vec<String>,
) -> Result<Tls, Refusal> {
    let keys: &[&str] = match protocol {
        Protocol::Http => &["certResolver", "domains", "options"],
        Protocol::Tcp => &["certResolver", "domains", "options", "passthrough"],
    };
    unknown_fields.extend(tls.unknown(keys));
    let mut domains = Vec::new();
    for domain in tls.list("domains")? {
        domains.push(domain_of(&domain, unknown_fields)?);
    }
    Ok(ingress_route::tls_of(tls.text("certResolver")?, None, &domains))
}

fn domain_of(domain: &Section<'_>, unknown_fields: &mut Vec<String>) -> Result<Domain, Refusal> {
    unknown_fields.extend(domain.unknown(&["main", "sans"]));
    Ok(Domain { main: domain.text("main")?, sans: domain.texts("sans")? })
}

/// A default certificate that is given goes before one that is to be got.
fn store_of(value: &Value) -> Result<Router, Refusal> {
    let section = Section::of(value, "")?;
    let mut unknown_fields = section.unknown(&["defaultCertificate", "defaultGeneratedCert"]);
    let is_given = section.at("defaultCertificate").is_some();
    if is_given || section.at("defaultGeneratedCert").is_none() {
        return Ok(Router { unknown_fields, ..Router::default() });
    }
    let wanted = section.section("defaultGeneratedCert")?;
    unknown_fields.extend(wanted.unknown(&["resolver", "domain"]));
    let domain = domain_of(&wanted.section("domain")?, &mut unknown_fields)?;
    let names = names::names_of(domain.main.as_deref().unwrap_or_default(), &domain.sans);
    let tls = Tls {
        resolver: super::filled(wanted.text("resolver")?),
        domains: vec![Entry { names, secret_name: None }],
        ..Tls::default()
    };
    Ok(Router { tls: Some(tls), unknown_fields, ..Router::default() })
}

/// The routes of all files together, and which routers were passed over; each file comes with its
/// name for people. Of routers of one name the first file's counts, as in Traefik. `home`: the
/// controller's namespace, which the routes are of.
pub fn routes<'f>(
    files: impl Iterator<Item = (&'f str, &'f Dynamic)>,
    home: &str,
    extent: Extent,
) -> (Vec<Route>, Vec<String>) {
    let mut services = BTreeSet::new();
    let mut routers: BTreeMap<&(Kind, String), (&str, &Router)> = BTreeMap::new();
    let mut passed_over = Vec::new();
    for (file, dynamic) in files {
        services.extend(&dynamic.services);
        for (key, router) in &dynamic.routers {
            let (first, counts) = *routers.entry(key).or_insert((file, router));
            if counts != router {
                passed_over.push(double(key, first, file));
            }
        }
    }
    let judged = (extent == Extent::Whole && !services.is_empty()).then_some(&services);
    let made = routers.into_iter().map(|(key, (_, router))| route(key, router, home, judged));
    (made.collect(), passed_over)
}

fn double((kind, name): &(Kind, String), first: &str, other: &str) -> String {
    let (word, name) = (kind.word(), shown(name));
    format!("{other}: {word} {name} stands in {first} too, and that one counts; rename one of them")
}

/// Whoever writes the files is who runs the program: their routes count as the oldest.
fn route(
    (kind, name): &(Kind, String),
    router: &Router,
    home: &str,
    services: Option<&BTreeSet<&(Kind, String)>>,
) -> Route {
    let missing = router.service.as_ref().filter(|&service| {
        services.is_some_and(|known| !known.contains(&(*kind, service.clone())))
    });
    let part = router.names.as_ref().map(|names| Part {
        names: match missing {
            Some(service) if names.is_ok() => Err(no_service(service)),
            _ => names.clone(),
        },
        services: Box::default(),
    });
    Route {
        key: Key::new(*kind, home, &format!("{name}@file")),
        uid: Box::default(),
        generation: 0,
        created: Some(Timestamp::UNIX_EPOCH),
        class: Class::Anyone,
        entry_points: router.entry_points.iter().map(|one| one.as_str().into()).collect(),
        tls: router.tls.clone().map(Box::new),
        parts: part.into_iter().collect(),
        fault: router.fault.clone().map(Box::new),
        unknown_fields: router.unknown_fields.clone().into(),
        status: None,
    }
}

fn no_service(name: &str) -> Refusal {
    let name = shown(name);
    let message = format!("no file has a service `{name}`; the certificate is got once one has");
    Refusal::new(Reason::MissingService, message)
}

#[cfg(test)]
mod tests;
