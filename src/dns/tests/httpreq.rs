//! `httpreq` against what was recorded of its requests.

use std::sync::Arc;

use serde::Deserialize;

use crate::dns::tests::replay::{Recorded, Replay};
use crate::dns::tests::{context, data, pairs};
use crate::dns::{Error, Task, Variables, provider};
use crate::name::Name;

/// A single request with its answer, and the case that it is of.
#[derive(Debug, Deserialize)]
struct Unit {
    test: String,
    path: String,
    #[serde(flatten)]
    exchange: Recorded,
}

#[tokio::test]
async fn every_single_request_is_as_recorded_and_every_refusal_is_told() {
    let text = std::fs::read_to_string(data("httpreq-unit.jsonl")).unwrap();
    let units: Vec<Unit> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(units.len(), 13);
    for unit in units {
        let status = unit.exchange.status;
        let error = sent(&unit).await;
        assert_eq!(error.is_some(), status >= 400, "{}: {error:?}", unit.test);
        if let Some(error) = error {
            let text = error.to_string();
            assert!(matches!(error, Error::Refused { .. }), "{text}");
            assert!(text.starts_with("httpreq: ") && text.contains(&status.to_string()), "{text}");
        }
    }
}

async fn sent(unit: &Unit) -> Option<Error> {
    let url = format!("http://hook.example{}", unit.path);
    let base = url.rsplit_once('/').unwrap().0.to_owned();
    let cleans = unit.path.ends_with("/cleanup");
    let replay = Replay::start([Recorded { url, ..unit.exchange.clone() }]).await;
    let mut variables = pairs([("HTTPREQ_ENDPOINT", base.as_str())]);
    if unit.test.contains("raw") {
        variables.extend(pairs([("HTTPREQ_MODE", "RAW")]));
    }
    for (case, user, password) in [
        ("Present/basic_auth_fail", "nope", "nope"),
        ("Cleanup/basic_auth_fail", "test", "example"),
        ("basic_auth_success", "user", "secret"),
    ] {
        if unit.test.ends_with(case) {
            variables.extend(pairs([("HTTPREQ_USERNAME", user), ("HTTPREQ_PASSWORD", password)]));
        }
    }
    let task = Task {
        domain: Name::parse("domain").unwrap(),
        fqdn: "_acme-challenge.domain".to_owned(),
        value: "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM".to_owned(),
        token: "token".to_owned(),
        key_authorization: "key".to_owned(),
    };
    let variables = Variables::of_process(Arc::new(variables));
    let made = provider("httpreq", &context(variables, replay.exchange())).unwrap();
    let done =
        if cleans { made.unset(&task, None).await.err() } else { made.set(&task).await.err() };
    assert_eq!(replay.left(""), 0, "{}", unit.test);
    done
}
