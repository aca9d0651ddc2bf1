//! Typed tree → [`Config`]: defaults, and what only the whole can show to be wrong.

use std::collections::BTreeMap;

use crate::config::typed::{Is, Typed};
use crate::config::value::{self, Address};
use crate::config::walk::Walk;
use crate::config::{
    Config, Domain, EntryPoint, EntryPointTls, Log, LogFormat, Problem, Redirect, Surroundings,
    own, providers, resolvers,
};
use crate::resolver::DnsSwitches;
use crate::rule::Syntax;

/// Whatever is wrong goes to `walk`, and a default stands in its place.
pub(super) fn config(root: &Typed, around: Surroundings<'_>, walk: &mut Walk) -> Config {
    let entry_points = entry_points(root, walk);
    let resolvers = resolvers::all(root, &entry_points, around, walk);
    for typed in root.at("entryPoints").into_iter().flat_map(Typed::entries) {
        warn_of_unknown_resolver(typed.1, &resolvers, walk);
    }
    Config {
        storages: resolvers::storages(root),
        resolvers,
        kubernetes_crd: root.at("providers.kubernetesCRD").map(providers::kubernetes_crd),
        kubernetes_ingress: root
            .at("providers.kubernetesIngress")
            .map(providers::kubernetes_ingress),
        file: root.at("providers.file").and_then(|file| providers::file(file, walk)),
        default_rule_syntax: rule_syntax(root, walk),
        strict_tls_options: root.boolean("core.strictTLSOptions").unwrap_or_default(),
        log: log(root, walk),
        dns: DnsSwitches::default(),
        proxy: None,
        own: own::own(root, walk),
        entry_points,
    }
}

fn entry_points(root: &Typed, walk: &mut Walk) -> BTreeMap<String, EntryPoint> {
    let mut found = BTreeMap::new();
    let mut given = false;
    for (name, typed) in root.at("entryPoints").into_iter().flat_map(Typed::entries) {
        given = true;
        if let Some(entry_point) = entry_point(name, typed, walk) {
            found.insert(name.clone(), entry_point);
        }
    }
    if !given {
        // Traefik's own default.
        let http = EntryPoint { name: "http".to_owned(), port: 80, ..EntryPoint::default() };
        found.insert(http.name.clone(), http);
    }
    let ports: BTreeMap<String, u16> =
        found.iter().map(|(name, entry_point)| (name.clone(), entry_point.port)).collect();
    for (name, typed) in root.at("entryPoints").into_iter().flat_map(Typed::entries) {
        let redirect = typed.at("http.redirections.entryPoint");
        if let (Some(redirect), Some(entry_point)) = (redirect, found.get_mut(name)) {
            entry_point.redirect = self::redirect(redirect, &ports, walk);
        }
    }
    found
}

fn entry_point(name: &str, typed: &Typed, walk: &mut Walk) -> Option<EntryPoint> {
    let Some(field) = typed.at("address") else {
        let problem = match typed.is {
            Is::Broken => return None,
            Is::Empty => {
                let message = "the entry point is empty; it is left out";
                walk.warnings.push(Problem::at(&typed.place, &typed.key, message));
                return None;
            }
            _ => "address is missing; give one such as `:80`; the entry point is left out",
        };
        walk.warnings.push(Problem::at(&typed.place, &typed.key, problem));
        return None;
    };
    trusted(typed, walk);
    header_names(typed, walk);
    let address = address(field, typed.text("address")?, walk)?;
    if address.udp {
        let message = "UDP has no certificates; the entry point is left out";
        walk.warnings.push(Problem::at(&field.place, &field.key, message));
        return None;
    }
    Some(EntryPoint {
        name: name.to_owned(),
        host: address.host,
        port: address.port,
        as_default: typed.boolean("asDefault").unwrap_or_default(),
        redirect: None,
        tls: typed.at("http.tls").map(|tls| entry_point_tls(tls, walk)),
    })
}

/// Whom to believe: a wrong address here would be nobody, or everybody.
fn trusted(typed: &Typed, walk: &mut Walk) {
    let lists = ["forwardedHeaders.trustedIPs", "proxyProtocol.trustedIPs"];
    for item in lists.iter().flat_map(|path| typed.items(path)) {
        let text = item.as_text().unwrap_or_default();
        if let Err(expected) = value::network(text) {
            walk.errors.push(Problem::about(item, text, expected));
        }
    }
}

fn header_names(typed: &Typed, walk: &mut Walk) {
    let old = "http.underscoreHeadersStrategy";
    let Some(field) = typed.at(old) else { return };
    if typed.at("http.aliasHeadersStrategy").is_some() {
        let message = "stands beside aliasHeadersStrategy, its new name; remove it";
        walk.errors.push(Problem::at(&field.place, &field.key, message));
    } else {
        let message = "is deprecated; write aliasHeadersStrategy instead";
        walk.warnings.push(Problem::at(&field.place, &field.key, message));
    }
}

pub(super) fn address(field: &Typed, text: &str, walk: &mut Walk) -> Option<Address> {
    let report = |expected| Problem::about(field, text, expected);
    value::address(text).map_err(|expected| walk.errors.push(report(expected))).ok()
}

fn entry_point_tls(typed: &Typed, walk: &mut Walk) -> EntryPointTls {
    let mut domains = Vec::new();
    for item in typed.items("domains") {
        let mut sans = item.texts("sans");
        let main = item.filled("main").or_else(|| {
            // Traefik takes the names in order and does not ask which key they stood at.
            (!sans.is_empty()).then(|| sans.remove(0))
        });
        match main {
            Some(main) => domains.push(Domain { main, sans }),
            None if item.is_broken() => {}
            None => walk.errors.push(Problem::at(&item.place, &item.key, "main is missing")),
        }
    }
    EntryPointTls { cert_resolver: typed.filled("certResolver"), domains }
}

fn redirect(typed: &Typed, ports: &BTreeMap<String, u16>, walk: &mut Walk) -> Option<Redirect> {
    if typed.is_broken() {
        return None;
    }
    let scheme = typed.filled("scheme").unwrap_or_else(|| "https".to_owned());
    if let Some(field) = typed.at("scheme")
        && !matches!(scheme.as_str(), "http" | "https")
    {
        walk.errors.push(Problem::about(field, &scheme, "expected http or https"));
    }
    let Some(to) = typed.filled("to") else {
        if !typed.at("to").is_some_and(Typed::is_broken) {
            let message = "to is missing; give the name of an entry point, or `:443`";
            walk.errors.push(Problem::at(&typed.place, &typed.key, message));
        }
        return None;
    };
    let port = match to.strip_prefix(':') {
        Some(port) => port.parse().ok(),
        None => ports.get(&to).copied(),
    };
    let Some(port) = port else {
        let names: Vec<&str> = ports.keys().map(String::as_str).collect();
        let expected =
            format!("expected `:443` or an entry point that exists ({})", names.join(", "));
        walk.errors.push(Problem::about(typed.at("to").unwrap_or(typed), &to, &expected));
        return None;
    };
    Some(Redirect { scheme, port, permanent: typed.boolean("permanent").unwrap_or(true) })
}

fn warn_of_unknown_resolver<T>(
    entry_point: &Typed,
    resolvers: &BTreeMap<String, T>,
    walk: &mut Walk,
) {
    let Some(name) = entry_point.filled("http.tls.certResolver") else { return };
    if let Some(field) = entry_point.at("http.tls.certResolver")
        && !resolvers.contains_key(&name)
    {
        let message = "no such resolver under certificatesResolvers; no certificate will be got";
        walk.warnings.push(Problem::about(field, &name, message));
    }
}

fn rule_syntax(root: &Typed, walk: &mut Walk) -> Syntax {
    let Some(field) = root.at("core.defaultRuleSyntax") else { return Syntax::V3 };
    match field.as_text() {
        Some("v2") => Syntax::V2,
        Some("v3") | None => Syntax::V3,
        Some(other) => {
            walk.errors.push(Problem::about(field, other, "expected v3 or v2"));
            Syntax::V3
        }
    }
}

fn log(root: &Typed, walk: &mut Walk) -> Log {
    let mut log = Log { level: "info".to_owned(), format: LogFormat::Common };
    if let (Some(field), Some(level)) = (root.at("log.level"), root.filled("log.level")) {
        match level.to_lowercase().as_str() {
            known @ ("trace" | "debug" | "info" | "warn" | "error") => {
                known.clone_into(&mut log.level);
            }
            "fatal" | "panic" => "error".clone_into(&mut log.level),
            _ => walk.errors.push(Problem::about(
                field,
                &level,
                "expected TRACE, DEBUG, INFO, WARN, ERROR, FATAL or PANIC",
            )),
        }
    }
    if let (Some(field), Some(format)) = (root.at("log.format"), root.filled("log.format")) {
        match format.as_str() {
            "common" => {}
            "json" => log.format = LogFormat::Json,
            _ => walk.errors.push(Problem::about(field, &format, "expected common or json")),
        }
    }
    log
}
