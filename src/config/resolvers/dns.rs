//! `dnsChallenge`: its provider, or the providers of an object with their credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Problem;
use crate::config::near::nearest;
use crate::config::problem::few;
use crate::config::resolvers::{Look, Origin};
use crate::config::tree::shorten;
use crate::config::typed::Typed;
use crate::config::value;
use crate::name::Name;
use crate::provider;
use crate::provider::Provider;
use crate::resolver::{DnsChallenge, Propagation, SecretKey, Solver};

/// Variables that select what lies on the controller's disk, beside those that end like a path.
const OF_FILES: [&str; 3] = ["AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "OS_CLOUD"];
const ENDS_OF_FILES: [&str; 3] = ["_EDGERC", "_FILE", "_PATH"];

/// Nobody has more; each is looked at when a name is proven.
const MAX_SOLVERS: usize = 100;

/// Where a provider's variables are.
enum Credentials<'a> {
    Given(&'a BTreeMap<String, SecretKey>),
    /// Not to be asked for, or not to be known.
    Unknown,
    Variables(&'a BTreeMap<String, String>),
}

impl Look<'_> {
    /// Without a provider Traefik leaves it off.
    pub(super) fn dns_challenge(&mut self) -> Option<DnsChallenge> {
        let acme = self.acme;
        let challenge = acme.at("dnsChallenge").filter(|it| !it.is_broken())?;
        for item in challenge.items("resolvers") {
            if let Some(Err(message)) = item.as_text().map(value::server) {
                self.walk.warnings.push(Problem::at(&item.place, &item.key, message));
            }
        }
        let mut found = DnsChallenge {
            resolvers: challenge.texts("resolvers"),
            propagation: propagation(challenge),
            ..DnsChallenge::default()
        };
        if let Some(item) = challenge.items("solvers").nth(MAX_SOLVERS) {
            let message = format!("more than {MAX_SOLVERS} solvers; make several resolvers");
            self.fault_at(&item.place, &item.key, &message);
        }
        for item in challenge.items("solvers").take(MAX_SOLVERS) {
            let solver = self.solver(item, &mut found.obstacles);
            found.solvers.extend(solver);
        }
        let field = challenge.at("provider").filter(|field| field.as_text() != Some(""));
        if let Some(field) = field {
            let none = BTreeMap::new();
            let credentials = match (self.origin, self.around.environment) {
                // Variables of the process are not for objects.
                (Origin::Object, _) => Credentials::Given(&none),
                (Origin::Static, None) => Credentials::Unknown,
                (Origin::Static, Some(all)) => Credentials::Variables(all),
            };
            let provider = self.provider(field, &credentials, &mut found.obstacles);
            found.provider = provider.unwrap_or_default();
        } else if challenge.items("solvers").next().is_none() {
            self.warn("dnsChallenge.provider", "is missing; DNS-01 stays off");
            return None;
        }
        found.obstacles = few(found.obstacles);
        Some(found)
    }

    /// The code of the provider that `field` names.
    fn provider(
        &mut self,
        field: &Typed,
        credentials: &Credentials<'_>,
        obstacles: &mut Vec<String>,
    ) -> Option<String> {
        let written = field.as_text()?;
        let Some(provider) = provider::find(written) else {
            self.unknown_provider(field, written);
            return None;
        };
        if self.origin == Origin::Object && provider.is_of_the_machine() {
            let message = format!(
                "`{}` is for resolvers of the static configuration only; an object may run nothing \
                 on the controller's machine",
                provider.code
            );
            self.fault_at(&field.place, &field.key, &message);
            return None;
        }
        if !provider.codes().any(|code| code == written) {
            let message = format!("is written `{}` elsewhere", provider.code);
            self.walk.warnings.push(Problem::at(&field.place, &field.key, message));
        }
        self.can_work(field, &provider, credentials, obstacles);
        Some(provider.code.to_owned())
    }

    /// Warns of what stands in the way of the provider.
    fn can_work(
        &mut self,
        field: &Typed,
        provider: &Provider,
        credentials: &Credentials<'_>,
        obstacles: &mut Vec<String>,
    ) {
        let mut found = Vec::new();
        if provider.gone {
            found.push(format!("the service of {} has shut down", provider.name));
        } else if !provider.built {
            found.push(format!("{} is not built into this version yet", provider.name));
        }
        let missing = match credentials {
            Credentials::Given(env) => provider.missing(|name| env.contains_key(name)),
            Credentials::Unknown => Vec::new(),
            Credentials::Variables(all) => {
                provider.missing(|name| all.get(name).is_some_and(|value| !value.is_empty()))
            }
        };
        if !missing.is_empty() {
            let missing = missing.join(", ");
            found.push(format!("variables that {} needs are not set: {missing}", provider.name));
        }
        for message in found {
            obstacles.push(message.clone());
            self.walk.warnings.push(Problem::at(&field.place, &field.key, message));
        }
    }

    fn unknown_provider(&mut self, field: &Typed, code: &str) {
        let near = nearest(code, provider::all().flat_map(Provider::codes));
        let advice = near.map_or_else(
            || "the codes are in the documentation".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("no DNS provider has the code `{}`; {advice}", shorten(code));
        self.fault_at(&field.place, &field.key, &message);
    }

    fn solver(&mut self, typed: &Typed, obstacles: &mut Vec<String>) -> Option<Solver> {
        let mut zones = Vec::new();
        for item in typed.items("zones") {
            match Name::parse(item.as_text().unwrap_or_default()) {
                Ok(zone) if !zone.is_wildcard() => zones.push(zone),
                Ok(_) => {
                    let message =
                        "a zone is a domain without `*.`; it holds for all names below it";
                    self.fault_at(&item.place, &item.key, message);
                }
                Err(error) => self.fault_at(&item.place, &item.key, &error.to_string()),
            }
        }
        let env = self.env(typed);
        let ambient = typed.boolean("ambient").unwrap_or_default();
        let Some(field) = typed.at("provider").filter(|field| field.as_text() != Some("")) else {
            if !typed.is_broken() {
                self.fault_at(&typed.place, &typed.key, "provider is missing; name its code");
            }
            return None;
        };
        let credentials = if ambient { Credentials::Unknown } else { Credentials::Given(&env) };
        let provider = self.provider(field, &credentials, obstacles)?;
        Some(Solver { zones, provider, env, ambient })
    }

    fn env(&mut self, solver: &Typed) -> BTreeMap<String, SecretKey> {
        let mut env = BTreeMap::new();
        for (name, entry) in solver.at("env").into_iter().flat_map(Typed::entries) {
            let upper = name.to_uppercase();
            if OF_FILES.contains(&upper.as_str())
                || ENDS_OF_FILES.iter().any(|end| upper.ends_with(end))
            {
                let message = "names a file; an object may read none of the controller's: give the \
                               value itself by secretRef";
                self.fault_at(&entry.place, &entry.key, message);
                continue;
            }
            let Some(reference) = entry.at("secretRef") else {
                if !entry.is_broken() {
                    let message = "secretRef is missing; give {secretRef: {name, key}}";
                    self.fault_at(&entry.place, &entry.key, message);
                }
                continue;
            };
            env.extend(self.secret_key(reference).map(|key| (name.clone(), key)));
        }
        env
    }

    pub(super) fn secret_key(&mut self, reference: &Typed) -> Option<SecretKey> {
        if reference.is_broken() {
            return None;
        }
        let (name, key) = (reference.filled("name"), reference.filled("key"));
        let (Some(name), Some(key)) = (name, key) else {
            let message = "must have a name (a Secret in the controller's namespace) and a key";
            self.fault_at(&reference.place, &reference.key, message);
            return None;
        };
        Some(SecretKey { name, key })
    }
}

fn propagation(challenge: &Typed) -> Propagation {
    let duration = |path: &str| challenge.duration(path).unwrap_or(Duration::ZERO);
    let yes = |path: &str| challenge.boolean(path).unwrap_or_default();
    Propagation {
        delay_before_checks: duration("propagation.delayBeforeChecks"),
        disable_checks: yes("propagation.disableChecks"),
        disable_ans_checks: yes("propagation.disableANSChecks"),
        require_all_rns: yes("propagation.requireAllRNS"),
    }
}
