//! A controller whose rights end at one namespace and its own two.

use std::sync::LazyLock;

use serde_json::Value;

use crate::binary;
use crate::look::{self, ingress};
use crate::parts::cluster::Cluster;
use crate::parts::routecert::Routecert;
use crate::parts::stand::Stand;
use crate::parts::tools;

const NOTE: &str = "traefik.ingress.kubernetes.io/router.tls.certresolver: le";

/// An API server that writes down who asks for what. No controller here has a right to it as a
/// whole.
pub(crate) fn audited() -> &'static Cluster {
    static AUDITED: LazyLock<Cluster> = LazyLock::new(|| {
        let cluster = Cluster::start();
        cluster.apply_crds(&tools::clone_root().join("crds"));
        cluster.apply_crds(&tools::folder("traefik"));
        cluster
    });
    &AUDITED
}

/// A stand whose controller has no right in the cluster.
async fn stand(prefix: &str) -> Stand<'static> {
    let mut stand = Stand::new(audited(), binary(), prefix).await;
    for part in ["routes", "cluster", "copies"] {
        let binding = format!("{prefix}-system:controller-{part}");
        stand.cluster.kubectl(&["delete", "clusterrolebinding", &binding], "");
    }
    let roles = tools::clone_root().join("tests/manifests/one-namespace.yaml");
    let roles = std::fs::read_to_string(roles).unwrap();
    let roles = roles.replace("namespace: shop", &format!("namespace: {}", stand.routes));
    stand.cluster.apply(&roles.replace("routecert-system", &format!("{prefix}-system")));
    stand.settings.crd.clear();
    stand.settings.ingress = Some(vec!["ingressClass: edge".to_owned()]);
    stand
}

/// One Ingress with the class in its annotation, one with it in its spec, one of another class.
fn ingresses(stand: &Stand<'_>) {
    let edge = format!("{NOTE}, kubernetes.io/ingress.class: edge");
    ingress(stand, "noted", &edge, &["noted.example.com"], "");
    ingress(stand, "named", NOTE, &["named.example.com"], "  ingressClassName: edge\n");
    ingress(stand, "other", NOTE, &["other.example.com"], "  ingressClassName: other\n");
}

async fn works(stand: &Stand<'_>) {
    stand.route("web", "Host(`route.example.com`)", "{certResolver: le, secretName: filled}");
    for name in ["noted.example.com", "named.example.com"] {
        stand.certificate(name).await;
    }
    let issued = stand.certificate("route.example.com").await;
    look::copied(stand, "filled", &issued.chain).await;
    look::told(stand, "web", "Issued").await;
    look::fence(stand, "fence").await;
    assert_eq!(stand.ca.orders(), 3);
}

/// Requests of the controller that are about no namespace.
fn of_the_cluster(stand: &Stand<'_>) -> Vec<Value> {
    let asked =
        stand.cluster.asked_by(&stand.settings.controller_namespace, "routecert-controller");
    assert!(asked.len() > 20, "the log has what the controller asks: {asked:?}");
    let global = |event: &Value| event["objectRef"]["namespace"].as_str().is_none_or(str::is_empty);
    asked.into_iter().filter(global).collect()
}

/// Warnings and errors in the log, but for what is said of old spellings.
fn troubles(controller: &Routecert) -> Vec<String> {
    let log = controller.process.log();
    let loud = |line: &&str| line.contains(" WARN ") || line.contains("ERROR");
    let told = log.lines().filter(loud).filter(|line| !line.contains("is deprecated"));
    told.map(str::to_owned).collect()
}

#[tokio::test]
async fn with_the_keys_for_it_nothing_is_asked_of_the_cluster_as_a_whole() {
    let mut stand = stand("one").await;
    let disabled = "disableClusterScopeResources: true".to_owned();
    let unasked = "disableIngressClassLookup: true".to_owned();
    stand.settings.crd.push(disabled.clone());
    stand.settings.ingress.as_mut().unwrap().extend([disabled, unasked]);
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    ingresses(&stand);
    works(&stand).await;
    stand.route("live", "Host(`live.example.com`)", "{certResolver: team}");
    look::told(&stand, "live", "UnknownResolver").await;
    assert_eq!(of_the_cluster(&stand), Vec::<Value>::new());
    assert_eq!(troubles(&controller), Vec::<String>::new());
}

#[tokio::test]
async fn without_the_keys_each_missing_right_is_named_once_and_costs_nothing_else() {
    let stand = stand("one-plain").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    ingresses(&stand);
    works(&stand).await;
    let forbidden = |what: &str| {
        let all = of_the_cluster(&stand).into_iter();
        all.filter(|event| event["objectRef"]["resource"] == what).count()
    };
    // Asked again, and not told again.
    let asked = async || match forbidden("ingressclasses") {
        times if times > 1 => Ok(()),
        times => Err(format!("asked {times} times")),
    };
    stand.eventually("IngressClasses to be asked for again", asked).await;
    let told = troubles(&controller);
    for kind in ["IngressClass.networking.k8s.io", "CertificateResolver.routecert.dev"] {
        let said = format!("{kind}: not allowed to list or watch");
        assert_eq!(told.iter().filter(|line| line.contains(&said)).count(), 1, "{told:#?}");
    }
    assert_eq!(told.len(), 2, "{told:#?}");
}
