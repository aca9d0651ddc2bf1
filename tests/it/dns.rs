//! TXT records at a real name server: where they belong, who sees them, and that nothing else is
//! touched.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record, RecordType};
use jiff::{SignedDuration, Timestamp};
use routecert::dns::{Account, Engine, Error, Handle, Task, Variables};
use routecert::http;
use routecert::name::Name;
use routecert::resolver::{CaTrust, DnsChallenge, DnsSwitches, Propagation};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::parts::named::{self, Named, SECRET, Setup, Zone};
use crate::parts::process;

const KEYS: [(&str, &str); 5] = [
    ("key1", "hmac-sha1"),
    ("key224", "hmac-sha224"),
    ("key256", "hmac-sha256"),
    ("key384", "hmac-sha384"),
    ("key512", "hmac-sha512"),
];

fn engine_of(challenge: &DnsChallenge) -> Engine {
    let client = http::Client::for_apis(&CaTrust::default(), Duration::from_secs(10)).unwrap();
    Engine::new(challenge, Arc::new(client))
}

fn challenge(servers: &[&Named]) -> DnsChallenge {
    DnsChallenge {
        provider: "dnsupdate".to_owned(),
        resolvers: servers.iter().map(|server| server.server()).collect(),
        ..DnsChallenge::default()
    }
}

fn engine(servers: &[&Named]) -> Engine {
    engine_of(&challenge(servers))
}

/// An account at `server`, with `more` variables behind `RFC2136_`.
fn account(server: &Named, more: &[(&str, &str)]) -> Account {
    let address = server.address.to_string();
    let usual = [
        ("NAMESERVER", address.as_str()),
        ("TSIG_KEY", "key256."),
        ("TSIG_SECRET", SECRET),
        ("TSIG_ALGORITHM", "hmac-sha256."),
        ("PROPAGATION_TIMEOUT", "20"),
        ("POLLING_INTERVAL", "1"),
    ];
    let all = usual
        .iter()
        .chain(more)
        .map(|(end, value)| (format!("RFC2136_{end}"), (*value).to_owned()));
    let variables = Variables::given(all.collect::<BTreeMap<_, _>>());
    Account { code: "rfc2136".to_owned(), variables }
}

fn primary(zones: &[(&'static str, &str)]) -> Named {
    at(named::address(), zones)
}

fn at(address: Ipv4Addr, zones: &[(&'static str, &str)]) -> Named {
    let zones = zones.iter().map(|(name, records)| Zone::Primary(name, (*records).to_owned()));
    Named::start(address, &Setup { keys: KEYS.to_vec(), zones: zones.collect() })
}

/// A server that looks up for others, each zone at the server beside it.
fn recursive(zones: &[(&'static str, &Named)]) -> Named {
    let zones = zones.iter().map(|(name, server)| Zone::At(name, server.address)).collect();
    Named::start(named::address(), &Setup { keys: Vec::new(), zones })
}

#[expect(clippy::disallowed_methods, reason = "a test is the shell of what it calls")]
fn now() -> Timestamp {
    Timestamp::now()
}

async fn task(engine: &Engine, domain: &str, token: &str) -> Task {
    let domain = Name::parse(domain).unwrap();
    engine.task(&domain, token, &format!("{token}.thumbprint")).await.unwrap()
}

async fn set(engine: &Engine, account: &Account, task: &Task) -> Handle {
    engine.set(account, task, now()).await.unwrap()
}

async fn unset(engine: &Engine, account: &Account, task: &Task) {
    engine.unset(account, task, None, now()).await.unwrap();
}

async fn visible(engine: &Engine, account: &Account, task: &Task) -> Result<(), Error> {
    engine.wait_visible(account, std::slice::from_ref(task), now()).await
}

#[tokio::test]
async fn the_record_of_a_name_whose_cname_leads_to_another_account_is_made_there() {
    let foo = primary(&[("example.org", "_acme-challenge IN CNAME challenge.example.com.")]);
    let bar = primary(&[("example.com", "")]);
    let recursive = recursive(&[("example.org", &foo), ("example.com", &bar)]);
    // A resolver of one's own, or just the zones' own servers.
    for engine in [engine(&[&recursive]), engine(&[&foo, &bar])] {
        let account = account(&bar, &[]);
        let task = task(&engine, "example.org", "t1").await;
        assert_eq!(task.fqdn, "challenge.example.com");
        assert_eq!(engine.zone_of(&task.fqdn).await.unwrap(), "example.com");
        let handle = set(&engine, &account, &task).await;
        visible(&engine, &account, &task).await.unwrap();
        assert_eq!(bar.txt("challenge.example.com"), [task.value.as_str()]);
        engine.unset(&account, &task, Some(&handle), now()).await.unwrap();
        assert!(bar.txt("challenge.example.com").is_empty());
    }
    assert!(foo.dig(&["+short", "SOA", "example.org"]).contains(" 1 3600 "), "untouched");
}

#[tokio::test]
async fn below_a_delegation_only_the_servers_of_the_child_are_asked() {
    let [above, below] = [named::address(), named::address()];
    let glue = format!("acme IN NS ns.acme\nns.acme IN A {below}");
    let domain = primary(&[("d36.example", "_acme-challenge IN CNAME 4242.acme.d36dns.example.")]);
    let parent = at(above, &[("d36dns.example", &glue)]);
    let child = at(below, &[("acme.d36dns.example", "")]);
    let recursive = recursive(&[("d36.example", &domain), ("d36dns.example", &parent)]);
    for (engine, token) in [(engine(&[&recursive]), "a"), (engine(&[&domain, &parent]), "b")] {
        let account = account(&child, &[]);
        let task = task(&engine, "d36.example", token).await;
        assert_eq!(task.fqdn, "4242.acme.d36dns.example");
        assert_eq!(engine.zone_of(&task.fqdn).await.unwrap(), "acme.d36dns.example");
        set(&engine, &account, &task).await;
        visible(&engine, &account, &task).await.unwrap();
        unset(&engine, &account, &task).await;
    }
    assert_eq!(parent.asked(&["4242.acme.d36dns.example IN TXT"]), 0);
    assert!(child.asked(&["4242.acme.d36dns.example IN TXT"]) > 0);
}

/// Stands for a server like acme-dns, which answers for TXT below its name and for nothing else.
struct FakeAcmeDns {
    value: Arc<Mutex<Option<String>>>,
    _serving: JoinSet<()>,
}

impl FakeAcmeDns {
    async fn start(address: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((address, 53)).await.unwrap();
        let value = Arc::new(Mutex::new(None));
        let mut serving = JoinSet::new();
        let held = Arc::clone(&value);
        serving.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let answer = Self::answer(&buffer[..length], held.lock().unwrap().clone());
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { value, _serving: serving }
    }

    fn answer(question: &[u8], value: Option<String>) -> Vec<u8> {
        let question = Message::from_vec(question).unwrap();
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.authoritative = true;
        let query = question.queries[0].clone();
        answer.metadata.response_code = match (query.query_type, value) {
            (RecordType::TXT, Some(value)) => {
                let data = RData::TXT(TXT::new(vec![value]));
                answer.add_answer(Record::from_rdata(query.name.clone(), 1, data));
                ResponseCode::NoError
            }
            (RecordType::TXT, None) => ResponseCode::NXDomain,
            _ => ResponseCode::Refused,
        };
        answer.add_query(query);
        answer.to_vec().unwrap()
    }
}

#[tokio::test]
async fn a_child_that_knows_nothing_but_txt_is_found_by_its_delegation() {
    let below = named::address();
    let glue = format!("acme IN NS ns.acme\nns.acme IN A {below}");
    let parent = primary(&[
        ("d36.example", "_acme-challenge IN CNAME 4242.acme.d36dns.example."),
        ("d36dns.example", &glue),
    ]);
    let child = FakeAcmeDns::start(below).await;
    let recursive = recursive(&[("d36.example", &parent), ("d36dns.example", &parent)]);
    for engine in [engine(&[&recursive]), engine(&[&parent])] {
        *child.value.lock().unwrap() = None;
        let impatient = account(&parent, &[("PROPAGATION_TIMEOUT", "1")]);
        let task = task(&engine, "d36.example", "t").await;
        assert_eq!(task.fqdn, "4242.acme.d36dns.example");
        let error = visible(&engine, &impatient, &task).await.unwrap_err().to_string();
        assert!(error.contains("ns.acme.d36dns.example") && error.contains("NXDOMAIN"), "{error}");
        *child.value.lock().unwrap() = Some(task.value.clone());
        visible(&engine, &impatient, &task).await.unwrap();
    }
}

#[tokio::test]
async fn other_values_at_the_name_live() {
    let server = primary(&[(
        "d40.example",
        "@ IN TXT \"v=spf1 -all\"\n@ IN A 192.0.2.1\n_acme-challenge IN CNAME d40.example.",
    )]);
    let engine = engine(&[&server]);
    let account = account(&server, &[]);
    let root = task(&engine, "d40.example", "root").await;
    let wildcard = task(&engine, "*.d40.example", "wildcard").await;
    assert_eq!((root.fqdn.as_str(), &root.domain), ("d40.example", &wildcard.domain));
    set(&engine, &account, &root).await;
    set(&engine, &account, &wildcard).await;
    // Done again after a crash, it is still one.
    set(&engine, &account, &wildcard).await;
    let both = [root.clone(), wildcard.clone()];
    engine.wait_visible(&account, &both, now()).await.unwrap();
    let mut expected = vec!["v=spf1 -all", &root.value, &wildcard.value];
    expected.sort_unstable();
    assert_eq!(server.txt("d40.example"), expected);
    unset(&engine, &account, &root).await;
    assert!(server.txt("d40.example").contains(&wildcard.value));
    unset(&engine, &account, &wildcard).await;
    unset(&engine, &account, &wildcard).await;
    assert_eq!(server.txt("d40.example"), ["v=spf1 -all"]);
    assert_eq!(server.dig(&["+short", "A", "d40.example"]).trim(), "192.0.2.1");
}

#[tokio::test]
async fn a_cname_that_only_a_wildcard_makes_is_not_followed() {
    let server = primary(&[
        (
            "w.example",
            "* IN CNAME app.hosting.example.
_acme-challenge.made IN CNAME app.hosting.example.
_acme-challenge.far IN CNAME there.w2.example.",
        ),
        ("w2.example", ""),
        ("hosting.example", "app IN A 192.0.2.1"),
    ]);
    let engine = engine(&[&server]);
    let fqdn = async |domain: &str| task(&engine, domain, "t").await.fqdn;
    assert_eq!(fqdn("w.example").await, "_acme-challenge.w.example");
    assert_eq!(fqdn("a.b.w.example").await, "_acme-challenge.a.b.w.example");
    assert_eq!(fqdn("made.w.example").await, "app.hosting.example");
    assert_eq!(fqdn("far.w.example").await, "there.w2.example");

    // The record takes the wildcard's place.
    let account = account(&server, &[]);
    let task = task(&engine, "a.w.example", "t").await;
    set(&engine, &account, &task).await;
    visible(&engine, &account, &task).await.unwrap();
    unset(&engine, &account, &task).await;

    let switches = DnsSwitches { disable_cname_support: true, ..DnsSwitches::default() };
    let off = engine_of(&DnsChallenge { switches, ..challenge(&[&server]) });
    let task = crate::dns::task(&off, "far.w.example", "t").await;
    assert_eq!(task.fqdn, "_acme-challenge.far.w.example");
}

#[tokio::test]
async fn cnames_in_a_circle_are_an_error_that_names_them() {
    let server = primary(&[(
        "loop.example",
        "_acme-challenge IN CNAME b.loop.example.\nb IN CNAME _acme-challenge.loop.example.",
    )]);
    let name = Name::parse("loop.example").unwrap();
    let error = engine(&[&server]).task(&name, "t", "t.k").await.unwrap_err();
    assert!(matches!(error, Error::Alias { .. }), "{error}");
    assert!(error.to_string().contains("_acme-challenge.loop.example"), "{error}");
}

#[tokio::test]
async fn every_algorithm_of_tsig_is_understood() {
    let server = primary(&[("keys.example", "")]);
    let engine = engine(&[&server]);
    for (name, algorithm) in KEYS {
        let account = account(&server, &[("TSIG_KEY", name), ("TSIG_ALGORITHM", algorithm)]);
        let task = task(&engine, "keys.example", name).await;
        set(&engine, &account, &task).await;
        assert_eq!(server.txt(&task.fqdn), [task.value.as_str()], "{algorithm}");
        unset(&engine, &account, &task).await;
        assert!(server.txt(&task.fqdn).is_empty(), "{algorithm}");
    }
    // As `tsig-keygen` writes it, and with each variable in a file.
    let folder = process::new_folder("keys");
    let key = format!("key \"key512\" {{\n\talgorithm hmac-sha512;\n\tsecret \"{SECRET}\";\n}};\n");
    let file = |name: &str, text: &str| process::write(&folder, name, text).display().to_string();
    let from_files = [
        ("RFC2136_NAMESERVER_FILE", file("server", &format!("{}\n", server.server()))),
        ("RFC2136_TSIG_FILE", file("key", &key)),
        ("RFC2136_ZONES", "example, keys.example".to_owned()),
    ];
    let variables: BTreeMap<String, String> =
        from_files.map(|(name, value)| (name.to_owned(), value)).into();
    let code = "dnsupdate".to_owned();
    let of_process = Variables::of_process(Arc::new(variables.clone()));
    let of_files = Account { code: code.clone(), variables: of_process };
    let task = task(&engine, "keys.example", "file").await;
    set(&engine, &of_files, &task).await;
    assert_eq!(server.txt(&task.fqdn), [task.value.as_str()]);
    unset(&engine, &of_files, &task).await;
    let of_object = Account { code, variables: Variables::given(variables) };
    let error = engine.set(&of_object, &task, now()).await.unwrap_err();
    assert!(matches!(error, Error::Settings { .. }), "{error}");

    // Without the variable it is SHA-1.
    let sha1 = account(&server, &[("TSIG_KEY", "key1"), ("TSIG_ALGORITHM", "")]);
    set(&engine, &sha1, &task).await;
    assert_eq!(server.txt(&task.fqdn), [task.value.as_str()]);
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_told_in_plain_words() {
    let server = primary(&[("wrong.example", "")]);
    let engine = engine(&[&server]);
    let task = task(&engine, "wrong.example", "t").await;
    let refused = async |more: &[(&str, &str)], at: Timestamp| {
        let error = engine.set(&account(&server, more), &task, at).await.unwrap_err();
        assert!(!matches!(error, Error::Unreachable { .. }), "{error}");
        error.to_string()
    };
    let secret = refused(&[("TSIG_SECRET", "d3Jvbmc=")], now()).await;
    assert!(secret.contains("the TSIG secret is not the server's"), "{secret}");
    assert!(
        secret.contains(&server.address.to_string()) && !secret.contains("d3Jvbmc"),
        "{secret}"
    );
    let unknown = refused(&[("TSIG_KEY", "stranger")], now()).await;
    assert!(unknown.contains("no TSIG key of this name"), "{unknown}");
    let clock = refused(&[], now() - SignedDuration::from_hours(1)).await;
    assert!(clock.contains("clocks"), "{clock}");
    let none = refused(&[("TSIG_KEY", ""), ("TSIG_SECRET", "")], now()).await;
    assert!(none.contains("REFUSED") && none.contains("does not allow"), "{none}");
    let algorithm = refused(&[("TSIG_ALGORITHM", "hmac-md5.sig-alg.reg.int.")], now()).await;
    assert!(algorithm.contains("TSIG_ALGORITHM"), "{algorithm}");
    let text = refused(&[("TSIG_SECRET", "n%t base64")], now()).await;
    assert!(text.contains("not base64") && !text.contains("n%t"), "{text}");
    assert!(server.txt(&task.fqdn).is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_and_nothing_else() {
    let server = primary(&[("gone.example", "")]);
    let engine = engine(&[&server]);
    let task = task(&engine, "gone.example", "t").await;
    let nobody = named::address().to_string();
    let account = account(&server, &[("NAMESERVER", &nobody), ("DNS_TIMEOUT", "1")]);
    let error = engine.set(&account, &task, now()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&nobody), "{error}");
}

/// A primary server whose secondary, `ns2`, copies only when it is told to.
fn pair() -> (Named, Named) {
    let [first, second] = [named::address(), named::address()];
    let primary = at(first, &[("pair.example", &format!("@ IN NS ns2\nns2 IN A {second}"))]);
    let zones = vec![Zone::Secondary("pair.example", first)];
    let secondary = Named::start(second, &Setup { keys: Vec::new(), zones });
    (primary, secondary)
}

#[tokio::test]
async fn a_record_is_visible_when_the_slowest_server_has_it() {
    let (primary, secondary) = pair();
    let engine = engine(&[&primary]);
    let impatient = account(&primary, &[("PROPAGATION_TIMEOUT", "2")]);
    let task = task(&engine, "pair.example", "t").await;
    set(&engine, &impatient, &task).await;
    let error = visible(&engine, &impatient, &task).await.unwrap_err().to_string();
    assert!(error.contains("ns2.pair.example") && error.contains("NXDOMAIN"), "{error}");
    assert!(!error.contains("ns1"), "{error}");
    let patient = account(&primary, &[]);
    let told = async {
        // By now it has been asked once more, in vain.
        let before = secondary.asked(&["_acme-challenge.pair.example IN TXT"]);
        while secondary.asked(&["_acme-challenge.pair.example IN TXT"]) == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        secondary.notify("pair.example");
    };
    let (seen, ()) = tokio::join!(visible(&engine, &patient, &task), told);
    seen.unwrap_or_else(|error| panic!("{error}\n{}", secondary.tail()));
    assert_eq!(secondary.txt(&task.fqdn), [task.value.as_str()]);
}

#[tokio::test]
async fn the_settings_say_what_is_waited_for() {
    let (primary, _secondary) = pair();
    let domain = "pair.example";
    let with = |propagation: Propagation| {
        engine_of(&DnsChallenge { propagation, ..challenge(&[&primary]) })
    };
    let account = account(&primary, &[("PROPAGATION_TIMEOUT", "1")]);
    let unchecked = with(Propagation { disable_checks: true, ..Propagation::default() });
    let absent = task(&unchecked, domain, "absent").await;
    visible(&unchecked, &account, &absent).await.unwrap();

    // Neither server of the zone is asked, but the recursive ones are.
    let recursive = with(Propagation {
        disable_ans_checks: true,
        require_all_rns: true,
        ..Propagation::default()
    });
    let error = visible(&recursive, &account, &absent).await.unwrap_err().to_string();
    assert!(error.contains(&primary.server()) && !error.contains("ns2"), "{error}");
    let present = task(&recursive, domain, "present").await;
    set(&recursive, &account, &present).await;
    visible(&recursive, &account, &present).await.unwrap();

    // The delay is waited once, and not counted against the time-out.
    let delay = Duration::from_secs(2);
    let delayed = with(Propagation { delay_before_checks: delay, ..recursive_only() });
    let before = tokio::time::Instant::now();
    visible(&delayed, &account, &present).await.unwrap();
    assert!(before.elapsed() >= delay);
}

fn recursive_only() -> Propagation {
    Propagation { disable_ans_checks: true, require_all_rns: true, ..Propagation::default() }
}

#[tokio::test]
async fn what_does_not_fit_into_a_packet_comes_over_tcp_and_all_does_if_it_is_asked_for() {
    let long = "x".repeat(200);
    let many: Vec<String> =
        (0..20).map(|n| format!("_acme-challenge IN TXT \"{n}-{long}\"")).collect();
    let server = primary(&[("big.example", &many.join("\n"))]);
    let engine = engine(&[&server]);
    let account = account(&server, &[]);
    let task = task(&engine, "big.example", "t").await;
    set(&engine, &account, &task).await;
    visible(&engine, &account, &task).await.unwrap();
    assert!(server.asked(&["IN TXT", "E(0)T"]) > 0);
    unset(&engine, &account, &task).await;
    assert_eq!(server.txt(&task.fqdn).len(), 20);

    let switches = DnsSwitches { tcp_only: true, ..DnsSwitches::default() };
    let over_tcp = engine_of(&DnsChallenge { switches, ..challenge(&[&server]) });
    let asked = || server.asked(&["big.example"]);
    let by_tcp = || server.asked(&["big.example", "T ("]);
    let before = (asked(), by_tcp());
    let task = crate::dns::task(&over_tcp, "big.example", "t2").await;
    set(&over_tcp, &account, &task).await;
    visible(&over_tcp, &account, &task).await.unwrap();
    assert_eq!(asked() - before.0, by_tcp() - before.1);
}

#[tokio::test]
async fn a_suffix_of_registries_is_nobodys_zone() {
    let server = primary(&[("co.uk", ""), ("mine.co.uk", "")]);
    let engine = engine(&[&server]);
    assert_eq!(engine.zone_of("_acme-challenge.mine.co.uk").await.unwrap(), "mine.co.uk");
    let error = engine.zone_of("_acme-challenge.other.co.uk").await.unwrap_err();
    assert!(matches!(error, Error::NoZone { .. }), "{error}");
    let account = account(&server, &[]);
    let task = task(&engine, "other.co.uk", "t").await;
    let error = engine.set(&account, &task, now()).await.unwrap_err().to_string();
    assert!(error.contains("has no zone for"), "{error}");
}
