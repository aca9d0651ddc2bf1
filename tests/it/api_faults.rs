//! An API server in trouble: what it did and did not say, watches that break, writes refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Response;

use crate::look;
use crate::parts::front::{self, Asked, Front, Turn};
use crate::parts::routecert::Routecert;
use crate::parts::stand::Stand;
use crate::stand;

const COUNT: usize = 5;

/// A stand whose controller reaches the API server through a proxy.
async fn behind(prefix: &str) -> (Stand<'static>, Front) {
    let mut stand = stand(prefix).await;
    let front = stand.cluster.front();
    stand.controller = stand.cluster.through(&front, &stand.controller);
    (stand, front)
}

fn is_write(asked: &Asked) -> bool {
    asked.changes() && !asked.target.contains("/leases")
}

fn apply_routes(stand: &Stand<'_>) {
    for number in 0..COUNT {
        stand.route(&format!("r{number}"), &format!("Host(`h{number}.example.com`)"), look::LE);
    }
}

/// All are issued and shown, once each, and the same controller did it.
async fn all_right(stand: &Stand<'_>, controller: &Routecert) {
    for number in 0..COUNT {
        stand.certificate(&format!("h{number}.example.com")).await;
        look::told(stand, &format!("r{number}"), "Issued").await;
    }
    let rest = async || {
        let answers = look::challenges(stand).await?;
        let states = look::states(stand).await?;
        let calm = states.values().all(|state| state["pending"].is_null());
        if calm && answers == 0 { Ok(()) } else { Err(format!("{answers} answers, {states:?}")) }
    };
    stand.eventually("states at rest and an empty challenge table", rest).await;
    assert_eq!((stand.ca.issued(), stand.ca.accounts()), (COUNT, 1));
    assert!(controller.is_ready());
}

#[tokio::test]
async fn writes_that_were_done_without_a_reply_are_found_done() {
    let (stand, front) = behind("api-lost").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let lost = Arc::new(AtomicUsize::new(0));
    let (count, mut writes) = (Arc::clone(&lost), 0);
    front.script(move |asked| {
        writes += usize::from(is_write(asked));
        let is_third = is_write(asked) && writes % 3 == 0;
        count.fetch_add(usize::from(is_third), Ordering::Relaxed);
        if is_third { Turn::Lose } else { Turn::Pass }
    });
    apply_routes(&stand);
    all_right(&stand, &controller).await;
    assert!(lost.load(Ordering::Relaxed) > COUNT, "hardly any reply was lost");
}

#[tokio::test]
async fn conflicts_and_requests_to_slow_down_cost_no_certificate() {
    let (stand, front) = behind("api-refuses").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let refused = Arc::new(AtomicUsize::new(0));
    let (count, mut writes) = (Arc::clone(&refused), 0);
    front.script(move |asked| {
        writes += usize::from(is_write(asked));
        let turn = match writes % 12 {
            3 if is_write(asked) => front::refused(409, "Conflict"),
            7 if is_write(asked) => front::refused(429, "TooManyRequests"),
            11 if is_write(asked) => front::refused(500, "InternalError"),
            _ => return Turn::Pass,
        };
        count.fetch_add(1, Ordering::Relaxed);
        turn
    });
    apply_routes(&stand);
    all_right(&stand, &controller).await;
    assert!(refused.load(Ordering::Relaxed) > COUNT, "hardly anything was refused");
}

#[tokio::test]
async fn watches_that_break_and_histories_that_are_gone_hide_no_route() {
    let (stand, front) = behind("api-watches").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let gone = Arc::new(AtomicUsize::new(0));
    let (count, mut watches) = (Arc::clone(&gone), 0);
    front.script(move |asked| {
        watches += usize::from(asked.is_watch());
        if !asked.is_watch() || watches % 2 == 0 {
            return Turn::Pass;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Turn::Answer(history_gone())
    });
    front.cut();
    apply_routes(&stand);
    front.cut();
    all_right(&stand, &controller).await;
    assert!(gone.load(Ordering::Relaxed) > 0, "no watch was told that its history is gone");
    front.cut();
    for number in 0..COUNT {
        stand.delete_route(&format!("r{number}"));
    }
    let unused = async || {
        let states = look::states(&stand).await?;
        let unused = states.values().filter(|state| !state["unusedSince"].is_null()).count();
        if unused == COUNT { Ok(()) } else { Err(format!("{unused} are unused")) }
    };
    stand.eventually("all certificates unused", unused).await;
}

/// As the API server ends a watch whose version is compacted away.
fn history_gone() -> Response<Bytes> {
    let event = serde_json::json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
        "status": "Failure", "reason": "Expired", "message": "too old", "code": 410}});
    let mut answer = Response::new(Bytes::from(format!("{event}\n")));
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    answer
}
