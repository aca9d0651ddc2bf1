//! Routes that get nothing: in silence if they ask for nothing, else with the reason.

use crate::look::{self, LE};
use crate::stand;

#[tokio::test]
async fn a_traefik_route_with_an_unknown_resolver_gets_one_event_over_restarts() {
    let stand = stand("events").await;
    let controller = stand.start_controller();
    stand.traefik_route("theirs", "Host(`a.example.com`)", "{certResolver: nobody}");
    let event = look::event(&stand, "theirs").await;
    assert_eq!((&event["type"], &event["reason"]), (&"Warning".into(), &"UnknownResolver".into()));
    assert_eq!(event["regarding"]["apiVersion"], "traefik.io/v1alpha1");
    let note = event["note"].as_str().unwrap();
    assert!(note.contains("`nobody`") && note.ends_with("known: le"), "{note}");

    controller.process.terminate(std::time::Duration::from_secs(10));
    let _controller = stand.start_controller();
    look::fence(&stand, "fence").await;
    assert_eq!(look::events(&stand, "theirs"), [event]);
    assert_eq!(stand.ca.requests(), 0);
}

#[tokio::test]
async fn a_route_without_a_resolver_is_left_in_silence() {
    let stand = stand("silence").await;
    let _controller = stand.start_controller();
    stand.route("empty-tls", "Host(`a.example.com`)", "{}");
    stand.route("no-tls", "Host(`a.example.com`)", "null");
    stand.traefik_route("empty-tls-theirs", "Host(`a.example.com`)", "{}");
    stand.traefik_route("no-tls-theirs", "Host(`a.example.com`)", "null");
    look::fence(&stand, "fence").await;
    for route in ["empty-tls", "no-tls"] {
        assert!(stand.object("IngressRoute", route).await.unwrap()["status"].is_null(), "{route}");
    }
    let all = look::versions(&stand);
    let written = |place: &&String| place.starts_with("AcmeCert") || place.starts_with("Event");
    assert_eq!(all.keys().find(written), None, "{all:?}");
    assert_eq!(stand.ca.requests(), 0);
}

#[tokio::test]
async fn fields_without_effect_are_named_in_the_condition() {
    let stand = stand("unknown-fields").await;
    let _controller = stand.start_controller();
    stand.cluster.apply(&format!(
        "apiVersion: routecert.dev/v1alpha1
kind: IngressRoute
metadata: {{name: typos, namespace: {}}}
spec:
  entryPoint: [websecure]
  routes: [{{match: PathPrefix(`/`), kind: Rule, service: []}}]
  tls: {{certResolver: le, certresolver: le}}
",
        stand.routes
    ));
    let condition = look::told(&stand, "typos", "NoNames").await;
    let message = condition["message"].as_str().unwrap();
    for field in ["spec.entryPoint", "spec.routes[0].service", "spec.tls.certresolver"] {
        assert!(message.contains(field), "{field} is not in: {message}");
    }
}

#[tokio::test]
async fn a_rule_that_does_not_parse_is_refused_with_its_place_and_costs_only_itself() {
    let stand = stand("bad-rule").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("broken", "Host(`a.example.com`) && Pfad(`/`)", LE);
    stand.traefik_route("broken-theirs", "Host(`a.example.com`", LE);
    stand.route("good", "Host(`b.example.com`)", LE);
    let condition = look::told(&stand, "broken", "InvalidRule").await;
    let message = condition["message"].as_str().unwrap();
    assert!(message.contains("Pfad") && message.contains("26"), "{message}");
    assert_eq!(look::event(&stand, "broken-theirs").await["reason"], "InvalidRule");
    stand.certificate("b.example.com").await;
    assert_eq!(stand.ca.orders(), 1);
}
