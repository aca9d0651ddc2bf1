//! DNS providers by code: names, and the variables that hold their credentials.

/// One line a provider: code, aliases, name, variables that are needed, those of which one is
/// enough, and `gone` if the service has shut down. Lists have commas; of names with `|` between
/// them one is enough.
const TABLE: &str = include_str!("provider.tsv");

/// A DNS provider as Traefik's configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    pub code: &'static str,
    aliases: &'static str,
    /// For people.
    pub name: &'static str,
    all_of: &'static str,
    any_of: &'static str,
    /// Its service has shut down.
    pub gone: bool,
}

/// All of them, by code.
pub fn all() -> impl Iterator<Item = Provider> {
    TABLE.lines().filter_map(|line| {
        let mut columns = line.split('\t');
        Some(Provider {
            code: columns.next()?,
            aliases: columns.next()?,
            name: columns.next()?,
            all_of: columns.next()?,
            any_of: columns.next()?,
            gone: columns.next()? == "gone",
        })
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

    /// The variables that it needs, for people.
    pub fn needs(&self) -> String {
        let or = |names: &str, mark| names.replace(mark, " or ");
        let all = list(self.all_of).map(|names| or(names, '|'));
        let any = Some(or(self.any_of, ',')).filter(|names| !names.is_empty());
        all.chain(any).collect::<Vec<_>>().join(", ")
    }

    /// What is to be set still; `is_set` knows which variables are. Empty if nothing is known to
    /// be missing.
    pub fn missing(&self, is_set: impl Fn(&str) -> bool) -> Vec<String> {
        let is_set = |name: &str| is_set(name) || is_set(&format!("{name}_FILE"));
        let any = |names: &str| names.split('|').any(is_set);
        let mut missing: Vec<String> = list(self.all_of)
            .filter(|names| !any(names))
            .map(|names| names.replace('|', " or "))
            .collect();
        if !self.any_of.is_empty() && !list(self.any_of).any(is_set) {
            missing.push(self.any_of.replace(',', " or "));
        }
        missing
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
    fn missing_variables_are_named() {
        let missing =
            |code: &str, set: &[&str]| find(code).unwrap().missing(|it| set.contains(&it));
        assert_eq!(missing("desec", &[]), ["DESEC_TOKEN"]);
        assert!(missing("desec", &["DESEC_TOKEN_FILE"]).is_empty());
        assert_eq!(missing("autodns", &["AUTODNS_API_USER"]), ["AUTODNS_API_PASSWORD"]);
        assert!(missing("cloudflare", &["CF_DNS_API_TOKEN"]).is_empty());
        assert!(missing("manual", &[]).is_empty());
    }
}
