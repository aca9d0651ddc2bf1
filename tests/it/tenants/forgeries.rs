//! Objects of a tenant that claim to be ours.

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::look;
use crate::parts::keys;
use crate::parts::stand::Stand;
use crate::tenants::{HOST, Scene};

/// As our certificates are named.
const FORGED: &str = "rc-aaaaaaaaaaaaaaaaaaaa";

/// A TLS Secret with a certificate for `host` by nobody.
fn secret(namespace: &str, name: &str, kind: &str, host: &str) -> Value {
    let keys = keys::server(&[host]);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "routecert.dev/kind": kind,
                "routecert.dev/id": name.trim_start_matches("rc-"),
                "routecert.dev/owner": namespace,
            },
            "annotations": {"routecert.dev/names": host, "routecert.dev/resolver": "le"},
        },
        "data": {
            "tls.crt": BASE64.encode(keys.chain.as_bytes()),
            "tls.key": BASE64.encode(keys.key.as_bytes()),
        },
    })
}

fn challenges(namespace: &str, shard: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": format!("routecert-challenges-{shard}"),
            "namespace": namespace,
            "labels": {"routecert.dev/kind": "challenges"},
        },
        "data": {"forged": json!({
            "name": HOST, "answer": "forged.answer", "expires": "2999-01-01T00:00:00Z",
        }).to_string()},
    })
}

fn answer(stand: &Stand<'_>) -> String {
    let url = format!("http://{HOST}/.well-known/acme-challenge/forged");
    let reply = stand.get(&url).unwrap();
    format!("{} {}", reply.status, reply.body)
}

#[tokio::test]
async fn a_challenge_in_a_tenants_namespace_is_answered_by_nobody() {
    let scene = Scene::new("challenge").await;
    for shard in 0..8 {
        scene.create(&challenges(&scene.own, shard));
    }
    let before = answer(&scene.stand);
    assert!(before.starts_with("404"), "{before}");
    scene.is_unharmed().await;
    assert_eq!(answer(&scene.stand), before);
    // Where our own are it would have been answered; and there the tenant may not write.
    let certs = &scene.stand.settings.certificates_namespace;
    let real = |shard| challenges(certs, shard).to_string();
    scene.is_forbidden(&["apply", "-f", "-"], &real(0));
    for shard in 0..8 {
        scene.stand.cluster.apply(&real(shard));
    }
    let answered = async || match answer(&scene.stand) {
        told if told == "200 forged.answer" => Ok(()),
        told => Err(told),
    };
    scene.stand.eventually("the answer of the table", answered).await;
}

#[tokio::test]
async fn a_secret_with_labels_of_ours_is_no_certificate_of_ours() {
    let scene = Scene::new("labels").await;
    let forged = "forged.example.com";
    let before = scene.stand.served(forged);
    for (name, kind, host) in [
        (FORGED, "certificate", forged),
        (&scene.issued.secret, "certificate", HOST),
        ("routecert-state-aaaaaaaaaaaaaaaaaaaa", "state", HOST),
        ("routecert-account-aaaaaaaaaaaaaaaa", "account", HOST),
    ] {
        scene.create(&secret(&scene.own, name, kind, host));
    }
    scene.is_unharmed().await;
    assert_eq!(scene.stand.served(forged), before);
    // Where our own are it would have been served; and there the tenant may not write.
    let certs = &scene.stand.settings.certificates_namespace;
    let real = secret(certs, FORGED, "certificate", forged).to_string();
    scene.is_forbidden(&["apply", "-f", "-"], &real);
    scene.stand.cluster.apply(&real);
    let served = async || match scene.stand.served(forged) {
        Ok(chain) if chain.names() == [forged] => Ok(()),
        other => Err(format!("{other:?}")),
    };
    scene.stand.eventually("the Secret to be served", served).await;
}

#[tokio::test]
async fn a_secret_that_looks_like_a_copy_stays_as_its_tenant_made_it() {
    let scene = Scene::new("likeness").await;
    scene.create(&secret(&scene.own, "mine", "copy", "x.example.org"));
    let read = || {
        let text = scene.kubectl(&["get", "secret", "mine", "-o", "json"], "");
        let object: Value = serde_json::from_str(&text).unwrap();
        (object["data"].clone(), object["metadata"]["resourceVersion"].clone())
    };
    let before = read();
    let host = format!("Host(`{}`)", scene.honest);
    scene.create(&scene.route("wants", &host, json!({"secretName": "mine"})));
    scene.told("wants", "SecretNotOurs").await;
    scene.is_unharmed().await;
    assert_eq!(read(), before);
}

#[tokio::test]
async fn an_acmecertificate_of_a_tenant_is_read_by_nobody() {
    let scene = Scene::new("output").await;
    let controller = &scene.stand.settings.controller_namespace;
    let object = |name: &str, labels: Value| {
        json!({
            "apiVersion": "routecert.dev/v1alpha1",
            "kind": "AcmeCertificate",
            "metadata": {"name": name, "namespace": scene.own, "labels": labels},
            "spec": {"names": [HOST], "hosts": HOST, "resolver": "le", "routes": []},
            "status": {"ready": "True", "reason": "Issued", "message": "", "secret":
                format!("{}/{}", scene.stand.settings.certificates_namespace, scene.issued.secret)},
        })
    };
    let ours = json!({"routecert.dev/controller": controller});
    scene.create(&object(&scene.issued.secret, ours.clone()));
    scene.create(&object("wish", json!({})));
    scene.create(&object(FORGED, ours));
    let taken_away = async || {
        let left = scene.kubectl(&["get", "acmecertificates", "-o", "name"], "");
        let left: Vec<&str> = left.lines().filter(|line| line.contains("/rc-")).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    };
    scene.stand.eventually("what bears our label to go", taken_away).await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn deleting_or_editing_our_acmecertificate_orders_nothing_and_is_put_back() {
    let scene = Scene::new("shown").await;
    scene.honest().await;
    let name = scene.kubectl(&["get", "acmecertificates", "-o", "name"], "");
    let shown = || {
        let args = ["get", name.trim(), "-o", "json", "--ignore-not-found"];
        let text = scene.kubectl(&args, "");
        let object: Value = serde_json::from_str(&text).unwrap_or_default();
        (object["spec"].clone(), object["status"].clone())
    };
    let before = shown();
    let again = async || if shown() == before { Ok(()) } else { Err(format!("{:?}", shown())) };
    scene.kubectl(&["delete", name.trim()], "");
    scene.stand.eventually("it to be made again", again).await;
    let edit = json!({"spec": {"names": [HOST], "hosts": HOST}, "status": {"reason": "Expired"}});
    scene.kubectl(&["patch", name.trim(), "--type=merge", "-p", &edit.to_string()], "");
    scene.stand.eventually("it to be as before", again).await;
    scene.kubectl(&["delete", "rcir", "honest"], "");
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_status_that_a_tenant_writes_is_put_back_and_believed_by_nobody() {
    let scene = Scene::new("status").await;
    scene.create(&scene.route("claim", &format!("Host(`{HOST}`)"), json!({"secretName": "got"})));
    scene.told("claim", "HostOwnedElsewhere").await;
    let forged = json!({"status": {
        "conditions": [{"type": "Ready", "status": "True", "reason": "Issued", "message": "",
            "lastTransitionTime": "2020-01-01T00:00:00Z"}],
        "certificates": [{"name": scene.issued.secret, "names": [HOST]}],
    }});
    let patch = ["patch", "rcir", "claim", "--subresource=status", "--type=merge", "-p"];
    scene.kubectl(&[&patch[..], &[&forged.to_string()]].concat(), "");
    let back = scene.told("claim", "HostOwnedElsewhere").await;
    assert_eq!(back["status"], "False");
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_copy_that_its_tenant_edits_is_filled_again_with_the_tenants_own_certificate() {
    let scene = Scene::new("edited").await;
    scene.honest().await;
    let copy = look_at_keys(&scene).await;
    let theirs = secret(&scene.own, "honest", "certificate", HOST);
    let edit = json!({"data": theirs["data"], "metadata": theirs["metadata"]["labels"]});
    let edit = json!({"data": edit["data"], "metadata": {"labels": edit["metadata"]}});
    scene.kubectl(&["patch", "secret", "honest", "--type=merge", "-p", &edit.to_string()], "");
    let filled = async || match look_at_keys(&scene).await {
        now if now == copy => Ok(()),
        now => Err(format!("{now:?}")),
    };
    scene.stand.eventually("the copy to be filled again", filled).await;
    scene.kubectl(&["delete", "rcir", "honest"], "");
    scene.is_unharmed().await;
}

async fn look_at_keys(scene: &Scene) -> Vec<(String, crate::parts::client::Chain)> {
    look::fence(&scene.stand, &format!("fence-{:08x}", rand::random::<u32>())).await;
    scene.keys().await
}
