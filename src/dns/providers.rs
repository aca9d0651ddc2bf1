//! All providers that are built, by code.

mod acme_dns;
mod dnsupdate;
mod exec;
mod httpreq;
mod manual;

use crate::dns::{Context, Entry, Error, Provider};

/// One line a provider.
pub static PROVIDERS: &[Entry] =
    &[acme_dns::ENTRY, dnsupdate::ENTRY, exec::ENTRY, httpreq::ENTRY, manual::ENTRY];

/// The provider with this code or alias, made from what is set now.
pub fn provider(code: &str, context: &Context) -> Result<Box<dyn Provider>, Error> {
    let entry = PROVIDERS.iter().find(|entry| entry.codes.contains(&code));
    let built = entry.and_then(|entry| Some((entry, *entry.codes.first()?)));
    let Some((entry, code)) = built else {
        let message = format!("the DNS provider `{code}` is not built into this version");
        return Err(Error::Settings { provider: "dnsChallenge", message });
    };
    let variables = context.variables.of(code);
    (entry.build)(&Context { code, variables, ..context.clone() })
}

#[cfg(test)]
mod tests {
    use super::PROVIDERS;
    use crate::provider;

    #[test]
    fn what_is_built_is_what_the_table_says() {
        let mut built: Vec<Vec<&str>> = PROVIDERS.iter().map(|it| it.codes.to_vec()).collect();
        built.sort();
        let table = provider::all().filter(|it| it.built).map(|it| it.codes().collect());
        assert_eq!(built, table.collect::<Vec<Vec<&str>>>());
    }
}
