//! Attacks on who owns a host, and on what is served for it.

use serde_json::json;

use crate::look;
use crate::stand;
use crate::tenants::{HOST, Scene, tenant};

#[tokio::test]
async fn a_host_is_not_taken_by_making_and_deleting_routes_for_it() {
    let scene = Scene::new("again").await;
    let route =
        |name: &str| scene.route(name, &format!("Host(`{HOST}`)"), json!({"secretName": name}));
    for round in 0..3 {
        let name = format!("claim-{round}");
        scene.create(&route(&name));
        scene.told(&name, "HostOwnedElsewhere").await;
        scene.kubectl(&["delete", "rcir", &name], "");
    }
    // While the owner's own route is away, too.
    scene.create(&route("waiting"));
    scene.stand.delete_route("shop");
    look::fence(&scene.stand, "fence").await;
    scene.told("waiting", "HostOwnedElsewhere").await;
    scene.stand.route(
        "shop",
        &format!("Host(`{HOST}`)"),
        "{certResolver: le, secretName: shop-tls}",
    );
    scene.is_unharmed().await;
}

#[tokio::test]
async fn an_older_creation_time_that_a_manifest_claims_is_not_believed() {
    let mut stand = stand("older").await;
    let (own, kubeconfig) = tenant(&mut stand, "older").await;
    stand.route("shop", &format!("Host(`{HOST}`)"), look::LE);
    let claim = format!(
        "apiVersion: routecert.dev/v1alpha1
kind: IngressRoute
metadata: {{name: old, namespace: {own}, creationTimestamp: '2001-01-01T00:00:00Z'}}
spec:
  entryPoints: [websecure]
  routes: [{{match: Host(`{HOST}`), kind: Rule, services: [{{name: app, port: 80}}]}}]
  tls: {{certResolver: le, secretName: stolen}}
"
    );
    let made = stand.cluster.kubectl_as(&kubeconfig, &["create", "-f", "-"], &claim);
    assert!(made.status.success(), "{made:?}");
    let (controller, proxy) = (stand.start_controller(), stand.start_proxy());
    let issued = stand.certificate(HOST).await;
    let honest = "older.example.org".to_owned();
    let scene = Scene { stand, own, tenant: kubeconfig, controller, _proxy: proxy, issued, honest };
    scene.told("old", "HostOwnedElsewhere").await;
    scene.stand.route(
        "shop",
        &format!("Host(`{HOST}`)"),
        "{certResolver: le, secretName: shop-tls}",
    );
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_wildcard_or_a_pattern_over_a_host_does_not_take_it() {
    let scene = Scene::new("wild").await;
    let wildcard = json!({"secretName": "wild", "domains": [{"main": "*.example.com"}]});
    scene.create(&scene.route("wildcard", "PathPrefix(`/`)", wildcard));
    let beside = json!({"domains": [{"main": "x.example.com", "sans": [HOST]}]});
    scene.create(&scene.route("beside", "Host(`x.example.com`)", beside));
    scene.create(&scene.route("pattern", "HostRegexp(`^.*$`)", json!({})));
    scene.told("wildcard", "WildcardNeedsDns01").await;
    scene.told("beside", "HostOwnedElsewhere").await;
    scene.told("pattern", "NoNames").await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_store_of_a_tenant_changes_nobodys_default_certificate() {
    let scene = Scene::new("default").await;
    let unknown = "unknown.example.net";
    let before = scene.stand.served(unknown);
    for group in ["routecert.dev", "traefik.io"] {
        scene.create(&json!({
            "apiVersion": format!("{group}/v1alpha1"),
            "kind": "TLSStore",
            "metadata": {"name": "default", "namespace": scene.own},
            "spec": {"defaultGeneratedCert": {"resolver": "le", "domain": {"main": unknown, "sans": [HOST]}}},
        }));
    }
    scene.event("NotAllowed").await;
    assert_eq!(scene.stand.served(unknown), before);
    scene.is_unharmed().await;
    assert_eq!(scene.stand.served(unknown), before);
}

#[tokio::test]
async fn a_secret_name_leads_into_no_other_namespace() {
    let scene = Scene::new("paths").await;
    let other = &scene.stand.routes;
    let names = [
        format!("{other}/shop-tls"),
        format!("../../{other}/secrets/shop-tls"),
        format!("..%2F..%2F{other}%2Fsecrets%2Fshop-tls"),
        "shop-tls?dryRun=All".to_owned(),
    ];
    for (number, name) in names.iter().enumerate() {
        // A name of its own: what another route has claimed would be refused for that.
        let host = format!("Host(`{}`)", scene.honest);
        scene.create(&scene.route(&format!("path-{number}"), &host, json!({"secretName": name})));
        let refused = scene.told(&format!("path-{number}"), "InvalidName").await;
        assert!(refused["message"].as_str().unwrap().contains("tls.secretName"), "{refused}");
    }
    // The name itself stands for one in the tenant's own namespace.
    let own = json!({"secretName": "shop-tls"});
    scene.create(&scene.route("same", &format!("Host(`{HOST}`)"), own));
    scene.told("same", "HostOwnedElsewhere").await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn annotations_ask_for_nothing_on_other_kinds_and_for_nobodys_host_on_routes() {
    let scene = Scene::new("notes").await;
    let notes = ["routecert.dev/cert-resolver=le", "routecert.dev/domains=x.example.com"];
    for object in ["service/app", "configmap/kube-root-ca.crt", "serviceaccount/tenant"] {
        if object.starts_with("configmap") {
            scene.kubectl(&["create", "configmap", "kube-root-ca.crt"], "");
        }
        scene.kubectl(&[&["annotate", object][..], &notes[..]].concat(), "");
    }
    let mut route = scene.route("other-class", &format!("Host(`{HOST}`)"), json!({}));
    route["apiVersion"] = "traefik.io/v1alpha1".into();
    route["spec"]["tls"] = json!(null);
    route["metadata"]["annotations"] = json!({
        "kubernetes.io/ingress.class": "nginx",
        "routecert.dev/cert-resolver": "le",
        "routecert.dev/secret-name": "stolen",
    });
    scene.create(&route);
    scene.event("HostOwnedElsewhere").await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_namespace_that_is_deleted_and_made_again_keeps_its_hosts_and_its_counts() {
    let scene = Scene::new("reborn").await;
    let stand = &scene.stand;
    scene.create(&scene.route("waiting", &format!("Host(`{HOST}`)"), json!({"secretName": "got"})));
    scene.told("waiting", "HostOwnedElsewhere").await;
    stand.cluster.kubectl(&["delete", "namespace", &stand.routes], "");
    let unused = async || {
        let states = look::states(stand).await?;
        let state = &states[HOST];
        if state["unusedSince"].is_null() { Err(state.to_string()) } else { Ok(()) }
    };
    stand.eventually("the certificate to be unused", unused).await;
    scene.told("waiting", "HostOwnedElsewhere").await;
    stand.cluster.apply(&crate::parts::stand::namespace_with_service(&stand.routes));
    stand.route("shop", &format!("Host(`{HOST}`)"), "{certResolver: le, secretName: shop-tls}");
    scene.is_unharmed().await;
}
