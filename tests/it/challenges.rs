//! What a CA meets at a proxy, asked with its own means: entries of the challenge table, and real
//! clients.

use std::process::Command;

use routecert::challenge;

use crate::front::{HOST, answer};
use crate::parts::client;
use crate::parts::process;
use crate::parts::routecert::Routecert;
use crate::parts::stand::Stand;
use crate::stand;

const NEVER: &str = "2100-01-01T00:00:00Z";

/// What `openssl s_client` says of a handshake with the proxy, and the certificate as text.
fn openssl(port: u16, args: &[&str]) -> (String, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]).args(args);
    let output = process::run(command, "");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let mut reading = Command::new("openssl");
    reading.args(["x509", "-noout", "-text"]);
    let text = process::run(reading, &said).stdout;
    (said, String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn openssl_sees_the_certificate_of_tls_alpn_01_and_no_other_client_does() {
    let stand = stand("alpn-openssl").await;
    let proxy = stand.start_proxy();
    answer(&stand, &challenge::alpn_key(HOST), "token.thumb", NEVER);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"token.thumb");
    let digest = data_encoding::HEXUPPER.encode(digest.as_ref());
    for version in ["-tls1_2", "-tls1_3"] {
        let ask = ["-alpn", "acme-tls/1", "-servername", HOST, version];
        let (said, text) = openssl(stand.settings.websecure, &ask);
        assert!(said.contains("ALPN protocol: acme-tls/1"), "{said}");
        assert!(text.contains("1.3.6.1.5.5.7.1.31: critical"), "{text}");
        assert!(text.contains(&format!("DNS:{HOST}\n")), "{text}");
        let shown = said_hex(&said);
        assert!(shown.contains(&digest), "{shown} has no {digest}");
    }
    let (said, text) =
        openssl(stand.settings.websecure, &["-alpn", "http/1.1,acme-tls/1", "-servername", HOST]);
    assert!(said.contains("ALPN protocol: http/1.1") && !text.contains(".31: critical"), "{said}");
    let (said, _) = openssl(
        stand.settings.websecure,
        &["-alpn", "acme-tls/1", "-servername", "unknown.example.com"],
    );
    assert!(said.contains("no peer certificate available"), "{said}");
    assert!(proxy.is_ready());
}

/// The certificate in hexadecimal.
fn said_hex(said: &str) -> String {
    let chain = client::Chain::from_pem(said);
    data_encoding::HEXUPPER.encode(&chain.certificates[0])
}

/// A proxy whose plain entry point has `http.tls`, so that in Traefik it speaks TLS alone.
fn tls_on_web(stand: &Stand<'_>) -> Routecert {
    let [admin] = process::free_ports();
    let yaml = stand.settings.yaml(admin);
    let redirections = yaml.lines().find(|line| line.contains("redirections")).unwrap();
    let yaml = yaml.replace(redirections, "    http: {tls: {certResolver: le}}");
    stand.launch_as("proxy", (&yaml, admin), &["--upstream", &stand.upstream.url()])
}

#[tokio::test]
async fn http_01_is_answered_with_and_without_tls_on_every_entry_point_and_never_by_the_app() {
    let stand = stand("http-over-tls").await;
    let proxy = tls_on_web(&stand);
    proxy.await_ready();
    answer(&stand, "token", "token.thumb", NEVER);
    let path = format!("{HOST}/.well-known/acme-challenge");
    for port in [stand.settings.web, stand.settings.websecure] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{path}/token");
            let reply = client::curl(port, &url, &["--insecure"]).unwrap();
            assert_eq!((reply.status, reply.body.as_str()), (200, "token.thumb"), "{url}");
            let url = format!("{scheme}://{path}/unknown");
            let reply = client::curl(port, &url, &["--insecure"]).unwrap();
            assert_eq!((reply.status, reply.body.as_str()), (404, "No such challenge.\n"), "{url}");
        }
    }
}
