//! What people do to objects of ours, and what becomes of it.

use std::collections::BTreeMap;

use crate::look::{self, LE};
use crate::parts::stand::{Issued, Stand};
use crate::stand;

/// Waits until the AcmeCertificate shows what `holds` asks for.
async fn shows(stand: &Stand<'_>, name: &str, holds: impl Fn(&serde_json::Value) -> bool) {
    let condition = async || {
        let object = stand.object("AcmeCertificate", name).await?;
        if holds(&object) { Ok(()) } else { Err(object.to_string()) }
    };
    stand.eventually("the AcmeCertificate", condition).await;
}

fn patch(stand: &Stand<'_>, kind: &str, name: &str, patch: &str) {
    let args = ["patch", kind, name, "-n", &stand.routes, "--type=merge", "-p", patch];
    stand.cluster.kubectl(&args, "");
}

fn delete_certificate(stand: &Stand<'_>, issued: &Issued) {
    let namespace = stand.settings.certificates_namespace.as_str();
    stand.cluster.kubectl(&["delete", "secret", &issued.secret, "-n", namespace], "");
}

#[tokio::test]
async fn an_acmecertificate_edited_by_hand_is_put_back_and_no_secret_is_touched() {
    let stand = stand("edited").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let issued = stand.certificate("a.example.com").await;
    let name = issued.secret.as_str();
    let ready = |object: &serde_json::Value| {
        object["status"]["ready"] == "True"
            && object["spec"]["hosts"] == "a.example.com"
            && object["metadata"]["labels"].as_object().is_some_and(|labels| !labels.is_empty())
    };
    shows(&stand, name, ready).await;
    patch(&stand, "acmecert", name, r#"{"spec": {"hosts": "evil.example.com"}}"#);
    shows(&stand, name, ready).await;
    patch(&stand, "acmecert", name, r#"{"metadata": {"labels": null}}"#);
    shows(&stand, name, ready).await;
    patch(&stand, "acmecert", name, r#"{"status": {"ready": "False"}}"#);
    shows(&stand, name, ready).await;
    assert_eq!(stand.certificate("a.example.com").await, issued);
    assert_eq!(stand.ca.orders(), 1);
}

#[tokio::test]
async fn a_certificate_deleted_again_and_again_is_a_loop_and_no_longer_ordered() {
    let stand = stand("loop").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let mut issued = stand.certificate("a.example.com").await;
    for orders in 2..=3 {
        delete_certificate(&stand, &issued);
        issued = stand.certificate("a.example.com").await;
        assert_eq!(stand.ca.orders(), orders);
        let name = &issued.secret;
        shows(&stand, name, |object| object["status"]["reason"] == "Issued").await;
    }
    delete_certificate(&stand, &issued);
    let suspected = |object: &serde_json::Value| object["status"]["reason"] == "LoopSuspected";
    shows(&stand, &issued.secret, suspected).await;
    look::told(&stand, "blog", "LoopSuspected").await;
    stand.route("next", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
    assert_eq!(stand.ca.orders(), 4, "three of the one, one of the other");
}

#[tokio::test]
async fn a_copy_follows_whatever_is_done_to_it_and_restarts_leave_it_alone() {
    let stand = stand("copy").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", "{certResolver: le, secretName: blog-tls}");
    let chain = stand.certificate("a.example.com").await.chain;
    look::copied(&stand, "blog-tls", &chain).await;
    look::told(&stand, "blog", "Issued").await;
    let empty =
        r#"{"data": {"tls.crt": "", "tls.key": ""}, "metadata": {"labels": {"mine": "x"}}}"#;
    patch(&stand, "secret", "blog-tls", empty);
    let kept = look::copied(&stand, "blog-tls", &chain).await;
    assert_eq!(kept.metadata.labels.unwrap()["mine"], "x", "what others added stays");
    stand.cluster.kubectl(&["delete", "secret", "blog-tls", "-n", &stand.routes], "");
    look::copied(&stand, "blog-tls", &chain).await;
    look::fence(&stand, "fence-1").await;

    let before = look::secret(&stand, "blog-tls").await.unwrap();
    controller.process.terminate(std::time::Duration::from_secs(10));
    let _controller = stand.start_controller();
    look::fence(&stand, "fence-2").await;
    look::told(&stand, "blog", "Issued").await;
    assert_eq!(look::secret(&stand, "blog-tls").await.unwrap(), before);
    patch(&stand, "secret", "blog-tls", empty);
    look::copied(&stand, "blog-tls", &chain).await;
    assert_eq!(stand.ca.orders(), 1);
}

#[tokio::test]
async fn a_foreign_secret_is_never_touched_and_once_it_is_gone_the_copy_is_made() {
    let stand = stand("foreign-opaque").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    // a label claims that it is ours: labels claim nothing
    stand.cluster.apply(&format!(
        "{{apiVersion: v1, kind: Secret, type: Opaque, stringData: {{tls.crt: theirs}}, metadata: \
         {{name: theirs, namespace: {}, labels: {{routecert.dev/kind: copy}}}}}}",
        stand.routes
    ));
    let before = look::secret(&stand, "theirs").await.unwrap();
    stand.route("blog", "Host(`a.example.com`)", "{certResolver: le, secretName: theirs}");
    let condition = look::told(&stand, "blog", "SecretNotOurs").await;
    assert_eq!(condition["status"], "False");
    let url = "https://a.example.com/";
    stand.eventually(url, async || stand.get(url)).await;
    controller.process.terminate(std::time::Duration::from_secs(10));
    let _controller = stand.start_controller();
    look::fence(&stand, "fence").await;
    look::told(&stand, "blog", "SecretNotOurs").await;
    assert_eq!(look::secret(&stand, "theirs").await.unwrap(), before);

    stand.cluster.kubectl(&["delete", "secret", "theirs", "-n", &stand.routes], "");
    let chain = stand.certificate("a.example.com").await.chain;
    look::copied(&stand, "theirs", &chain).await;
    assert_eq!(look::told(&stand, "blog", "Issued").await["status"], "True");
    assert_eq!(stand.ca.orders(), 1);
}

#[tokio::test]
async fn of_two_routes_that_name_one_secret_the_older_gets_it() {
    let stand = stand("conflict").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let tls = "{certResolver: le, secretName: one}";
    stand.route("older", "Host(`a.example.com`)", tls);
    look::told(&stand, "older", "Issued").await;
    stand.route("younger", "Host(`b.example.com`)", tls);
    let condition = look::told(&stand, "younger", "Conflict").await;
    assert!(condition["message"].as_str().unwrap().contains("/one "), "{condition}");
    let [first, second] =
        [stand.certificate("a.example.com").await, stand.certificate("b.example.com").await];
    look::told(&stand, "younger", "Conflict").await;
    look::copied(&stand, "one", &first.chain).await;
    // the older one goes: the younger one's turn
    stand.delete_route("older");
    look::copied(&stand, "one", &second.chain).await;
    look::told(&stand, "younger", "Issued").await;
}

#[tokio::test]
async fn a_copy_follows_a_route_whose_names_change_and_outlives_the_old_certificate() {
    let mut stand = stand("renamed").await;
    "1s".clone_into(&mut stand.settings.remove_after);
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let tls = "{certResolver: le, secretName: blog-tls}";
    stand.route("blog", "Host(`a.example.com`)", tls);
    look::told(&stand, "blog", "Issued").await;
    let first = look::secret(&stand, "blog-tls").await.unwrap();
    stand.route("blog", "Host(`b.example.com`)", tls);
    let chain = stand.certificate("b.example.com").await.chain;
    let second = look::copied(&stand, "blog-tls", &chain).await;
    assert_eq!(second.metadata.uid, first.metadata.uid, "never taken away");
    let removed = async || {
        let left = stand.certificates().await?;
        if left.contains_key("a.example.com") { Err(format!("{:?}", left.keys())) } else { Ok(()) }
    };
    stand.eventually("the old certificate to go", removed).await;
    look::fence(&stand, "fence").await;
    assert_eq!(look::secret(&stand, "blog-tls").await.unwrap().metadata.uid, first.metadata.uid);
    assert_eq!(look::told(&stand, "blog", "Issued").await["status"], "True");
}

#[tokio::test]
async fn without_the_right_to_copies_certificates_are_got_and_served_and_the_route_says_so() {
    let stand = stand("no-right").await;
    let binding = "no-right-system:controller-copies";
    let rights = ["get", "clusterrolebinding", binding, "-o", "yaml"];
    let rights = stand.cluster.kubectl(&rights, "");
    stand.cluster.kubectl(&["delete", "clusterrolebinding", binding], "");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", "{certResolver: le, secretName: blog-tls}");
    let condition = look::told(&stand, "blog", "NoRight").await;
    assert!(condition["message"].as_str().unwrap().contains("secrets"), "{condition}");
    let chain = stand.certificate("a.example.com").await.chain;
    let url = "https://a.example.com/";
    stand.eventually(url, async || stand.get(url)).await;
    stand.cluster.kubectl(&["create", "-f", "-"], &without_versions(&rights));
    look::copied(&stand, "blog-tls", &chain).await;
    look::told(&stand, "blog", "Issued").await;
    assert_eq!(stand.ca.orders(), 1);
}

/// An object as it may be created again.
fn without_versions(yaml: &str) -> String {
    let volatile = |line: &&str| {
        let line = line.trim_start();
        !line.starts_with("resourceVersion:") && !line.starts_with("uid:")
    };
    yaml.lines().filter(volatile).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_certificate_damaged_by_hand_is_got_again_and_the_good_one_served_meanwhile() {
    let stand = stand("damaged").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let first = stand.certificate("a.example.com").await;
    let url = "https://a.example.com/";
    stand.eventually(url, async || stand.get(url)).await;
    let namespace = stand.settings.certificates_namespace.as_str();
    let damage = ["-p", r#"{"data": {"tls.crt": "bm90aGluZw=="}}"#];
    let secret = ["patch", "secret", &first.secret, "-n", namespace];
    stand.cluster.kubectl(&[&secret[..], &damage].concat(), "");
    let another = async || {
        let served = stand.served("a.example.com")?;
        served.verify(&stand.ca.root(), "a.example.com").expect("a good one at every moment");
        if served == first.chain { Err("the first one".to_owned()) } else { Ok(served) }
    };
    let served = stand.eventually("another certificate to be served", another).await;
    assert_eq!(stand.certificate("a.example.com").await.chain, served);
    look::told(&stand, "blog", "Issued").await;
    assert_eq!(stand.ca.orders(), 2);
}

#[tokio::test]
async fn a_state_record_that_cannot_be_read_is_named_and_left_alone() {
    let stand = stand("corrupt").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let issued = stand.certificate("a.example.com").await;
    look::told(&stand, "blog", "Issued").await;
    let requests = stand.ca.requests();
    controller.process.terminate(std::time::Duration::from_secs(10));
    let name = issued.secret.replace("rc-", "routecert-state-");
    let namespace = stand.settings.controller_namespace.as_str();
    let patch = ["-p", r#"{"data": {"state.json": "ew=="}}"#];
    let secret = ["patch", "secret", &name, "-n", namespace];
    stand.cluster.kubectl(&[&secret[..], &patch].concat(), "");
    let before = look::versions(&stand);
    let controller = stand.start_controller();
    look::logs(&stand, &controller, "everything is known").await;
    look::fence(&stand, "fence").await;
    assert_eq!(look::lines(&controller, &name), 1, "{}", controller.process.log());
    // What is shown may say less than before; what is kept is untouched.
    let kept = |all: BTreeMap<String, String>| -> BTreeMap<String, String> {
        all.into_iter().filter(|(name, _)| !name.starts_with("AcmeCertificate/")).collect()
    };
    assert_eq!(kept(look::versions(&stand)), kept(before));
    assert_eq!(stand.ca.requests(), requests);
    // the others are as they should be
    stand.route("next", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
}
