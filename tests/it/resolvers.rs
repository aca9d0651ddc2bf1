//! Resolvers that are objects: what their status says, and that a change counts at once.

use serde_json::{Value, json};

use std::sync::LazyLock;

use tokio::sync::{Mutex, MutexGuard};

use crate::binary;
use crate::look::{self, LE};
use crate::parts::ca::Ca;
use crate::parts::cluster::Cluster;
use crate::parts::stand::Stand;
use crate::parts::tools;

const MAC_KEY: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";

/// A `CertificateResolver` is for the one controller of a cluster: one scenario runs at a time.
pub(crate) async fn stand(prefix: &str) -> (Stand<'static>, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::const_new(());
    static OWN: LazyLock<Cluster> = LazyLock::new(|| {
        let cluster = Cluster::start();
        cluster.apply_crds(&tools::clone_root().join("crds"));
        cluster
    });
    let turn = TURN.lock().await;
    let mut stand = Stand::new(&OWN, binary(), prefix).await;
    stand.settings.crd.clear();
    (stand, turn)
}

/// Applies a CertificateResolver at the stand's CA. `acme` and `more` are YAML of `spec.acme` and
/// of `spec`, `key: value` each.
pub(crate) fn resolver(stand: &Stand<'_>, name: &str, acme: &str, more: &str) {
    stand.cluster.apply(&format!(
        "apiVersion: routecert.dev/v1alpha1
kind: CertificateResolver
metadata: {{name: {name}}}
spec:
  acme:
    {{caServer: '{}', email: a@example.com, keyType: EC256, httpChallenge: {{entryPoint: web}}{acme}}}
{more}",
        stand.ca.directory()
    ));
}

/// Waits for the reason of a CertificateResolver; the condition.
#[track_caller]
pub(crate) fn told<'a>(
    stand: &'a Stand<'_>,
    name: &'a str,
    reason: &'a str,
) -> impl Future<Output = Value> + 'a {
    stand.eventually("the reason of a CertificateResolver", async move || {
        let object = object(stand, name);
        let condition = object["status"]["conditions"][0].clone();
        let generation = &object["metadata"]["generation"];
        let found = condition["reason"] == reason && condition["observedGeneration"] == *generation;
        if found { Ok(condition) } else { Err(format!("{name}: {condition}, not {reason}")) }
    })
}

fn object(stand: &Stand<'_>, name: &str) -> Value {
    let args = ["get", "certificateresolver", name, "-o", "json"];
    serde_json::from_str(&stand.cluster.kubectl(&args, "")).unwrap()
}

fn secret(stand: &Stand<'_>, namespace: &str, name: &str, key: &str) {
    let literal = format!("--from-literal={key}={MAC_KEY}");
    let args = ["create", "secret", "generic", name, &literal, "-n", namespace];
    stand.cluster.kubectl(&args, "");
}

#[tokio::test]
async fn a_resolver_that_is_an_object_counts_from_the_moment_that_it_is_changed() {
    let (mut stand, _turn) = stand("live").await;
    "1s".clone_into(&mut stand.settings.remove_after);
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", "{certResolver: live-team}");
    look::told(&stand, "blog", "UnknownResolver").await;
    resolver(&stand, "live-team", "", "");
    let ready = told(&stand, "live-team", "Ready").await;
    assert_eq!(ready["status"], "True");
    let issued = stand.certificate("a.example.com").await;
    issued.chain.verify(&stand.ca.root(), "a.example.com").unwrap();
    look::told(&stand, "blog", "Issued").await;

    resolver(&stand, "live-team", "", "  allow: {namespaces: [somebody-else]}\n");
    let refused = look::told(&stand, "blog", "NotAllowed").await;
    assert!(refused["message"].as_str().unwrap().contains("live-routes"), "{refused}");
    let narrowed = told(&stand, "live-team", "Ready").await;
    assert_eq!(narrowed["lastTransitionTime"], ready["lastTransitionTime"]);
    resolver(&stand, "live-team", "", "  allow: {domains: ['*.example.org']}\n");
    stand.route("other", "Host(`b.example.org`)", "{certResolver: live-team}");
    stand.certificate("b.example.org").await;
    resolver(&stand, "live-team", "", "");
    look::told(&stand, "blog", "Issued").await;
    let kept = stand.certificate("a.example.com").await;

    stand.cluster.kubectl(&["delete", "certificateresolver", "live-team"], "");
    look::told(&stand, "blog", "UnknownResolver").await;
    look::told(&stand, "other", "UnknownResolver").await;
    assert_eq!(stand.certificate("a.example.com").await, kept);
    stand.certificate("b.example.org").await;
}

#[tokio::test]
async fn a_resolver_of_the_configuration_goes_before_an_object_of_its_name() {
    let (mut stand, _turn) = stand("shadow").await;
    stand.settings.resolvers.push(("shadow-le".to_owned(), "EC256".to_owned()));
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    resolver(&stand, "shadow-le", "", "  allow: {namespaces: [somebody-else]}\n");
    let told = told(&stand, "shadow-le", "Conflict").await;
    assert_eq!(told["status"], "False");
    stand.route("blog", "Host(`a.example.com`)", "{certResolver: shadow-le}");
    stand.certificate("a.example.com").await;
    stand.cluster.kubectl(&["delete", "certificateresolver", "shadow-le"], "");
}

#[tokio::test]
async fn a_secret_of_a_resolver_is_looked_for_in_the_controllers_namespace_alone() {
    let (mut stand, _turn) = stand("credentials").await;
    let bound = json!({"externalAccountBindingRequired": true,
        "externalAccountMACKeys": {"k1": MAC_KEY}});
    stand.use_ca(Ca::start_with(stand.settings.web, &[], &bound));
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let eab = ", eab: {kid: k1, hmacSecretRef: {name: eab, key: hmac}}";
    secret(&stand, &stand.routes, "eab", "hmac");
    resolver(&stand, "credentials-eab", eab, "");
    let missing = told(&stand, "credentials-eab", "SecretMissing").await;
    let message = missing["message"].as_str().unwrap();
    assert!(message.contains("there is no Secret credentials-system/eab"), "{message}");
    stand.route("blog", "Host(`a.example.com`)", "{certResolver: credentials-eab}");
    let refused = look::told(&stand, "blog", "ResolverUnusable").await;
    assert!(refused["message"].as_str().unwrap().contains("credentials-system/eab"), "{refused}");

    secret(&stand, "credentials-system", "eab", "typo");
    let keyless = async || {
        let condition = object(&stand, "credentials-eab")["status"]["conditions"][0].clone();
        let message = condition["message"].as_str().unwrap();
        if message.contains("nothing under key `hmac`") { Ok(()) } else { Err(message.to_owned()) }
    };
    stand.eventually("the key to be missed", keyless).await;
    stand.cluster.kubectl(&["delete", "secret", "eab", "-n", "credentials-system"], "");
    secret(&stand, "credentials-system", "eab", "hmac");
    told(&stand, "credentials-eab", "Ready").await;
    stand.certificate("a.example.com").await;
    assert!(!controller.process.log().contains(MAC_KEY));
    assert_eq!((stand.ca.orders(), stand.ca.accounts()), (1, 1));
    stand.cluster.kubectl(&["delete", "certificateresolver", "credentials-eab"], "");
}

#[tokio::test]
async fn a_status_is_written_once_and_put_back_when_it_is_edited() {
    let (stand, _turn) = stand("steady").await;
    let first = stand.start_controller();
    resolver(&stand, "steady-le", "", "");
    told(&stand, "steady-le", "Ready").await;
    let written = object(&stand, "steady-le");
    first.process.terminate(std::time::Duration::from_secs(10));
    let _second = stand.start_controller();
    look::fence(&stand, "fence").await;
    assert_eq!(object(&stand, "steady-le"), written);
    let forged = r#"{"status":{"conditions":[{"type":"Ready","status":"False","reason":"Forged",
        "message":"","lastTransitionTime":"2020-01-01T00:00:00Z"}]}}"#;
    let patch = ["patch", "certificateresolver", "steady-le", "--subresource=status"];
    let args = [&patch[..], &["--type=merge", "-p", forged]].concat();
    stand.cluster.kubectl(&args, "");
    told(&stand, "steady-le", "Ready").await;
    stand.cluster.kubectl(&["delete", "certificateresolver", "steady-le"], "");
}

/// The objects are kept in another version, and nobody can convert them: every list of them fails.
fn break_lists(cluster: &Cluster) {
    let crd = "certificateresolvers.routecert.dev";
    let text = cluster.kubectl(&["get", "crd", crd, "-o", "json"], "");
    let mut object: Value = serde_json::from_str(&text).unwrap();
    let versions = object["spec"]["versions"].as_array_mut().unwrap();
    let mut other = versions[0].clone();
    other["name"] = "v1".into();
    versions[0]["storage"] = false.into();
    versions.push(other);
    cluster.kubectl(&["replace", "-f", "-"], &object.to_string());
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", crd], "");
}

fn convert_by_nobody(cluster: &Cluster) {
    let webhook = serde_json::json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:9/convert"},
    }}}});
    let crd = "certificateresolvers.routecert.dev";
    let args = ["patch", "crd", crd, "--type=merge", "-p", &webhook.to_string()];
    cluster.kubectl(&args, "");
}

fn convert_by_none(cluster: &Cluster) {
    let none = r#"{"spec":{"conversion":{"strategy":"None","webhook":null}}}"#;
    let crd = "certificateresolvers.routecert.dev";
    cluster.kubectl(&["patch", "crd", crd, "--type=merge", "-p", none], "");
}

#[tokio::test]
async fn while_grants_cannot_be_read_only_hosts_that_are_held_have_an_owner() {
    let cluster = Cluster::start();
    cluster.apply_crds(&tools::clone_root().join("crds"));
    let mut stand = Stand::new(&cluster, binary(), "unread").await;
    stand.settings.crd.clear();
    let _proxy = stand.start_proxy();
    let first = stand.start_controller();
    stand.route("held", "Host(`held.example.com`)", LE);
    let held = stand.certificate("held.example.com").await;
    look::told(&stand, "held", "Issued").await;
    first.process.terminate(std::time::Duration::from_secs(10));

    break_lists(&cluster);
    let grant = "  grants: [{namespaces: [somebody-else], domains: [granted.example.com]}]\n";
    resolver(&stand, "unread-le", "", grant);
    let fails = async || {
        convert_by_nobody(&cluster);
        let list = cluster.try_kubectl(&["get", "certificateresolvers.v1alpha1.routecert.dev"], "");
        if list.status.success() { Err("it can still be read".to_owned()) } else { Ok(()) }
    };
    stand.eventually("lists to fail", fails).await;
    let _second = stand.start_controller();
    stand.route("granted", "Host(`granted.example.com`)", LE);
    stand.route("new", "Host(`new.example.com`)", LE);
    for route in ["granted", "new"] {
        let waits = look::told(&stand, route, "OwnerUnknown").await;
        let message = waits["message"].as_str().unwrap();
        assert!(message.len() < 1024 && message.contains("cannot be read yet"), "{message}");
    }
    look::told(&stand, "held", "Issued").await;
    assert_eq!(stand.ca.orders(), 1);

    convert_by_none(&cluster);
    stand.certificate("new.example.com").await;
    look::told(&stand, "granted", "HostOwnedElsewhere").await;
    assert_eq!(stand.certificate("held.example.com").await, held);
    assert_eq!(stand.ca.orders(), 2);
}
