//! Killed after every single write that anybody outside sees, with its reply never read: the
//! certificate comes, with one finalize, one account, and nothing left over.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::look;
use crate::parts::front::{Asked, Front, Turn};
use crate::parts::stand::Stand;
use crate::stand;

/// More writes than one certificate takes: the matrix ends by itself before.
const MOST: usize = 60;
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

/// The two proxies, which count writes together.
struct Fronts {
    ca: Front,
    api: Front,
}

impl Fronts {
    /// The write number `which` from now on is done, and its reply held.
    fn hold(&self, which: usize) {
        let count = Arc::new(AtomicUsize::new(0));
        let script = |count: Arc<AtomicUsize>, is_write: fn(&Asked) -> bool| {
            move |asked: &Asked| {
                let due = is_write(asked) && count.fetch_add(1, Ordering::SeqCst) == which;
                if due { Turn::Hold } else { Turn::Pass }
            }
        };
        self.ca.script(script(Arc::clone(&count), is_write_to_ca));
        self.api.script(script(count, is_write_to_api));
    }

    fn pass(&self) {
        self.ca.script(|_| Turn::Pass);
        self.api.script(|_| Turn::Pass);
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
    let mut held_at = Vec::new();
    for which in 0..MOST {
        let host = format!("h{which}.example.com");
        start_anew(&stand);
        let before = (stand.ca.orders(), stand.ca.issued(), stand.ca.accounts());
        let held = one(&mut stand, &fronts, (&through, which), &host).await;
        let orders = stand.ca.orders() - before.0;
        let unseen = held.as_deref().is_some_and(|held| held.contains("/order-plz"));
        assert!(orders == 1 || (unseen && orders == 2), "{orders} orders after {held:?}");
        assert_eq!(stand.ca.issued() - before.1, 1, "issued, after {held:?}");
        assert_eq!(stand.ca.accounts() - before.2, 1, "accounts, after {held:?}");
        match held {
            Some(held) => held_at.push(held),
            None => break,
        }
    }
    let seen = |part: &str| held_at.iter().any(|held| held.contains(part));
    for part in ["/order-plz", "/sign-me-up", "/chalZ", "/finalize-order", "/secrets"] {
        assert!(seen(part), "no write to {part} was held: {held_at:?}");
    }
    assert!(held_at.len() < MOST, "the matrix did not end: {held_at:?}");
}

/// One certificate, with the controller killed at write number `which` of its making.
async fn one(
    stand: &mut Stand<'_>,
    fronts: &Fronts,
    (through, which): (&Path, usize),
    host: &str,
) -> Option<String> {
    through.clone_into(&mut stand.controller);
    fronts.pass();
    let first = stand.start_controller();
    look::logs(stand, &first, "everything is known").await;
    fronts.hold(which);
    stand.route(
        host,
        &format!("Host(`{host}`)"),
        &format!("{{certResolver: le, secretName: {host}}}"),
    );
    let held = held_or_done(stand, fronts, host).await;
    drop(first);
    if held.is_some() {
        fronts.pass();
        bury(stand);
        let _second = stand.start_controller();
        stand
            .eventually("the certificate after a crash", async || is_done(stand, host).await)
            .await;
    }
    held
}
