//! Very much, very long, very deep, and not for a terminal.

use futures::StreamExt;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};

use crate::look::{self, LE};
use crate::parts::cluster::Cluster;
use crate::tenants::Scene;

/// Of a condition's message and of one line of the log.
const MAX_MESSAGE: usize = 4096;

/// What is said is bounded, and nothing in it is obeyed by a terminal.
fn is_fit_for_people(scene: &Scene, condition: &Value) {
    let message = condition["message"].as_str().unwrap();
    assert!(message.len() <= MAX_MESSAGE, "{} bytes", message.len());
    let all = format!("{message}{}", scene.controller.process.log());
    let obeyed = |letter: char| letter.is_control() && letter != '\n';
    assert_eq!(all.chars().find(|letter| obeyed(*letter)), None, "{all:?}");
    assert!(!all.contains('\u{202e}'), "{all:?}");
    let longest = scene.controller.process.log().lines().map(str::len).max().unwrap();
    assert!(longest <= 2 * MAX_MESSAGE, "a line of {longest} bytes");
}

#[tokio::test]
async fn a_hundred_thousand_names_in_one_route_cost_nobody_else_a_certificate() {
    let scene = Scene::new("names").await;
    let names: Vec<String> = (0..100_000).map(|number| format!("{number:05}.y")).collect();
    let domains = json!({"domains": [{"main": "y.example.org", "sans": names}]});
    // Of our kinds the API server takes no such list.
    let mut route = scene.route("domains", "Host(`y.example.org`)", domains);
    route["apiVersion"] = "traefik.io/v1alpha1".into();
    scene.create(&route);
    let note = scene.event("TooManyNames").await;
    is_fit_for_people(&scene, &json!({"message": note}));
    let rule: Vec<String> = (0..50_000).map(|number| format!("Host(`{number:05}.y`)")).collect();
    scene.create(&scene.route("rule", &rule.join("||"), json!({})));
    let refused = async || {
        let condition = scene.condition("rule");
        if condition["status"] == "False" { Ok(condition) } else { Err(condition.to_string()) }
    };
    let refused = scene.stand.eventually("the long rule to be refused", refused).await;
    is_fit_for_people(&scene, &refused);
    scene.is_unharmed().await;
}

/// Makes this many routes of the tenant, all at once.
async fn flood(scene: &Scene, count: usize, route: impl Fn(usize) -> Value) {
    let kind = GroupVersionKind::gvk("routecert.dev", "v1alpha1", "IngressRoute");
    let resource = ApiResource::from_gvk_with_plural(&kind, "rcingressroutes");
    let client = Cluster::client_of(&scene.tenant).await;
    let api: Api<DynamicObject> = Api::namespaced_with(client, &scene.own, &resource);
    let routes = (0..count).map(|number| {
        let object: DynamicObject = serde_json::from_value(route(number)).unwrap();
        let api = api.clone();
        async move { api.create(&PostParams::default(), &object).await.map(drop) }
    });
    let made: Vec<_> = futures::stream::iter(routes).buffer_unordered(64).collect().await;
    let failed: Vec<_> = made.into_iter().filter_map(Result::err).take(3).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn ten_thousand_routes_of_one_namespace_leave_the_others_their_turn() {
    let scene = Scene::new("flood").await;
    flood(&scene, 10_000, |number| {
        let host = format!("Host(`n{number:05}.example.org`)");
        scene.route(&format!("n{number:05}"), &host, json!({}))
    })
    .await;
    let known = async || match scene.stand.ca.orders() {
        few if few < 34 => Err(format!("{few} orders")),
        _ => Ok(()),
    };
    scene.stand.eventually("the flood to be worked at", known).await;
    let before = scene.stand.ca.orders();
    scene.stand.route("other", "Host(`other.example.com`)", LE);
    scene.stand.certificate("other.example.com").await;
    let between = scene.stand.ca.orders() - before;
    // Those that were under way already, and as many again while this one was got.
    assert!(between < 200, "{between} orders of others came first");
}

#[tokio::test]
async fn thousands_of_routes_for_one_host_and_one_secret_cost_what_they_are() {
    let scene = Scene::new("same").await;
    let host = format!("Host(`{}`)", scene.honest);
    flood(&scene, 2_000, |number| {
        scene.route(&format!("n{number:05}"), &host, json!({"secretName": "honest"}))
    })
    .await;
    scene.stand.route("other", "Host(`other.example.com`)", LE);
    scene.stand.certificate("other.example.com").await;
    scene.stand.certificate(&scene.honest).await;
    assert_eq!(scene.stand.ca.orders(), 3);
}

#[tokio::test]
async fn an_annotation_of_a_quarter_of_a_mebibyte_is_refused_in_a_few_words() {
    let scene = Scene::new("annotation").await;
    let long = "x".repeat(200 * 1024);
    let many: Vec<String> = (0..20_000).map(|number| format!("{number:05}.y")).collect();
    let notes = [
        ("resolver", json!({"routecert.dev/cert-resolver": long}), "UnknownResolver"),
        ("domains", json!({"routecert.dev/domains": many.join(",")}), "TooManyNames"),
        ("name", json!({"routecert.dev/domains": long}), "InvalidName"),
        ("key", json!({"routecert.dev/key-type": long}), "InvalidObject"),
        ("secret", json!({"routecert.dev/secret-name": long}), "InvalidName"),
    ];
    for (name, notes, reason) in notes {
        let host = format!("Host(`{}`)", scene.honest);
        let mut route = scene.route(name, &host, json!({}));
        route["metadata"]["annotations"] = notes;
        scene.create(&route);
        is_fit_for_people(&scene, &scene.told(name, reason).await);
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn escapes_of_a_tenant_reach_no_log_and_no_terminal() {
    let scene = Scene::new("escapes").await;
    let escape = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n\u{9b}31m\u{202e}";
    let mut routes = vec![
        ("host", format!("Host(`{escape}`)"), json!({}), "InvalidRule"),
        ("rule", format!("Host(`a.y`) && {escape}"), json!({}), "InvalidRule"),
        ("matcher", format!("Host(`a.y`) && X{escape}(`a`)"), json!({}), "InvalidRule"),
    ];
    let host = format!("Host(`{}`)", scene.honest);
    let domains = json!({"domains": [{"main": escape}]});
    routes.push(("domain", host.clone(), domains, "InvalidName"));
    routes.push(("resolver", host.clone(), json!({"certResolver": escape}), "UnknownResolver"));
    routes.push(("secret", host.clone(), json!({"secretName": escape}), "InvalidName"));
    for (name, rule, tls, reason) in routes {
        scene.create(&scene.route(name, &rule, tls));
        is_fit_for_people(&scene, &scene.told(name, reason).await);
    }
    let mut entry = scene.route("entry", &host, json!({}));
    entry["spec"]["entryPoints"] = json!([escape]);
    scene.create(&entry);
    is_fit_for_people(&scene, &scene.told("entry", "UnknownEntryPoint").await);
    let mut field = scene.route("field", &host, json!({"certResolver": "nobody"}));
    field["spec"][escape] = json!(1);
    scene.create(&field);
    is_fit_for_people(&scene, &scene.told("field", "UnknownResolver").await);
    let mut service = scene.route("service", &host, json!({}));
    service["spec"]["routes"][0]["services"] = json!([{"name": escape, "port": 80}]);
    scene.create(&service);
    is_fit_for_people(&scene, &scene.told("service", "MissingService").await);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn huge_unknown_fields_and_endless_nesting_hide_nobodys_routes() {
    let scene = Scene::new("deep").await;
    let mut wide = scene.route("wide", "Host(`w.y`)", json!({"certResolver": "nobody"}));
    for number in 0..20_000 {
        wide["spec"][format!("unknown{number:05}")] = json!("xxxxxxxxxxxxxxxxxxxxxxxx");
    }
    wide["spec"]["y".repeat(100_000)] = json!(1);
    scene.create(&wide);
    is_fit_for_people(&scene, &scene.told("wide", "UnknownResolver").await);
    let deep = scene.route("deep", "Host(`d.y`)", json!({"certResolver": "nobody"})).to_string();
    let nested = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let deep = deep.replacen("\"spec\":{", &format!("\"spec\":{{\"unknown\":{nested},"), 1);
    scene.kubectl(&["create", "-f", "-"], &deep);
    is_fit_for_people(&scene, &scene.told("deep", "UnknownResolver").await);
    // Read in a list, too.
    scene.controller.process.terminate(std::time::Duration::from_secs(10));
    let _next = scene.stand.start_controller();
    look::fence(&scene.stand, "fence").await;
    scene.is_unharmed().await;
}
