//! One route → the certificates that it asks for, each allowed or refused; nothing else is looked
//! at but the settings and which Services there are. Who owns the hosts is decided later.

use std::collections::BTreeSet;

use crate::cert::{Id, KeyType};
use crate::name::{Name, Names};
use crate::resolver::{Lack, Resolver};
use crate::route;
use crate::route::{Entry, Kind, Part, Reason, Refusal, Route, Service, Tls};
use crate::world::services::Services;
use crate::world::settings::Settings;

/// What one route leads to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Derived {
    /// Without duplicates, in the order of the route.
    pub certificates: Vec<Certificate>,
    pub refusals: Vec<Refusal>,
    /// What costs nothing, and is not as people may think.
    pub warnings: Vec<String>,
}

/// One certificate that a route wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub id: Id,
    pub names: Names,
    pub resolver: String,
    /// Namespace that it is got for: the route's, or the controller's if the configuration names it.
    pub owner: String,
    /// Secret of the route's namespace that is to hold it.
    pub secret_name: Option<String>,
    pub key_type: Option<KeyType>,
}

impl Derived {
    fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::of(Refusal::new(reason, message))
    }

    fn of(refusal: Refusal) -> Self {
        Self { refusals: vec![refusal], ..Self::default() }
    }

    /// Rules and entry points may ask for the same. A certificate counts again only for another
    /// Secret.
    fn drop_doubles(&mut self) {
        let mut told = BTreeSet::new();
        self.refusals.retain(|refusal| told.insert(refusal.clone()));
        let (mut ids, mut copies) = (BTreeSet::new(), BTreeSet::new());
        self.certificates.retain(|Certificate { id, secret_name, .. }| {
            let is_first = ids.insert(id.clone());
            match secret_name {
                None => is_first,
                Some(secret) => copies.insert((id.clone(), secret.clone())),
            }
        });
    }
}

/// Certificates of one resolver, wanted by the route itself or by an entry point of it.
struct Wish<'a> {
    resolver: &'a str,
    owner: &'a str,
    /// One a certificate; `None`: the names of each rule.
    entries: Option<Vec<Entry>>,
    /// Of the route.
    tls: Option<&'a Tls>,
}

impl Wish<'_> {
    fn certificate(&self, names: Names, secret_name: Option<Box<str>>) -> Certificate {
        Certificate {
            id: Id::of(self.owner, self.resolver, &names),
            names,
            resolver: self.resolver.to_owned(),
            owner: self.owner.to_owned(),
            secret_name: secret_name.map(String::from),
            key_type: self.tls.and_then(|tls| tls.key_type),
        }
    }
}

pub(super) fn derive(settings: &Settings, services: &Services, route: &Route) -> Derived {
    let unreadable = route.fault.as_ref().filter(|it| it.reason == Reason::InvalidObject);
    if let Some(fault) = unreadable {
        return Derived::of((**fault).clone());
    }
    if let Some(derived) = store_without_effect(settings, route) {
        return derived;
    }
    let wishes = match wishes(settings, route) {
        Ok(wishes) if wishes.is_empty() => return Derived::default(),
        Ok(wishes) => wishes,
        Err(refusal) => return Derived::of(refusal),
    };
    if let Some(fault) = &route.fault {
        return Derived::of((**fault).clone());
    }
    let mut derived = match settings.entry_points(route) {
        Ok(warning) => Derived { warnings: Vec::from_iter(warning), ..Derived::default() },
        Err(refusal) => return Derived::of(refusal),
    };
    let parts: Vec<_> =
        route.parts.iter().map(|part| whole(settings, services, route, part)).collect();
    for wish in &wishes {
        grant(settings, wish, &parts, &mut derived);
    }
    derived.drop_doubles();
    derived
}

/// Only the store `default` of one namespace counts.
fn store_without_effect(settings: &Settings, route: &Route) -> Option<Derived> {
    let is_store = matches!(route.key.kind, Kind::OwnStore | Kind::TraefikStore);
    if !is_store || route.tls.is_none() {
        return is_store.then(Derived::default);
    }
    let name = &*route.key.name;
    if name != route::DEFAULT_STORE {
        let warning = format!("a TLSStore has effect only if it is named default, not `{name}`");
        return Some(Derived { warnings: vec![warning], ..Derived::default() });
    }
    let wanted = settings.default_store_namespace.as_str();
    (*route.key.namespace != *wanted).then(|| {
        let message = format!(
            "the TLSStore default counts only in namespace {wanted} \
             (routecert.defaultTLSResourcesNamespace); move it there"
        );
        Derived::refused(Reason::NotAllowed, message)
    })
}

/// The route's own `tls` block, even an empty one, replaces those of its entry points.
fn wishes<'a>(settings: &'a Settings, route: &'a Route) -> Result<Vec<Wish<'a>>, Refusal> {
    if let Some(tls) = route.tls.as_deref() {
        let own = |resolver: &'a str| Wish {
            resolver,
            owner: &route.key.namespace,
            entries: (!tls.domains.is_empty()).then(|| tls.domains.clone()),
            tls: Some(tls),
        };
        return match &tls.resolver {
            Some(resolver) => Ok(vec![own(resolver)]),
            None if tls.domains.is_empty() => Ok(Vec::new()),
            None => {
                let message = "tls.domains asks for certificates, and no resolver is named: add \
                               tls.certResolver";
                Err(Refusal::new(Reason::UnknownResolver, message))
            }
        };
    }
    // An entry point's `http.tls` is for HTTP.
    if !matches!(route.key.kind, Kind::OwnHttp | Kind::TraefikHttp | Kind::Ingress | Kind::FileHttp)
    {
        return Ok(Vec::new());
    }
    let models = settings.entry_points_of(route).filter_map(|one| one.tls.as_ref());
    let wishes = models.filter_map(|model| {
        let named = model.domains.iter().map(|one| route::names_of(&one.main, &one.sans));
        let named: Vec<_> = named.collect();
        let entry = |names| Entry { names, secret_name: None };
        let entries: Vec<Entry> = route::without_doubles(&named).into_iter().map(entry).collect();
        let has_list = !entries.is_empty();
        Some(Wish {
            resolver: model.cert_resolver.as_deref()?,
            owner: if has_list { &settings.home } else { &route.key.namespace },
            entries: has_list.then_some(entries),
            tls: None,
        })
    });
    Ok(wishes.collect())
}

/// The names of a rule, unless it is broken or goes nowhere.
fn whole(
    settings: &Settings,
    services: &Services,
    route: &Route,
    part: &Part,
) -> Result<Names, Refusal> {
    let names = part.names.clone()?;
    for service in &part.services {
        reachable(settings, services, route, service)?;
    }
    Ok(names)
}

fn reachable(
    settings: &Settings,
    services: &Services,
    route: &Route,
    service: &Service,
) -> Result<(), Refusal> {
    let home = &*route.key.namespace;
    let namespace = service.namespace.as_deref().unwrap_or(home);
    let name = &service.name;
    if namespace != home && !settings.allow_cross_namespace {
        let message = format!(
            "Service {namespace}/{name} is in another namespace; allow that by \
             providers.kubernetesCRD.allowCrossNamespace, or name one of {home}"
        );
        return Err(Refusal::new(Reason::CrossNamespace, message));
    }
    if services.is_missing(namespace, name) {
        let message = format!(
            "there is no Service {namespace}/{name}; the certificate is got once there is one"
        );
        return Err(Refusal::new(Reason::MissingService, message));
    }
    Ok(())
}

/// A rule that is broken leads to nothing; one that only names no host may still have domains.
fn is_broken(part: &Result<Names, Refusal>) -> bool {
    part.as_ref().is_err_and(|it| !matches!(it.reason, Reason::NoNames | Reason::InvalidName))
}

fn grant(
    settings: &Settings,
    wish: &Wish<'_>,
    parts: &[Result<Names, Refusal>],
    derived: &mut Derived,
) {
    let resolver = match settings.resolver_for(wish.resolver, wish.owner) {
        Ok(resolver) => resolver,
        Err(refusal) => return derived.refusals.push(refusal),
    };
    let asked: Vec<Entry> = match &wish.entries {
        None => {
            let entry =
                |names: &Result<Names, Refusal>| Entry { names: names.clone(), secret_name: None };
            parts.iter().map(entry).collect()
        }
        Some(entries) => {
            let broken = parts.iter().filter(|part| is_broken(part));
            derived.refusals.extend(broken.filter_map(|part| part.as_ref().err()).cloned());
            if !parts.is_empty() && parts.iter().all(is_broken) {
                return;
            }
            derived.warnings.extend(uncovered(entries, parts));
            entries.clone()
        }
    };
    // The first certificate fills the Secret that the route names.
    let mut first = wish.tls.and_then(|tls| tls.secret_name.clone());
    for Entry { names, secret_name } in asked {
        let allowed = names.and_then(|names| {
            orderable(resolver, &names)?;
            settings.allows_names(wish.resolver, &names)?;
            Ok(names)
        });
        match allowed {
            Ok(names) => {
                let filled = first.take();
                let secret_name = secret_name.or(filled);
                let secret_name = secret_name.filter(|name| is_name(name, &mut derived.refusals));
                derived.certificates.push(wish.certificate(names, secret_name));
            }
            Err(refusal) => derived.refusals.push(refusal),
        }
    }
}

/// Whether a Secret can have this name; a path would lead into other namespaces.
fn is_name(secret: &str, refusals: &mut Vec<Refusal>) -> bool {
    let is_valid = route::is_object_name(secret);
    if !is_valid {
        let message = format!(
            "no Secret can be named `{secret}`; write lower-case letters, digits, `-` and `.` in \
             tls.secretName. The certificate is got and served all the same"
        );
        refusals.push(Refusal::new(Reason::InvalidName, message));
    }
    is_valid
}

/// Hosts of the rules that no entry covers: they will be served with another certificate.
fn uncovered(entries: &[Entry], parts: &[Result<Names, Refusal>]) -> Option<String> {
    let named = entries.iter().filter_map(|entry| entry.names.as_ref().ok());
    let named: BTreeSet<&str> = named.flat_map(Names::iter).map(Name::as_str).collect();
    let covered = |host: &Name| {
        let above = host.wildcard_above();
        named.contains(host.as_str()) || above.is_some_and(|it| named.contains(it.as_str()))
    };
    let hosts = parts.iter().filter_map(|part| part.as_ref().ok()).flat_map(Names::iter);
    let bare: BTreeSet<&str> =
        hosts.filter(|host| !covered(host)).map(Name::as_str).take(10).collect();
    (!bare.is_empty()).then(|| {
        let bare: Vec<&str> = bare.into_iter().collect();
        format!(
            "no entry of tls.domains covers {}: no certificate is got for it; add it to an entry",
            bare.join(", ")
        )
    })
}

/// Names that an order at this CA can have.
fn orderable(resolver: &Resolver, names: &Names) -> Result<(), Refusal> {
    let most = resolver.max_names();
    if names.len() > most {
        let message =
            format!("{} names; a certificate of this CA holds {most} at most", names.len());
        return Err(Refusal::new(Reason::TooManyNames, message));
    }
    for name in names.iter() {
        match resolver.challenge_of(name) {
            Ok(_) => {}
            Err(Lack::NeedsDns01) => {
                let message = format!(
                    "`{name}` can only be proven by DNS-01, which resolver `{}` does not have",
                    resolver.name
                );
                return Err(Refusal::new(Reason::WildcardNeedsDns01, message));
            }
            Err(Lack::Obstacle(why)) => {
                let message = format!("resolver `{}` cannot prove `{name}`: {why}", resolver.name);
                return Err(Refusal::new(Reason::ResolverUnusable, message));
            }
        }
        if !name.as_str().contains('.') && resolver.public_ca() {
            let message = format!("`{name}` has no dot: no public CA issues for it");
            return Err(Refusal::new(Reason::InvalidName, message));
        }
    }
    Ok(())
}
