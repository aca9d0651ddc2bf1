//! Each kind of object that leads to a certificate, at the real API server.

use serde_json::Value;

use crate::look::{self, LE, ingress};
use crate::parts::client::Chain;
use crate::parts::stand::{self, Stand};
use crate::stand;

/// Applies a TLSStore `default` that wants a certificate for `main`.
fn store(stand: &Stand<'_>, group: &str, namespace: &str, main: &str) {
    stand.cluster.apply(&format!(
        "apiVersion: {group}/v1alpha1
kind: TLSStore
metadata: {{name: default, namespace: {namespace}}}
spec: {{defaultGeneratedCert: {{resolver: le, domain: {{main: {main}}}}}}}
"
    ));
}

/// The object as it is, without what is written on its status.
fn version(stand: &Stand<'_>, kind: &str, name: &str) -> Value {
    let args = ["get", kind, name, "-n", &stand.routes, "-o", "json"];
    let object: Value = serde_json::from_str(&stand.cluster.kubectl(&args, "")).unwrap();
    object["metadata"]["resourceVersion"].clone()
}

/// Waits until the Secret `name` has a certificate for exactly these names.
async fn filled(stand: &Stand<'_>, name: &str, names: &[&str]) -> Chain {
    let condition = async || {
        let secret = look::secret(stand, name).await?;
        let pem = secret.data.unwrap_or_default().remove("tls.crt").unwrap_or_default();
        let chain = Chain::from_pem(&String::from_utf8_lossy(&pem.0));
        if chain.names() == names { Ok(chain) } else { Err(format!("{:?}", chain.names())) }
    };
    stand.eventually(&format!("Secret {name} to be filled"), condition).await
}

#[tokio::test]
async fn an_ingress_with_traefiks_annotations_gets_one_certificate_a_host() {
    let mut stand = stand("ingress").await;
    stand.settings.ingress = Some(Vec::new());
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let notes = "traefik.ingress.kubernetes.io/router.entrypoints: websecure, \
                 traefik.ingress.kubernetes.io/router.tls.certresolver: le";
    // Hosts of spec.tls do not count without an annotation of ours.
    let tls = "  tls: [{hosts: [c.example.com], secretName: unused}]\n";
    ingress(&stand, "web", notes, &["a.example.com", "b.example.com"], tls);
    ingress(&stand, "plain", "", &["d.example.com"], "");
    let applied = version(&stand, "ingress", "web");
    for host in ["a.example.com", "b.example.com"] {
        let issued = stand.certificate(host).await;
        assert_eq!(stand.served(host).map(|chain| chain == issued.chain), Ok(true));
    }
    look::fence(&stand, "fence").await;
    assert_eq!(stand.ca.orders(), 2);
    assert_eq!(version(&stand, "ingress", "web"), applied);
    assert!(look::secret(&stand, "unused").await.is_err());
}

#[tokio::test]
async fn domains_in_traefiks_annotations_go_before_the_hosts_of_an_ingress() {
    let mut stand = stand("ing-domains").await;
    stand.settings.ingress = Some(Vec::new());
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let notes = "traefik.ingress.kubernetes.io/router.tls.certresolver: le, \
                 traefik.ingress.kubernetes.io/router.tls.domains.0.main: a.example.com, \
                 traefik.ingress.kubernetes.io/router.tls.domains.0.sans: 'b.example.com, \
                 c.example.com'";
    ingress(&stand, "web", notes, &["a.example.com"], "");
    stand.certificate("a.example.com,b.example.com,c.example.com").await;
    assert_eq!(stand.ca.orders(), 1);
}

#[tokio::test]
async fn an_ingress_with_our_annotation_has_each_secret_of_spec_tls_filled() {
    let mut stand = stand("ing-tls").await;
    stand.settings.ingress = Some(Vec::new());
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let tls = "  tls:
    - {hosts: [a.example.com, www.example.com], secretName: first-tls}
    - {hosts: [b.example.com], secretName: second-tls}
";
    let hosts = ["a.example.com", "www.example.com", "b.example.com"];
    ingress(&stand, "web", "routecert.dev/cert-resolver: le", &hosts, tls);
    let applied = version(&stand, "ingress", "web");
    let first = filled(&stand, "first-tls", &["a.example.com", "www.example.com"]).await;
    let second = filled(&stand, "second-tls", &["b.example.com"]).await;
    assert_eq!(stand.certificate("a.example.com,www.example.com").await.chain, first);
    assert_eq!(stand.certificate("b.example.com").await.chain, second);
    assert_eq!(version(&stand, "ingress", "web"), applied);
    assert_eq!(stand.ca.orders(), 2);
}

#[tokio::test]
async fn annotations_fill_a_secret_for_another_proxy_and_the_route_is_not_edited() {
    let stand = stand("notes").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let route = |group: &str, name: &str, host: &str| {
        stand.cluster.apply(&format!(
            "apiVersion: {group}/v1alpha1
kind: IngressRoute
metadata:
  name: {name}
  namespace: {}
  annotations:
    routecert.dev/cert-resolver: le
    routecert.dev/domains: '{host}, www.{host}'
    routecert.dev/key-type: EC384
    routecert.dev/secret-name: {name}-tls
spec:
  entryPoints: [websecure]
  routes: [{{match: Host(`{host}`), kind: Rule, services: [{{name: app, port: 80}}]}}]
",
            stand.routes
        ));
    };
    route("traefik.io", "theirs", "a.example.com");
    route("routecert.dev", "ours", "b.example.com");
    let applied = version(&stand, "ingressroutes.traefik.io", "theirs");
    let theirs = filled(&stand, "theirs-tls", &["a.example.com", "www.a.example.com"]).await;
    let ours = filled(&stand, "ours-tls", &["b.example.com", "www.b.example.com"]).await;
    assert_eq!((theirs.key(), ours.key()), ("EC384".to_owned(), "EC384".to_owned()));
    look::told(&stand, "ours", "Issued").await;
    assert_eq!(version(&stand, "ingressroutes.traefik.io", "theirs"), applied);
    let object = stand.object("IngressRoute", "ours").await.unwrap();
    assert_eq!(object["metadata"]["generation"], 1);
    assert!(object["spec"]["tls"].is_null(), "{object}");
}

#[tokio::test]
async fn the_store_of_the_controllers_namespace_gets_its_certificate_in_both_groups() {
    let mut stand = stand("stores").await;
    stand.settings.namespaces.push("stores-system".to_owned());
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    store(&stand, "routecert.dev", "stores-system", "a.example.com");
    store(&stand, "traefik.io", "stores-system", "b.example.com");
    store(&stand, "traefik.io", &stand.routes, "c.example.com");
    stand.certificate("a.example.com").await;
    stand.certificate("b.example.com").await;
    let refused = look::event(&stand, "default").await;
    assert_eq!(refused["reason"], "NotAllowed", "{refused}");
    assert!(refused["note"].as_str().unwrap().contains("stores-system"), "{refused}");
    assert_eq!(stand.ca.orders(), 2);
}

#[tokio::test]
async fn another_namespace_may_be_the_one_whose_store_counts() {
    let mut stand = stand("store-moved").await;
    stand.settings.namespaces.push("store-moved-system".to_owned());
    stand.settings.crd.push("defaultTLSResourcesNamespace: store-moved-routes".to_owned());
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    store(&stand, "routecert.dev", "store-moved-system", "a.example.com");
    store(&stand, "routecert.dev", &stand.routes, "b.example.com");
    stand.certificate("b.example.com").await;
    look::fence(&stand, "fence").await;
    assert_eq!(stand.ca.orders(), 1);
}

#[tokio::test]
async fn a_route_is_refused_until_its_service_is_there() {
    let stand = stand("services").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let route = |group: &str, name: &str, host: &str, service: &str| {
        stand.cluster.apply(&format!(
            "apiVersion: {group}/v1alpha1
kind: IngressRoute
metadata: {{name: {name}, namespace: {}}}
spec:
  entryPoints: [websecure]
  routes: [{{match: Host(`{host}`), kind: Rule, services: [{service}]}}]
  tls: {LE}
",
            stand.routes
        ));
    };
    route("routecert.dev", "ours", "a.example.com", "{name: later, port: 80}");
    route("traefik.io", "theirs", "b.example.com", "{name: later, port: 80}");
    route("routecert.dev", "inner", "c.example.com", "{name: api@internal, kind: TraefikService}");
    let refused = look::told(&stand, "ours", "MissingService").await;
    assert!(refused["message"].as_str().unwrap().contains("services-routes/later"), "{refused}");
    assert_eq!(look::event(&stand, "theirs").await["reason"], "MissingService");
    stand.certificate("c.example.com").await;
    assert_eq!(stand.ca.orders(), 1);
    stand.cluster.apply(&stand::service(&stand.routes, "later"));
    let held = stand.certificate("a.example.com").await;
    stand.certificate("b.example.com").await;
    // What is held is not given up at once for a Service that goes.
    stand.cluster.kubectl(&["delete", "service", "later", "-n", &stand.routes], "");
    look::told(&stand, "ours", "MissingService").await;
    assert_eq!(stand.certificate("a.example.com").await, held);
}

#[tokio::test]
async fn a_missing_right_to_services_is_named_once_and_costs_only_their_check() {
    let stand = stand("blind").await;
    stand.cluster.kubectl(&["delete", "clusterrolebinding", "blind-system:controller-routes"], "");
    stand.cluster.apply(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: blind, namespace: blind-routes}
rules:
  - {apiGroups: [routecert.dev], resources: ['*'], verbs: ['*']}
  - {apiGroups: [traefik.io], resources: ['*'], verbs: ['*']}
  - {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: blind, namespace: blind-routes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: blind}
subjects: [{kind: ServiceAccount, name: routecert-controller, namespace: blind-system}]
",
    );
    stand.cluster.kubectl(&["delete", "service", "app", "-n", &stand.routes], "");
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("web", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    look::told(&stand, "web", "Issued").await;
    let named = look::lines(&controller, "Service: not allowed to list or watch");
    assert_eq!(named, 1, "{}", controller.process.log());
    let said = "a route whose Service does not exist gets its certificate all the same";
    assert_eq!(look::lines(&controller, said), 1, "{}", controller.process.log());
}
