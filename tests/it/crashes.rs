//! Killed after every single write that anybody outside sees, with its reply never read: the
//! certificate comes, with one finalize, one account, and nothing left over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::look;
use crate::parts::front::{Asked, Front, Turn};
use crate::parts::stand::Stand;
use crate::stand;

/// Between looks at whether a write was held or everything is done.
const LOOK: Duration = Duration::from_millis(100);

/// Lease and Events are no steps of an order.
fn is_write_to_api(asked: &Asked) -> bool {
    asked.changes() && !asked.target.contains("/leases") && !asked.target.contains("/events")
}

/// Reading is a POST without payload (RFC 8555 §6.3).
fn is_write_to_ca(asked: &Asked) -> bool {
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let payload = body["payload"].as_str().unwrap_or_default();
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
    let looks_for = String::from_utf8_lossy(&payload).contains("onlyReturnExisting");
    asked.changes() && !payload.is_empty() && !looks_for
}

/// What a write is for, without what differs from one certificate to the next: the first part of a
/// path of the CA, or the resource and whose record it is.
fn kind_of(asked: &Asked) -> String {
    let path = asked.target.split('?').next().unwrap();
    let mut parts =
        path.trim_start_matches('/').split('/').skip_while(|part| *part != "namespaces");
    let Some(resource) = parts.nth(2) else {
        return path.split('/').nth(1).unwrap().to_owned();
    };
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let name = parts.next().or_else(|| body["metadata"]["name"].as_str()).unwrap_or_default();
    let known = ["routecert-state", "routecert-account", "routecert-challenges", "rc-"];
    let whose = known.into_iter().find(|known| name.starts_with(known)).unwrap_or("the route's");
    format!("{resource} of {whose}")
}

/// How often each kind of write was seen.
type Counts = Arc<Mutex<BTreeMap<String, usize>>>;

/// The two proxies before CA and API server.
struct Fronts {
    ca: Front,
    api: Front,
}

impl Fronts {
    /// From now on the write of this kind and number, the first is 0, is done, and its reply held.
    fn hold(&self, which: Option<(&str, usize)>) -> Counts {
        let counts = Counts::default();
        let script = |is_write: fn(&Asked) -> bool| {
            let counts = Arc::clone(&counts);
            let which = which.map(|(kind, number)| (kind.to_owned(), number));
            move |asked: &Asked| {
                if !is_write(asked) {
                    return Turn::Pass;
                }
                let kind = kind_of(asked);
                let mut counts = counts.lock().unwrap();
                let count = counts.entry(kind.clone()).or_default();
                let due = which.as_ref() == Some(&(kind, *count));
                *count += 1;
                if due { Turn::Hold } else { Turn::Pass }
            }
        };
        self.ca.script(script(is_write_to_ca));
        self.api.script(script(is_write_to_api));
        counts
    }

    fn held(&self) -> Option<String> {
        self.ca.await_held(LOOK).or_else(|| self.api.await_held(LOOK))
    }
}

/// Every time a new account, so that its writes are in the matrix too; and nobody waits for the
/// lease of the dead.
fn start_anew(stand: &Stand<'_>) {
    let system = stand.settings.controller_namespace.as_str();
    let kubectl = |args: &[&str]| stand.cluster.kubectl(args, "");
    kubectl(&["delete", "secret", "-n", system, "-l", "routecert.dev/kind=account"]);
    bury(stand);
}

fn bury(stand: &Stand<'_>) {
    let system = stand.settings.controller_namespace.as_str();
    let args = ["delete", "lease", "-n", system, "routecert-controller", "--ignore-not-found"];
    stand.cluster.kubectl(&args, "");
}

/// The certificate is there and counted, its copy is filled, no answer is left, the route is told.
async fn is_done(stand: &Stand<'_>, host: &str) -> Result<(), String> {
    let states = look::states(stand).await?;
    let state = states.get(host).ok_or("no state")?;
    let issued = state["issued"].as_array().map_or(0, Vec::len);
    if issued != 1 || !state["pending"].is_null() || !state["failures"].is_null() {
        return Err(format!("{state}"));
    }
    look::secret(stand, host).await?;
    let answers = look::challenges(stand).await?;
    let reason = stand.reason(host).await?;
    if answers == 0 && reason == "Issued" { Ok(()) } else { Err(format!("{answers}, {reason}")) }
}

/// What was held, or `None` if all was done without.
async fn held_or_done(stand: &Stand<'_>, fronts: &Fronts, host: &str) -> Option<String> {
    stand
        .eventually("a held write, or the certificate", async || {
            if let Some(held) = fronts.held() {
                return Ok(Some(held));
            }
            is_done(stand, host).await.map(|()| None)
        })
        .await
}

#[tokio::test]
async fn killed_after_any_write_the_same_order_goes_on() {
    let mut stand = stand("crashes").await;
    let fronts = Fronts { ca: stand.ca.front(), api: stand.cluster.front() };
    stand.settings.ca_server = format!("https://127.0.0.1:{}/dir", fronts.ca.port);
    let straight = stand.controller.clone();
    let through = stand.cluster.through(&fronts.api, &straight);
    let _proxy = stand.start_proxy();
    let mut stands = Stands { stand, fronts, through, made: 0 };
    let (held, counts) = stands.one(None).await;
    assert_eq!(held, None);
    let all: BTreeMap<String, usize> = counts.lock().unwrap().clone();
    for kind in ["order-plz", "sign-me-up", "chalZ", "finalize-order"] {
        assert!(all.contains_key(kind), "no write to {kind}: {all:?}");
    }
    for (kind, count) in &all {
        for number in 0..*count {
            let (held, _) = stands.one(Some((kind, number))).await;
            assert!(held.is_some() || number > 0, "{kind} was not held");
        }
    }
}

struct Stands<'c> {
    stand: Stand<'c>,
    fronts: Fronts,
    /// kubeconfig through the proxy.
    through: PathBuf,
    made: usize,
}

impl Stands<'_> {
    /// One certificate, with the controller killed at this write of its making. Returns what was
    /// held, and the writes up to then.
    async fn one(&mut self, which: Option<(&str, usize)>) -> (Option<String>, Counts) {
        let Self { stand, fronts, through, made } = self;
        let host = format!("h{made}.example.com");
        *made += 1;
        start_anew(stand);
        let before = (stand.ca.orders(), stand.ca.issued(), stand.ca.accounts());
        through.clone_into(&mut stand.controller);
        fronts.hold(None);
        let first = stand.start_controller();
        look::logs(stand, &first, "everything is known").await;
        let counts = fronts.hold(which);
        let tls = format!("{{certResolver: le, secretName: {host}}}");
        stand.route(&host, &format!("Host(`{host}`)"), &tls);
        let held = held_or_done(stand, fronts, &host).await;
        drop(first);
        if held.is_some() {
            fronts.hold(None);
            bury(stand);
            let _second = stand.start_controller();
            let done = async || is_done(stand, &host).await;
            stand.eventually("the certificate after a crash", done).await;
        }
        let orders = stand.ca.orders() - before.0;
        // What is only shown is written beside the order, maybe just before its URL is stored.
        let beside = |kind: &str| {
            kind == "order-plz"
                || kind.contains("the route's")
                || kind.starts_with("acmecertificates")
        };
        let unseen = which.is_some_and(|(kind, _)| beside(kind));
        assert!(orders == 1 || (unseen && orders == 2), "{orders} orders after {held:?}");
        assert_eq!(stand.ca.issued() - before.1, 1, "issued, after {held:?}");
        assert_eq!(stand.ca.accounts() - before.2, 1, "accounts, after {held:?}");
        (held, counts)
    }
}
