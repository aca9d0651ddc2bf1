//! What routes of every kind lead to, beyond one route and one host.

use crate::look::{self, LE};
use crate::parts::stand::Stand;
use crate::stand;

/// Applies an IngressRouteTCP. `tls` is YAML.
fn tcp_route(stand: &Stand<'_>, group: &str, name: &str, rule: &str, tls: &str) {
    stand.cluster.apply(&format!(
        "apiVersion: {group}/v1alpha1
kind: IngressRouteTCP
metadata: {{name: {name}, namespace: {}}}
spec:
  entryPoints: [websecure]
  routes: [{{match: {rule}, services: [{{name: app, port: 80}}]}}]
  tls: {tls}
",
        stand.routes
    ));
}

#[tokio::test]
async fn tcp_routes_of_both_groups_get_certificates_and_passthrough_needs_none() {
    let stand = stand("tcp").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    tcp_route(&stand, "routecert.dev", "ours", "HostSNI(`a.example.com`)", LE);
    tcp_route(&stand, "traefik.io", "theirs", "HostSNI(`b.example.com`)", LE);
    tcp_route(&stand, "routecert.dev", "all", "ClientIP(`10.0.0.0/8`)", LE);
    let passes = "{certResolver: le, passthrough: true}";
    tcp_route(&stand, "routecert.dev", "passes", "HostSNI(`c.example.com`)", passes);
    stand.certificate("a.example.com").await;
    stand.certificate("b.example.com").await;
    for (route, reason) in [("ours", "Issued"), ("all", "NoNames"), ("passes", "Passthrough")] {
        let told = async || {
            let object = stand.object("IngressRouteTCP", route).await?;
            let condition = object["status"]["conditions"][0].clone();
            if condition["reason"] == reason { Ok(()) } else { Err(condition.to_string()) }
        };
        stand.eventually(&format!("{reason} of {route}"), told).await;
    }
    assert_eq!(stand.ca.orders(), 2);
}

#[tokio::test]
async fn routes_with_the_same_names_share_one_certificate_until_the_last_one_goes() {
    let mut stand = stand("shared").await;
    "1s".clone_into(&mut stand.settings.remove_after);
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("one", "Host(`a.example.com`) && Path(`/one`)", LE);
    stand.traefik_route("two", "Host(`a.example.com`) && Path(`/two`)", LE);
    stand.route("other", "Host(`b.example.com`)", LE);
    let shared = stand.certificate("a.example.com").await;
    stand.certificate("b.example.com").await;
    look::told(&stand, "one", "Issued").await;
    stand.delete_route("one");
    stand.delete_route("other");
    let left = async |names: &[&str]| {
        let gone = async || {
            let left = stand.certificates().await?;
            if left.keys().eq(names) { Ok(()) } else { Err(format!("{:?}", left.keys())) }
        };
        stand.eventually(&format!("{names:?} to be left"), gone).await;
    };
    left(&["a.example.com"]).await;
    assert_eq!(stand.certificate("a.example.com").await, shared);
    assert_eq!(stand.ca.orders(), 2);
    let last = ["delete", "ingressroutes.traefik.io", "two", "-n", &stand.routes];
    stand.cluster.kubectl(&last, "");
    left(&[]).await;
}

#[tokio::test]
async fn a_route_that_comes_back_within_remove_after_finds_its_certificate() {
    let stand = stand("back").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let issued = stand.certificate("a.example.com").await;
    look::told(&stand, "blog", "Issued").await;
    stand.delete_route("blog");
    let unused = async || {
        let object = stand.object("AcmeCertificate", &issued.secret).await?;
        let status = object["status"].clone();
        let when = status["message"].as_str().is_some_and(|text| text.contains("deleted after 20"));
        if when { Ok(status) } else { Err(status.to_string()) }
    };
    let status = stand.eventually("the AcmeCertificate to say until when", unused).await;
    assert_eq!(status["reason"], "Unused");
    assert_eq!(status["renewal"], serde_json::Value::Null, "an unused one is not renewed");
    stand.route("blog", "Host(`a.example.com`)", LE);
    look::told(&stand, "blog", "Issued").await;
    assert_eq!(stand.certificate("a.example.com").await, issued);
    assert_eq!(stand.ca.orders(), 1);
}
