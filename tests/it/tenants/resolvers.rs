//! Attacks on resolvers that are objects, and on their credentials.

use serde_json::{Value, json};

use crate::look;
use crate::resolvers::{self, resolver};
use crate::tenants::Scene;

#[tokio::test]
async fn a_resolver_that_is_for_others_is_not_to_be_had() {
    let (stand, _turn) = resolvers::stand("foreign").await;
    let scene = Scene::of(stand, "foreign").await;
    let allowed = format!("  allow: {{namespaces: [{}]}}\n", scene.stand.routes);
    resolver(&scene.stand, "foreign-team", "", &allowed);
    resolvers::told(&scene.stand, "foreign-team", "Ready").await;
    let tls = |name: &str| json!({"certResolver": name, "secretName": "got"});
    scene.create(&scene.route("named", "Host(`x.example.com`)", tls("foreign-team")));
    let refused = scene.told("named", "NotAllowed").await;
    assert!(refused["message"].as_str().unwrap().contains("spec.allow.namespaces"), "{refused}");
    let patch = ["patch", "certificateresolver", "foreign-team", "--type=merge", "-p"];
    for change in [r#"{"spec":{"allow":null}}"#, r#"{"status":null}"#] {
        scene.is_forbidden(&[&patch[..], &[change]].concat(), "");
    }
    scene.is_forbidden(&["delete", "certificateresolver", "foreign-team"], "");
    scene.is_unharmed().await;
    // Those it is for get it: the refusal was no accident.
    scene.stand.route("team", "Host(`team.example.com`)", "{certResolver: foreign-team}");
    scene.stand.certificate("team.example.com").await;
    scene.stand.cluster.kubectl(&["delete", "certificateresolver", "foreign-team"], "");
}

#[tokio::test]
async fn credentials_of_a_resolver_come_from_no_tenants_namespace() {
    let (stand, _turn) = resolvers::stand("lent").await;
    let scene = Scene::of(stand, "lent").await;
    for (secret, key) in [("eab", "hmac"), ("dns", "token")] {
        let literal = format!("--from-literal={key}=c2VjcmV0");
        scene.kubectl(&["create", "secret", "generic", secret, &literal], "");
    }
    let eab = ", eab: {kid: k1, hmacSecretRef: {name: eab, key: hmac}}";
    let dns = ", dnsChallenge: {solvers: [{provider: hetzner, env: {HETZNER_API_TOKEN: \
               {secretRef: {name: dns, key: token}}}}]}";
    for (name, acme) in [("lent-eab", eab), ("lent-dns", dns)] {
        resolver(&scene.stand, name, acme, "");
        let missing = resolvers::told(&scene.stand, name, "SecretMissing").await;
        let message = missing["message"].as_str().unwrap();
        assert!(message.contains("there is no Secret lent-system/"), "{message}");
    }
    // No reference can name another namespace, and no tenant can write one at all.
    let path = format!("{}/eab", scene.own);
    let elsewhere = eab.replace("name: eab", &format!("name: {path}"));
    resolver(&scene.stand, "lent-eab", &elsewhere, "");
    let named = async || {
        let args = ["get", "certificateresolver", "lent-eab", "-o", "json"];
        let object: Value = serde_json::from_str(&scene.stand.cluster.kubectl(&args, "")).unwrap();
        let said = object["status"]["conditions"][0]["message"].to_string();
        if said.contains(&format!("lent-system/{path}")) { Ok(()) } else { Err(said) }
    };
    scene.stand.eventually("the path to be taken for a name", named).await;
    let own = "{apiVersion: routecert.dev/v1alpha1, kind: CertificateResolver, metadata: {name: \
               lent-own}, spec: {acme: {email: a@example.com, httpChallenge: {entryPoint: web}}}}";
    scene.is_forbidden(&["create", "-f", "-"], own);
    scene.create(&scene.route(
        "uses",
        "Host(`x.example.com`)",
        json!({"certResolver": "lent-eab", "secretName": "got"}),
    ));
    scene.told("uses", "ResolverUnusable").await;
    scene.is_unharmed().await;
    assert_eq!(look::lines(&scene.controller, "c2VjcmV0"), 0);
    scene.stand.cluster.kubectl(&["delete", "certificateresolver", "lent-eab", "lent-dns"], "");
}
