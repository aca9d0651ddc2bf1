//! DNS-01 from a route to a certificate: a real CA that asks a real name server, which the
//! controller updates.

use serde_json::Value;

use crate::look;
use crate::parts::ca::Ca;
use crate::parts::named::{self, Named, SECRET, Setup, Zone};
use crate::parts::stand::Stand;
use crate::stand;

const RECORD: &str = "_acme-challenge.example.com";
const BOTH: &str = "{certResolver: le, domains: [{main: example.com, sans: ['*.example.com']}]}";

/// BIND with example.com, and a stand whose resolver can do DNS-01 alone and whose CA asks BIND.
async fn dns_stand(
    prefix: &str,
    more: &str,
    env: &[(&'static str, &str)],
) -> (Stand<'static>, Named) {
    let zone = Zone::Primary("example.com", "@ IN A 127.0.0.1\n* IN A 127.0.0.1".to_owned());
    let setup = Setup { keys: vec![("key256", "hmac-sha256")], zones: vec![zone] };
    let bind = Named::start(named::address(), &setup);
    let mut stand = stand(prefix).await;
    let settings = &mut stand.settings;
    stand.ca = Ca::start_asking(Some(bind.server()), settings.web, &[], &Value::Null);
    settings.ca_server = stand.ca.directory();
    settings.trust.clone_from(&stand.ca.trust);
    let server = bind.server();
    settings.own = vec![format!("selfCheck: {{resolvers: ['{server}']}}")];
    let challenge = format!("{{provider: rfc2136, resolvers: ['{server}']{more}}}");
    settings.acme = vec![("", "httpChallenge", String::new()), ("", "dnsChallenge", challenge)];
    let variables = [
        ("RFC2136_NAMESERVER", bind.address.to_string()),
        ("RFC2136_TSIG_KEY", "key256.".to_owned()),
        ("RFC2136_TSIG_SECRET", SECRET.to_owned()),
        ("RFC2136_TSIG_ALGORITHM", "hmac-sha256.".to_owned()),
        ("RFC2136_POLLING_INTERVAL", "1".to_owned()),
    ];
    let more = env.iter().map(|(name, value)| (*name, (*value).to_owned()));
    settings.env = variables.into_iter().chain(more).collect();
    (stand, bind)
}

/// Waits until so many values are at the name of the record.
async fn values(stand: &Stand<'_>, bind: &Named, count: usize) {
    let there = async || match bind.txt(RECORD) {
        values if values.len() == count => Ok(()),
        values => Err(format!("{values:?}")),
    };
    stand.eventually(&format!("{count} TXT values"), there).await;
}

/// Nothing is in flight, and no record is listed.
async fn at_rest(stand: &Stand<'_>) {
    let rest = async || {
        let states = look::states(stand).await?;
        let calm = |state: &Value| {
            ["pending", "records", "failures"].iter().all(|key| state[key].is_null())
        };
        if states.values().all(calm) { Ok(()) } else { Err(format!("{states:?}")) }
    };
    stand.eventually("states at rest", rest).await;
}

#[tokio::test]
async fn root_and_wildcard_are_proven_by_two_values_at_one_name_which_are_gone_after_it() {
    let slowly = ", propagation: {delayBeforeChecks: 1}";
    let (stand, bind) = dns_stand("dns-both", slowly, &[]).await;
    let _controller = stand.start_controller();
    stand.route("blog", "Host(`example.com`)", BOTH);
    values(&stand, &bind, 2).await;
    let states = look::states(&stand).await.unwrap();
    let records = states["example.com,*.example.com"]["records"].as_array().unwrap().len();
    assert_eq!(records, 2, "{states:?}");
    let issued = stand.certificate("example.com,*.example.com").await;
    issued.chain.verify(&stand.ca.root(), "any.example.com").unwrap();
    assert_eq!(bind.txt(RECORD), [""; 0]);
    at_rest(&stand).await;
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (1, 1));
}

#[tokio::test]
async fn a_provider_that_has_one_record_after_another_is_given_one_after_another() {
    let sequence = [("RFC2136_SEQUENCE_INTERVAL", "1")];
    let (stand, bind) = dns_stand("dns-sequence", "", &sequence).await;
    let controller = stand.start_controller();
    stand.route("blog", "Host(`example.com`)", BOTH);
    stand.certificate("example.com,*.example.com").await;
    let log = controller.process.log();
    let steps = log.lines().filter_map(|line| {
        ["TXT record set", "TXT record unset"].into_iter().find(|step| line.contains(step))
    });
    let steps: Vec<&str> = steps.collect();
    assert_eq!(steps, ["TXT record set", "TXT record unset"].repeat(2));
    assert_eq!(bind.txt(RECORD), [""; 0]);
    assert_eq!(stand.ca.orders(), 1);
}

#[tokio::test]
async fn killed_while_its_records_are_there_the_next_leader_goes_on_and_leaves_none() {
    let slowly = ", propagation: {delayBeforeChecks: 5}";
    let (stand, bind) = dns_stand("dns-killed", slowly, &[]).await;
    let controller = stand.start_controller();
    stand.route("blog", "Host(`example.com`)", BOTH);
    values(&stand, &bind, 2).await;
    controller.process.kill();
    look::bury(&stand);
    let controller = stand.start_controller();
    stand.certificate("example.com,*.example.com").await;
    at_rest(&stand).await;
    assert_eq!(bind.txt(RECORD), [""; 0]);
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (1, 1));
    drop(controller);
}

#[tokio::test]
async fn records_of_a_route_that_went_while_nobody_led_are_unset_all_the_same() {
    let slowly = ", propagation: {delayBeforeChecks: 5}";
    let (stand, bind) = dns_stand("dns-orphans", slowly, &[]).await;
    let controller = stand.start_controller();
    stand.route("blog", "Host(`example.com`)", BOTH);
    values(&stand, &bind, 2).await;
    controller.process.kill();
    look::bury(&stand);
    stand.delete_route("blog");
    let _controller = stand.start_controller();
    values(&stand, &bind, 0).await;
    assert_eq!(stand.ca.issued(), 0);
}

#[tokio::test]
async fn a_server_that_refuses_the_update_is_told_with_its_answer_and_the_order_waits() {
    let wrong = [("RFC2136_TSIG_KEY", "other.")];
    let (stand, bind) = dns_stand("dns-refused", "", &wrong).await;
    let _controller = stand.start_controller();
    stand.route("blog", "Host(`example.com`)", BOTH);
    let condition = look::told(&stand, "blog", "Failed").await;
    let message = condition["message"].as_str().unwrap();
    assert!(message.contains("dnsupdate") && message.contains("tried again after"), "{message}");
    assert!(!message.contains(SECRET), "{message}");
    assert_eq!(bind.txt(RECORD), [""; 0]);
    assert_eq!(stand.ca.validations(), 0);
}
