//! How many writes to the API server a certificate costs.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::parts::stand::Stand;
use crate::stand;

const LE: &str = "{certResolver: le}";

type Writes = BTreeMap<&'static str, usize>;

/// What was written beyond `before`, once nothing is left to be written: a route says that its
/// certificate is issued, the AcmeCertificates do, and no answer is in the challenge table.
async fn since(stand: &Stand<'_>, before: &Writes, certificates: usize) -> Writes {
    stand
        .eventually("everything to be written", async || {
            let shown = stand.cluster.kubectl(
                &[
                    "get",
                    "acmecert",
                    "-n",
                    &stand.routes,
                    "-o",
                    "jsonpath={.items[*].status.reason}",
                ],
                "",
            );
            let issued = shown.split(' ').filter(|reason| *reason == "Issued").count();
            let namespace = &stand.settings.certificates_namespace;
            let table = stand.cluster.kubectl(
                &["get", "configmap", "-n", namespace, "-o", "jsonpath={.items[*].data}"],
                "",
            );
            if issued == certificates && !table.contains("example.com") {
                Ok(())
            } else {
                Err(format!("{issued} are issued; {table}"))
            }
        })
        .await;
    let count = |what: &str| before.get(what).copied().unwrap_or_default();
    let now = stand.writes().into_iter();
    now.map(|(what, now)| (what, now - count(what))).collect()
}

/// As a person does, in the record of the only certificate.
#[expect(clippy::disallowed_methods, reason = "by the clock of the person")]
async fn ask_for_renewal(stand: &Stand<'_>) {
    let namespace = &stand.settings.controller_namespace;
    let secrets: Api<Secret> = Api::namespaced(stand.client.clone(), namespace);
    let states = ListParams::default().labels("routecert.dev/kind=state");
    let mut secret = secrets.list(&states).await.unwrap().items.remove(0);
    let data = secret.data.as_mut().unwrap();
    let mut state: serde_json::Value = serde_json::from_slice(&data["state.json"].0).unwrap();
    state["asked"] = json!({"what": "renew", "at": jiff::Timestamp::now().to_string()});
    data.insert("state.json".to_owned(), ByteString(state.to_string().into_bytes()));
    let name = secret.metadata.name.clone().unwrap();
    secrets.replace(&name, &PostParams::default(), &secret).await.unwrap();
}

#[tokio::test]
async fn a_first_certificate_costs_seven_writes_and_its_renewal_one_fewer() {
    let stand = stand("writes-alone").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let issued = stand.certificate("a.example.com").await;
    let first = since(&stand, &Writes::new(), 1).await;
    assert!(first.values().sum::<usize>() <= 7, "{first:?}");

    let before = stand.writes();
    ask_for_renewal(&stand).await;
    let renewed = async || {
        let now = stand.certificates().await?.remove("a.example.com").ok_or("there is none")?;
        if now.chain == issued.chain { Err("it is the same".to_owned()) } else { Ok(()) }
    };
    stand.eventually("another certificate", renewed).await;
    let renewal = since(&stand, &before, 1).await;
    assert!(renewal.values().sum::<usize>() <= 6, "{renewal:?}");
}

#[tokio::test]
async fn of_many_certificates_at_once_the_challenge_writes_are_shared() {
    const MANY: usize = 96;
    let stand = stand("writes-shared").await;
    let mut routes = String::new();
    for number in 0..MANY {
        let name = format!("host-{number}");
        let rule = format!("Host(`{name}.example.com`)");
        writeln!(routes, "{}---", stand.manifest(&name, &rule, LE)).unwrap();
    }
    stand.cluster.apply(&routes);
    let (_proxy, _controller) = (stand.start_proxy(), stand.start_controller());
    let all = async || {
        let held = stand.certificates().await?.len();
        if held == MANY { Ok(()) } else { Err(format!("{held} are held")) }
    };
    stand.eventually("all certificates", all).await;
    let writes = since(&stand, &Writes::new(), MANY).await;
    let total = writes.values().sum::<usize>();
    assert!(2 * total <= 11 * MANY, "5.5 a certificate at most: {writes:?}");
}
