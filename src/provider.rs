//! DNS providers by code: names, and the variables that hold their credentials.

/// One line a provider: code, aliases, name, variables that are needed, `built` if the program has
/// it or `gone` if the service has shut down, and what else can be set, `NAME=DEFAULT` where there
/// is one (numbers are seconds). Of sets of needed variables with `;` between them one is enough, a
/// set is a list with commas, of names with `|` between them one is enough. None: credentials may
/// come from elsewhere.
const TABLE: &str = include_str!("provider.tsv");

/// A DNS provider as Traefik's configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    pub code: &'static str,
    aliases: &'static str,
    /// For people.
    pub name: &'static str,
    needs: &'static str,
    may_set: &'static str,
    /// The program can use it.
    pub built: bool,
    /// Its service has shut down.
    pub gone: bool,
}

/// All of them, by code.
pub fn all() -> impl Iterator<Item = Provider> {
    TABLE.lines().filter_map(|line| {
        let mut columns = line.split('\t');
        let (code, aliases, name) = (columns.next()?, columns.next()?, columns.next()?);
        let (needs, state, may_set) = (columns.next()?, columns.next()?, columns.next()?);
        let (built, gone) = (state == "built", state == "gone");
        Some(Provider { code, aliases, name, needs, may_set, built, gone })
    })
}

/// The provider with this code or alias, letters of any case.
pub fn find(code: &str) -> Option<Provider> {
    all().find(|known| known.codes().any(|name| name.eq_ignore_ascii_case(code)))
}

impl Provider {
    /// Its code and its aliases.
    pub fn codes(self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.code).chain(list(self.aliases))
    }

    /// It runs a program or asks a person where the controller is: no object may choose it.
    pub fn is_of_the_machine(&self) -> bool {
        matches!(self.code, "exec" | "manual")
    }

    /// The variables that it needs, for people.
    pub fn needs(&self) -> String {
        let sets = self.sets().map(|set| list(set).map(shown).collect::<Vec<_>>().join(", "));
        sets.collect::<Vec<_>>().join("; or ")
    }

    /// What is to be set still; `is_set` knows which variables are. Empty if nothing is known to
    /// be missing. Of several sets it is the one that is nearest to being whole.
    pub fn missing(&self, is_set: impl Fn(&str) -> bool) -> Vec<String> {
        let is_set = |name: &str| is_set(name) || is_set(&format!("{name}_FILE"));
        let any = |names: &&str| names.split('|').any(is_set);
        let lacks = |set| list(set).filter(|names| !any(names)).map(shown).collect::<Vec<_>>();
        if self.needs.is_empty() || self.sets().any(|set| lacks(set).is_empty()) {
            return Vec::new();
        }
        let begun = self.sets().filter(|set| list(set).any(|names| any(&names)));
        match begun.map(lacks).min_by_key(Vec::len) {
            Some(missing) => missing,
            None => vec![self.needs()],
        }
    }

    /// Sets of variables of which one is needed: for each variable the names that it goes by.
    pub fn needed(&self) -> Vec<Vec<Vec<&'static str>>> {
        let names = |names: &'static str| names.split('|').collect();
        let sets = self.sets().map(|set| list(set).map(names).collect::<Vec<_>>());
        sets.filter(|set| !set.is_empty()).collect()
    }

    /// What else can be set, with its default where there is one.
    pub fn optional(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        list(self.may_set).map(|one| {
            one.split_once('=').map_or((one, None), |(name, default)| (name, Some(default)))
        })
    }

    fn sets(&self) -> impl Iterator<Item = &'static str> {
        self.needs.split(';')
    }
}

fn shown(names: &str) -> String {
    match names.split_once('|') {
        Some((first, others)) => format!("{first} (or {})", others.replace('|', ", ")),
        None => names.to_owned(),
    }
}

fn list(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split(',').filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Provider, all, find};

    #[test]
    fn the_table_is_whole() {
        assert_eq!(all().count(), include_str!("provider.tsv").lines().count());
        let mut codes: Vec<&str> = all().flat_map(Provider::codes).collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(count > 230);
    }

    #[test]
    fn codes_and_aliases_are_found_in_any_case() {
        assert_eq!(find("Route53").unwrap().code, "route53");
        assert_eq!(find("fastdns").unwrap().code, "edgedns");
        assert_eq!(find("dnsHomede").unwrap().code, "dnshomede");
        assert!(find("cloudns").unwrap().name == "ClouDNS" && find("cloud").is_none());
        assert!(find("iwantmyname").unwrap().gone);
    }

    #[test]
    fn what_can_be_set_has_its_default_and_is_not_what_is_needed() {
        let duckdns = find("duckdns").unwrap();
        assert_eq!(duckdns.needed(), [[["DUCKDNS_TOKEN"]]]);
        assert!(duckdns.optional().any(|it| it == ("DUCKDNS_PROPAGATION_TIMEOUT", Some("60"))));
        assert!(find("manual").unwrap().needed().is_empty());
        for provider in all() {
            for (name, default) in provider.optional() {
                let needed = provider.needed().concat().concat();
                assert!(!needed.contains(&name), "{}: {name}", provider.code);
                let number = default.is_none_or(|text| text.parse::<u32>().is_ok());
                assert!(number, "{}: {name}", provider.code);
            }
        }
    }

    #[test]
    fn missing_variables_are_named() {
        let missing =
            |code: &str, set: &[&str]| find(code).unwrap().missing(|it| set.contains(&it));
        assert_eq!(missing("desec", &[]), ["DESEC_TOKEN"]);
        assert!(missing("desec", &["DESEC_TOKEN_FILE"]).is_empty());
        assert_eq!(missing("autodns", &["AUTODNS_API_USER"]), ["AUTODNS_API_PASSWORD"]);
        assert!(missing("manual", &[]).is_empty() && missing("route53", &[]).is_empty());
    }

    #[test]
    fn one_whole_set_of_variables_is_enough_and_the_nearest_one_is_named() {
        let missing = |code: &str, set: &[&str]| {
            find(code).unwrap().missing(|it| set.contains(&it)).join(", ")
        };
        assert_eq!(missing("cloudflare", &["CF_DNS_API_TOKEN"]), "");
        assert_eq!(missing("cloudflare", &["CF_API_EMAIL", "CLOUDFLARE_API_KEY_FILE"]), "");
        assert_eq!(missing("cloudflare", &["CF_API_EMAIL"]), "CLOUDFLARE_API_KEY (or CF_API_KEY)");
        assert_eq!(
            missing("cloudflare", &["CF_ZONE_API_TOKEN"]),
            "CLOUDFLARE_DNS_API_TOKEN (or CF_DNS_API_TOKEN); or CLOUDFLARE_EMAIL (or \
             CF_API_EMAIL), CLOUDFLARE_API_KEY (or CF_API_KEY)"
        );
        assert_eq!(missing("rfc2136", &["RFC2136_NAMESERVER"]), "");
        assert_eq!(missing("ovh", &["OVH_ENDPOINT", "OVH_CLIENT_ID"]), "OVH_CLIENT_SECRET");
        assert_eq!(missing("joker", &["JOKER_USERNAME", "JOKER_PASSWORD"]), "");
        assert_eq!(missing("cloudns", &["CLOUDNS_SUB_AUTH_ID", "CLOUDNS_AUTH_PASSWORD"]), "");
        assert_eq!(missing("mythicbeasts", &["MYTHICBEASTS_USER_NAME"]), "MYTHICBEASTS_PASSWORD");
        assert_eq!(missing("alidns", &["ALICLOUD_ACCESS_KEY"]), "ALICLOUD_SECRET_KEY");
    }

    #[test]
    fn variables_are_names_of_variables() {
        for provider in all() {
            let needed = provider.needs.split([';', ',', '|']).filter(|name| !name.is_empty());
            for name in needed.chain(provider.optional().map(|(name, _)| name)) {
                let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
                assert!(name.len() > 3 && name.chars().all(fits), "{}: {name}", provider.code);
            }
        }
    }
}
