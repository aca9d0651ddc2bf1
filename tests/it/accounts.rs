//! Keys: the account's, kept for ever, and those of certificates, as the resolver says.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use crate::look::LE;
use crate::parts::client;
use crate::parts::stand::Stand;
use crate::stand;

/// The stand's one account Secret.
pub(crate) async fn stored(stand: &Stand<'_>) -> Secret {
    let namespace = &stand.settings.controller_namespace;
    let secrets: Api<Secret> = Api::namespaced(stand.client.clone(), namespace);
    let ours = ListParams::default().labels("routecert.dev/kind=account");
    let mut found = secrets.list(&ours).await.unwrap().items;
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// The account as the CA has it, asked for with the stored key (RFC 8555 §6.3).
pub(crate) fn at_the_ca(stand: &Stand<'_>, secret: &Secret) -> Result<serde_json::Value, String> {
    tell_the_ca(stand, secret, "")
}

/// The account once `change`, JSON, is made to it.
pub(crate) fn tell_the_ca(
    stand: &Stand<'_>,
    secret: &Secret,
    change: &str,
) -> Result<serde_json::Value, String> {
    let data = secret.data.as_ref().unwrap();
    let url = std::str::from_utf8(&data["url"].0).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(&data["key.pem"].0).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der());
    let trust = stand.ca.trust.display().to_string();
    let ask = |url: &str, more: &[&str]| {
        client::curl(stand.ca.port, url, &[&["--cacert", &trust], more].concat())
    };
    let directory = stand.ca.ask_directory()?.json();
    let nonce = ask(directory["newNonce"].as_str().unwrap(), &["--head"])?;
    let nonce = nonce.header("replay-nonce").unwrap();
    let protected = serde_json::json!({"alg": "ES256", "kid": url, "nonce": nonce, "url": url});
    let protected = BASE64URL_NOPAD.encode(protected.to_string().as_bytes());
    let payload = BASE64URL_NOPAD.encode(change.as_bytes());
    let input = format!("{protected}.{payload}");
    let signed = key.unwrap().sign(&SystemRandom::new(), input.as_bytes());
    let signature = BASE64URL_NOPAD.encode(signed.unwrap().as_ref());
    let body =
        serde_json::json!({"protected": protected, "payload": payload, "signature": signature});
    let json = ["--header", "Content-Type: application/jose+json", "--data", &body.to_string()];
    let reply = ask(url, &json)?;
    if reply.status == 200 { Ok(reply.json()) } else { Err(format!("{reply:?}")) }
}

#[tokio::test]
async fn each_resolver_gets_certificates_with_its_type_of_key_from_one_account() {
    let mut stand = stand("key-types").await;
    let types = ["EC256", "EC384", "RSA2048", "RSA4096"];
    let resolver = |key_type: &str| key_type.to_ascii_lowercase();
    stand.settings.resolvers = types.map(|one| (resolver(one), one.to_owned())).into();
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    for one in types.map(resolver) {
        let tls = format!("{{certResolver: {one}}}");
        stand.route(&one, &format!("Host(`{one}.example.com`)"), &tls);
    }
    for one in types {
        let issued = stand.certificate(&format!("{}.example.com", resolver(one))).await;
        assert_eq!(issued.chain.key(), one);
    }
    assert_eq!((stand.ca.accounts(), stand.ca.orders()), (1, 4));
}

#[tokio::test]
async fn the_account_has_its_contact_and_is_kept_over_restarts() {
    let stand = stand("account").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    let first = stored(&stand).await;
    controller.process.terminate(Duration::from_secs(10));
    let _controller = stand.start_controller();
    stand.route("next", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
    assert_eq!(stored(&stand).await, first);
    assert_eq!(stand.ca.accounts(), 1);
    // Pebble refuses one good nonce in twenty
    let account = stand.eventually("the account", async || at_the_ca(&stand, &first)).await;
    assert_eq!(account["status"], "valid");
    assert_eq!(account["contact"], serde_json::json!(["mailto:a@example.com"]));
}

#[tokio::test]
async fn an_account_that_the_ca_lost_is_registered_again_with_its_key() {
    let stand = stand("lost-account").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let kept = stand.certificate("a.example.com").await;
    let before = stored(&stand).await.data.unwrap();
    stand.ca.stop();
    stand.ca.resume();
    stand.route("next", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
    let after = stored(&stand).await.data.unwrap();
    assert_eq!(after["key.pem"], before["key.pem"]);
    assert_eq!(stand.certificate("a.example.com").await, kept);
    assert_eq!((stand.ca.accounts(), stand.ca.issued()), (2, 2));
}
