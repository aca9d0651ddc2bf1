//! Facts about whose account sets a record, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::dns::{Account, Chosen, Engine, Error, Task, Variables};
use crate::http;
use crate::name::Name;
use crate::resolver::{CaTrust, DnsChallenge, Solver};

fn engine(provider: &str, solvers: Vec<Solver>) -> Engine {
    let client = http::Client::for_apis(&CaTrust::default(), Duration::from_secs(1)).unwrap();
    let provider = provider.to_owned();
    let challenge = DnsChallenge { provider, solvers, ..DnsChallenge::default() };
    Engine::new(&challenge, Arc::new(client))
}

fn solver(zones: &[&str]) -> Solver {
    Solver {
        zones: zones.iter().map(|zone| Name::parse(zone).unwrap()).collect(),
        provider: "dnsupdate".to_owned(),
        env: BTreeMap::new(),
        ambient: false,
    }
}

fn task(domain: &str, fqdn: &str) -> Task {
    Task {
        domain: Name::parse(domain).unwrap(),
        fqdn: fqdn.to_owned(),
        value: "v".to_owned(),
        token: "t".to_owned(),
        key_authorization: "t.k".to_owned(),
    }
}

#[test]
fn the_solver_whose_zone_has_the_record_goes_before_the_one_that_has_the_domain() {
    let all = vec![solver(&[]), solver(&["example.org"]), solver(&["x.y", "example.com"])];
    let engine = engine("manual", all.clone());
    let chosen = |domain: &str, fqdn: &str| engine.chosen(&task(domain, fqdn)).unwrap();
    let at = |place: usize| Chosen::Solver(&all[place]);
    assert_eq!(chosen("example.org", "challenge.example.com"), at(2));
    assert_eq!(chosen("a.example.org", "x.elsewhere.net"), at(1));
    assert_eq!(chosen("notexample.org", "_acme-challenge.notexample.org"), at(0));
}

#[test]
fn without_a_solver_that_fits_the_provider_of_the_resolver_is_taken() {
    let others = vec![solver(&["example.org"])];
    let task = task("a.net", "_acme-challenge.a.net");
    let with = engine("manual", others.clone());
    assert_eq!(with.chosen(&task).unwrap(), Chosen::Static("manual"));
    let error = engine("", others).chosen(&task).unwrap_err();
    assert!(matches!(error, Error::Settings { .. }), "{error}");
    assert!(error.to_string().contains("_acme-challenge.a.net"), "{error}");
}

fn account(interval: &str) -> Account {
    let variables = [("RFC2136_NAMESERVER", "192.0.2.1"), ("RFC2136_SEQUENCE_INTERVAL", interval)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Account { code: "rfc2136".to_owned(), variables: Variables::given(variables.into()) }
}

#[tokio::test(start_paused = true)]
async fn one_record_after_another_with_the_interval_between_them() {
    let engine = engine("dnsupdate", Vec::new());
    let begin = Instant::now();
    let turn = async || engine.turn(&account("30"), Timestamp::UNIX_EPOCH).await.unwrap();
    let first = turn().await.unwrap();
    let second = async {
        drop(turn().await.unwrap());
        begin.elapsed()
    };
    let ended = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(first);
    };
    assert_eq!(tokio::join!(second, ended).0, Duration::from_secs(35));
    let none = engine.turn(&account(""), Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(none.is_none(), "without the variable all at once");
}
