//! Kinds of routes that are missing, forbidden, late or unreadable.

use std::time::Duration;

use crate::look::{self, LE};
use crate::parts::cluster::Cluster;
use crate::parts::stand::Stand;
use crate::parts::tools;
use crate::{binary, stand};

/// A cluster with our CRDs and no others.
fn bare_cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.apply_crds(&tools::clone_root().join("crds"));
    cluster
}

/// Traefik's IngressRoute without a schema, as an old or a foreign CRD might be.
const LAX: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ingressroutes.traefik.io}
spec:
  group: traefik.io
  scope: Namespaced
  names: {kind: IngressRoute, plural: ingressroutes, singular: ingressroute}
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// Takes from the stand's controller the right to read Traefik's IngressRoute.
fn forbid_traefik(stand: &Stand<'_>, prefix: &str) {
    let all = "resources: [ingressroutes, ingressroutetcps, tlsstores]";
    let fewer = role(prefix).replace(all, "resources: [ingressroutetcps, tlsstores]");
    assert_ne!(fewer, role(prefix));
    stand.cluster.apply(&fewer);
}

/// Gives it back.
fn allow_traefik(stand: &Stand<'_>, prefix: &str) {
    stand.cluster.apply(&role(prefix));
}

/// What the stand's controller may do with routes.
fn role(prefix: &str) -> String {
    let file = tools::clone_root().join("tests/manifests/controller.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let is_role = |document: &&str| {
        document.contains("kind: ClusterRole\n") && document.contains("traefik.io")
    };
    let role = text.split("---\n").find(is_role).unwrap();
    role.replace("name: routecert-controller-routes", &format!("name: {prefix}-controller-routes"))
}

#[tokio::test]
async fn without_traefiks_crds_each_is_named_once_and_served_when_it_comes() {
    let cluster = bare_cluster();
    let stand = Stand::new(&cluster, binary(), "bare").await;
    let (first, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("ours", "Host(`a.example.com`)", LE);
    let issued = stand.certificate("a.example.com").await;
    first.process.terminate(Duration::from_secs(10));
    let second = stand.start_controller();
    look::fence(&stand, "fence").await;
    stand.route("next", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
    assert_eq!(stand.certificate("a.example.com").await, issued);
    for controller in [&first, &second] {
        for kind in ["IngressRoute", "IngressRouteTCP", "TLSStore"] {
            let kind = format!("{kind}.traefik.io");
            let line = format!("{kind}: the API server does not have this kind");
            assert_eq!(look::lines(controller, &line), 1, "{}", controller.process.log());
        }
        let about = look::lines(controller, "traefik.io");
        assert_eq!(about, 3, "{}", controller.process.log());
    }
    cluster.apply_crds(&tools::folder("traefik"));
    stand.traefik_route("theirs", "Host(`c.example.com`)", LE);
    stand.certificate("c.example.com").await;
    assert_eq!(stand.ca.orders(), 3);
}

#[tokio::test]
async fn an_object_that_does_not_decode_gets_an_event_and_costs_only_itself() {
    let cluster = bare_cluster();
    cluster.apply(LAX);
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all"], "");
    let mut stand = Stand::new(&cluster, binary(), "lax").await;
    "1s".clone_into(&mut stand.settings.remove_after);
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("used", "Host(`a.example.com`)", LE);
    stand.traefik_route("good", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
    let namespace = &stand.routes;
    cluster.apply(&format!(
        "{{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {{name: bad, namespace: \
         {namespace}}}, spec: {{routes: 5, tls: yes}}}}"
    ));
    let event = look::event(&stand, "bad").await;
    assert_eq!((&event["type"], &event["reason"]), (&"Warning".into(), &"InvalidObject".into()));
    stand.certificate("a.example.com").await;
    // what the unreadable one asks for is not known: nothing of its namespace is removed
    stand.delete_route("used");
    stand.route("next", "Host(`c.example.com`)", LE);
    stand.certificate("c.example.com").await;
    stand.certificate("a.example.com").await;
    cluster.kubectl(&["delete", "ingressroutes.traefik.io", "bad", "-n", namespace], "");
    look::gone(&stand, "a.example.com").await;
    assert!(controller.process.exited().is_none());
    assert_eq!(stand.ca.orders(), 3);
}

#[tokio::test]
async fn a_forbidden_kind_is_named_once_and_costs_only_itself() {
    let stand = stand("forbidden").await;
    forbid_traefik(&stand, "forbidden");
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("ours", "Host(`a.example.com`)", LE);
    stand.traefik_route("theirs", "Host(`b.example.com`)", LE);
    stand.certificate("a.example.com").await;
    stand.route("next", "Host(`c.example.com`)", LE);
    stand.certificate("c.example.com").await;
    let named = look::lines(&controller, "IngressRoute.traefik.io: not allowed to list or watch");
    let about = look::lines(&controller, "ingressroutes.traefik.io");
    assert_eq!((named, about), (1, 1), "{}", controller.process.log());
    assert_eq!(stand.ca.orders(), 2);
    allow_traefik(&stand, "forbidden");
    stand.certificate("b.example.com").await;
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_not_a_deleted_route() {
    let mut stand = stand("unread").await;
    "1s".clone_into(&mut stand.settings.remove_after);
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let copy = "{certResolver: le, secretName: theirs-tls}";
    stand.traefik_route("theirs", "Host(`a.example.com`)", copy);
    stand.route("ours", "Host(`b.example.com`)", LE);
    let held = stand.certificate("a.example.com").await;
    stand.certificate("b.example.com").await;
    look::copied(&stand, "theirs-tls", &held.chain).await;
    controller.process.terminate(Duration::from_secs(10));
    forbid_traefik(&stand, "unread");
    let controller = stand.start_controller();
    look::logs(&stand, &controller, "everything is known").await;
    stand.delete_route("ours");
    look::gone(&stand, "b.example.com").await;
    assert_eq!(stand.certificate("a.example.com").await, held);
    look::copied(&stand, "theirs-tls", &held.chain).await;
    assert_eq!(stand.served("a.example.com").unwrap(), held.chain);

    allow_traefik(&stand, "unread");
    look::logs(&stand, &controller, "IngressRoute.traefik.io listed").await;
    look::fence(&stand, "fence").await;
    assert_eq!(stand.certificate("a.example.com").await, held);
    let delete = ["delete", "ingressroutes.traefik.io", "theirs", "-n", &stand.routes];
    stand.cluster.kubectl(&delete, "");
    look::gone(&stand, "a.example.com").await;
    let nothing_left = async || {
        let object = stand.object("AcmeCertificate", &held.secret).await;
        let secret = look::secret(&stand, "theirs-tls").await;
        let chain = stand.served("a.example.com")?;
        let left = (object.is_ok(), secret.is_ok(), chain == held.chain);
        if left == (false, false, false) { Ok(()) } else { Err(format!("{left:?}")) }
    };
    stand.eventually("AcmeCertificate, copy and what is served to go", nothing_left).await;
    assert_eq!(stand.ca.orders(), 2);
}

#[tokio::test]
async fn a_certificate_that_another_kind_of_route_wants_by_now_is_as_safe() {
    let mut stand = stand("both-kinds").await;
    "1s".clone_into(&mut stand.settings.remove_after);
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("ours", "Host(`a.example.com`)", LE);
    stand.route("other", "Host(`b.example.com`)", LE);
    let held = stand.certificate("a.example.com").await;
    stand.certificate("b.example.com").await;
    stand.traefik_route("theirs", "Host(`a.example.com`)", LE);
    let both = async || {
        let object = stand.object("AcmeCertificate", &held.secret).await?;
        let routes = object["spec"]["routes"].as_array().unwrap().len();
        if routes == 2 { Ok(()) } else { Err(object.to_string()) }
    };
    stand.eventually("both routes in the AcmeCertificate", both).await;
    controller.process.terminate(Duration::from_secs(10));
    forbid_traefik(&stand, "both-kinds");
    stand.delete_route("ours");
    stand.delete_route("other");
    let _controller = stand.start_controller();
    look::gone(&stand, "b.example.com").await;
    look::fence(&stand, "fence").await;
    assert_eq!(stand.certificates().await.unwrap().get("a.example.com"), Some(&held));
}
