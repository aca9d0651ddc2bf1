//! For which controller a route is: annotation, `spec.ingressClassName`, IngressClass.

use crate::look::{self, LE, ingress};
use crate::parts::stand::Stand;
use crate::stand;

/// Ingresses of these tests ask for a certificate of their one host.
const NOTE: &str = "traefik.ingress.kubernetes.io/router.tls.certresolver: le";

fn class(stand: &Stand<'_>, name: &str, controller: &str) {
    stand.cluster.apply(&format!(
        "{{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {{name: {name}}}, \
         spec: {{controller: {controller}}}}}"
    ));
}

/// An Ingress with `spec.ingressClassName`.
fn of_class(stand: &Stand<'_>, name: &str, class: &str) {
    let spec = format!("  ingressClassName: {class}\n");
    ingress(stand, name, NOTE, &[&format!("{name}.example.com")], &spec);
}

/// An Ingress with the annotation that was before `spec.ingressClassName`.
fn annotated(stand: &Stand<'_>, name: &str, class: &str) {
    let notes = format!("{NOTE}, kubernetes.io/ingress.class: {class}");
    ingress(stand, name, &notes, &[&format!("{name}.example.com")], "");
}

/// The first label of every certificate's first name, sorted.
async fn held(stand: &Stand<'_>) -> Vec<String> {
    let all = stand.certificates().await.unwrap();
    all.keys().map(|names| names.split('.').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_ingress_is_ours_by_the_controller_of_its_class_be_it_late() {
    let mut stand = stand("classes").await;
    stand.settings.ingress = Some(Vec::new());
    class(&stand, "classes-ours", "traefik.io/ingress-controller");
    class(&stand, "classes-own", "routecert.dev/ingress-controller");
    class(&stand, "classes-nginx", "k8s.io/ingress-nginx");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    of_class(&stand, "a-ours", "classes-ours");
    of_class(&stand, "b-own", "classes-own");
    of_class(&stand, "c-nginx", "classes-nginx");
    of_class(&stand, "d-late", "classes-late");
    annotated(&stand, "e-traefik", "traefik");
    annotated(&stand, "f-nginx", "nginx");
    ingress(&stand, "g-none", NOTE, &["g-none.example.com"], "");
    for name in ["a-ours", "b-own", "e-traefik", "g-none"] {
        stand.certificate(&format!("{name}.example.com")).await;
    }
    look::fence(&stand, "fence").await;
    assert_eq!(stand.ca.orders(), 4, "{:?}", held(&stand).await);
    class(&stand, "classes-late", "traefik.io/ingress-controller");
    stand.certificate("d-late.example.com").await;
    assert_eq!(held(&stand).await, ["a-ours", "b-own", "d-late", "e-traefik", "g-none"]);
    assert!(look::events(&stand, "c-nginx").is_empty());
}

#[tokio::test]
async fn with_a_configured_class_only_that_one_counts() {
    let mut stand = stand("one-class").await;
    stand.settings.ingress = Some(vec!["ingressClass: one-class-edge".to_owned()]);
    stand.settings.crd.push("ingressClass: edge".to_owned());
    class(&stand, "one-class-edge", "traefik.io/ingress-controller");
    class(&stand, "one-class-other", "traefik.io/ingress-controller");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    of_class(&stand, "a-edge", "one-class-edge");
    of_class(&stand, "b-other", "one-class-other");
    annotated(&stand, "c-edge", "one-class-edge");
    annotated(&stand, "d-traefik", "traefik");
    ingress(&stand, "e-none", NOTE, &["e-none.example.com"], "");
    route(&stand, "f-edge", "edge");
    route(&stand, "g-other", "other");
    stand.route("h-none", "Host(`h-none.example.com`)", LE);
    for name in ["a-edge", "c-edge", "f-edge"] {
        stand.certificate(&format!("{name}.example.com")).await;
    }
    route(&stand, "z-edge", "edge");
    stand.certificate("z-edge.example.com").await;
    assert_eq!(held(&stand).await, ["a-edge", "c-edge", "f-edge", "z-edge"]);
    assert!(stand.reason("g-other").await.is_err());
    assert!(stand.reason("h-none").await.is_err());
}

/// An IngressRoute of our group with a class annotation.
fn route(stand: &Stand<'_>, name: &str, class: &str) {
    stand.cluster.apply(&format!(
        "apiVersion: routecert.dev/v1alpha1
kind: IngressRoute
metadata:
  {{name: {name}, namespace: {}, annotations: {{kubernetes.io/ingress.class: {class}}}}}
spec:
  entryPoints: [websecure]
  routes:
    - {{match: Host(`{name}.example.com`), kind: Rule, services: [{{name: app, port: 80}}]}}
  tls: {LE}
",
        stand.routes
    ));
}

#[tokio::test]
async fn names_of_classes_are_believed_where_they_are_not_looked_up() {
    let mut stand = stand("no-lookup").await;
    let more = ["ingressClass: no-lookup-edge", "disableIngressClassLookup: true"];
    stand.settings.ingress = Some(more.map(str::to_owned).into());
    class(&stand, "no-lookup-edge", "k8s.io/ingress-nginx");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    of_class(&stand, "a-edge", "no-lookup-edge");
    of_class(&stand, "b-other", "no-lookup-other");
    stand.certificate("a-edge.example.com").await;
    look::fence(&stand, "fence").await;
    assert_eq!(held(&stand).await, ["a-edge"]);
}

#[tokio::test]
async fn names_of_classes_are_believed_without_the_right_to_look_them_up() {
    let mut stand = stand("class-right").await;
    stand.settings.ingress = Some(Vec::new());
    let binding = "class-right-system:controller-cluster";
    stand.cluster.kubectl(&["delete", "clusterrolebinding", binding], "");
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    of_class(&stand, "a-traefik", "traefik");
    of_class(&stand, "b-other", "class-right-other");
    stand.certificate("a-traefik.example.com").await;
    look::fence(&stand, "fence").await;
    assert_eq!(held(&stand).await, ["a-traefik"]);
    let named = look::lines(&controller, "IngressClass.networking.k8s.io: not allowed to list");
    assert_eq!(named, 1, "{}", controller.process.log());
}
