//! TLS-ALPN-01, with a client that offers what a CA offers, and others.

use rustls::AlertDescription;
use tokio::io::AsyncReadExt;

use super::client::{config, handshake};
use super::*;
use crate::challenge;
use crate::challenge::Answer;

fn shard(host: &str, key_authorization: &str, minutes: i64) -> Shard {
    let expires = proxy::now() + SignedDuration::from_mins(minutes);
    let answer = key_authorization.to_owned();
    let entry = Answer { name: Name::parse(host).unwrap(), answer, expires };
    let key = challenge::alpn_key(host);
    Shard { index: challenge::shard_of(&key), answers: [(key, entry)].into() }
}

/// The certificate that is shown, or the alert.
async fn asked(address: SocketAddr, sni: &str, alpn: &[&str]) -> Result<Vec<u8>, String> {
    let stream = handshake(address, sni, config(rustls::ALL_VERSIONS, alpn)).await;
    let mut stream = stream.map_err(|error| error.to_string())?;
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    if alpn == ["acme-tls/1"] {
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(challenge::ALPN_PROTOCOL));
        let mut rest = Vec::new();
        assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0, "nothing follows");
    }
    Ok(leaf)
}

#[tokio::test]
async fn a_ca_sees_the_certificate_of_the_challenge_on_every_entry_point_and_nobody_else_does() {
    let proxy = Running::start("http://127.0.0.1:1").await;
    proxy.challenges.unbounded_send(shard("new.x", "token.thumb", 60)).unwrap();
    eventually("the challenge is known", async || {
        asked(proxy.websecure, "new.x", &["acme-tls/1"]).await.is_ok()
    })
    .await;
    for address in [proxy.web, proxy.websecure, proxy.bare] {
        let leaf = asked(address, "NEW.x", &["acme-tls/1"]).await.unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"token.thumb");
        let mut extensions = parsed.extensions().iter();
        assert!(extensions.any(|one| one.critical && one.value.ends_with(digest.as_ref())));
        for offered in [&["h2", "acme-tls/1"][..], &["acme-tls/1", "http/1.1"], &[]] {
            let other = asked(address, "new.x", offered).await.unwrap();
            let (_, parsed) = x509_parser::parse_x509_certificate(&other).unwrap();
            let marked = parsed.extensions().iter().any(|one| one.value.ends_with(digest.as_ref()));
            assert!(!marked, "{offered:?} shows the challenge");
        }
        for twice in [&["acme-tls/1", "acme-tls/1"][..], &["acme-tls/1", "foo"]] {
            asked(address, "new.x", twice).await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn a_name_without_a_challenge_is_refused_with_an_alert_and_looked_up_once() {
    let proxy = Running::start("http://127.0.0.1:1").await;
    let alert = format!("{:?}", AlertDescription::NoApplicationProtocol);
    let refused = asked(proxy.websecure, "a.x", &["acme-tls/1"]).await.unwrap_err();
    assert!(refused.contains(&alert), "{refused}");
    assert_eq!(proxy.look_ups.load(Ordering::Relaxed), 1);
    proxy.challenges.unbounded_send(shard("old.x", "t.k", -1)).unwrap();
    let refused = asked(proxy.websecure, "old.x", &["acme-tls/1"]).await.unwrap_err();
    assert!(refused.contains(&alert), "{refused}");
    let no_name = asked(proxy.websecure, "127.0.0.1", &["acme-tls/1"]).await.unwrap_err();
    assert!(no_name.contains(&alert), "{no_name}");
}
