//! What a CA meets at a proxy, asked with its own means: entries of the challenge table, and real
//! clients.

use std::process::Command;
use std::time::Duration;

use routecert::challenge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::front::{HOST, answer};
use crate::look::{self, LE};
use crate::parts::ca::Ca;
use crate::parts::client;
use crate::parts::process;
use crate::parts::routecert::Routecert;
use crate::parts::stand::{Stand, self_check};
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

const HTTP: (&str, &str) = ("httpChallenge", "{entryPoint: web}");
const TLS: (&str, &str) = ("tlsChallenge", "{}");

/// A stand whose resolver has these challenges, and whose CA looks at these ports.
async fn proving(
    prefix: &str,
    challenges: &[(&'static str, &str)],
    ports: impl Fn(&Stand<'_>) -> (u16, u16),
) -> Stand<'static> {
    let mut stand = stand(prefix).await;
    let (http, tls) = ports(&stand);
    stand.ca = Ca::start_with(http, &[], &serde_json::json!({"tlsPort": tls}));
    stand.settings.ca_server = stand.ca.directory();
    stand.settings.trust = stand.ca.trust.clone();
    stand.settings.own = vec![self_check((http, tls), stand.ca.dns)];
    let none = ("", "httpChallenge", String::new());
    let some = challenges.iter().map(|(key, value)| ("", *key, (*value).to_owned()));
    stand.settings.acme = [none].into_iter().chain(some).collect();
    stand
}

fn nowhere() -> u16 {
    process::free_ports::<1>()[0]
}

#[tokio::test]
async fn tls_alpn_01_comes_before_http_01() {
    let tls_alone = |stand: &Stand<'_>| (nowhere(), stand.settings.websecure);
    let stand = proving("alpn-first", &[HTTP, TLS], tls_alone).await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`) || Host(`b.example.com`)", LE);
    let issued = stand.certificate("a.example.com,b.example.com").await;
    issued.chain.verify(&stand.ca.root(), "b.example.com").unwrap();
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (1, 1));
    look::no_answers(&stand).await;
}

#[tokio::test]
async fn a_challenge_that_fails_gives_way_to_the_next_one_at_once() {
    let http_alone = |stand: &Stand<'_>| (stand.settings.web, nowhere());
    let stand = proving("fallback", &[HTTP, TLS], http_alone).await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    assert_eq!(stand.ca.orders(), 2);
    assert_eq!(look::lines(&controller, "not issued"), 0, "{}", stand.tails());
    let told = "a.example.com could not be proven by tls-alpn-01; a new order takes the next";
    assert_eq!(look::lines(&controller, told), 1);
    let rest = async || {
        let state = look::states(&stand).await?["a.example.com"].clone();
        let calm = state["tried"].is_null() && state["failures"].is_null();
        if calm && state["pending"].is_null() { Ok(()) } else { Err(state.to_string()) }
    };
    stand.eventually("a state that remembers no failure", rest).await;
    look::no_answers(&stand).await;
}

#[tokio::test]
async fn only_when_every_challenge_failed_is_there_a_pause_and_each_is_told() {
    let stand = proving("all-fail", &[HTTP, TLS], |_| (nowhere(), nowhere())).await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let condition = look::told(&stand, "blog", "Failed").await;
    let message = condition["message"].as_str().unwrap();
    let told = ["tls-alpn-01: a.example.com: ", "http-01: a.example.com: ", "tried again after"];
    assert!(told.iter().all(|part| message.contains(part)), "{message}");
    assert_eq!(stand.ca.orders(), 2);
    look::no_answers(&stand).await;
}

#[tokio::test]
async fn an_answer_goes_as_soon_as_its_own_name_is_settled() {
    let stand = stand("each-answer").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    // Takes connections and says nothing, until the CA has lost its patience.
    let web = stand.settings.web;
    let _silent = TcpListener::bind(("127.0.0.2", web)).await.unwrap();
    stand.ca.place_name("b.example.com", &["127.0.0.2"]);
    stand.route("blog", "Host(`a.example.com`) || Host(`b.example.com`)", LE);
    for count in [2, 1, 0] {
        let left = async || match look::challenges(&stand).await? {
            left if left == count => Ok(()),
            left => Err(format!("{left} answers")),
        };
        stand.eventually(&format!("{count} answers"), left).await;
    }
    let condition = look::told(&stand, "blog", "Failed").await;
    let message = condition["message"].as_str().unwrap();
    assert!(message.contains("b.example.com") && !message.contains("a.example.com:"), "{message}");
}

#[tokio::test]
async fn certificates_that_share_a_name_are_got_one_after_the_other() {
    let stand = stand("shared-name").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let more = |name: &str| {
        format!("{{certResolver: le, domains: [{{main: a.example.com, sans: [{name}]}}]}}")
    };
    for name in ["b.example.com", "c.example.com", "d.example.com"] {
        stand.route(name.get(..1).unwrap(), "Host(`a.example.com`)", &more(name));
    }
    for name in ["b", "c", "d"] {
        stand.certificate(&format!("a.example.com,{name}.example.com")).await;
    }
    let log = controller.process.log();
    let steps = log.lines().filter_map(|line| {
        ["order placed", "certificate stored"].into_iter().find(|step| line.contains(step))
    });
    let steps: Vec<&str> = steps.collect();
    assert_eq!(steps, ["order placed", "certificate stored"].repeat(3));
}

/// What a client asks, to the end of its header.
async fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Sends every request to https on the same host, as a CDN may.
async fn everything_to_https(listener: TcpListener, port: u16) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let head = head_of(&mut stream).await;
        let path = head.split(' ').nth(1).unwrap_or("/");
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let host = fields.find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let Some((_, host)) = host else { continue };
        let host = host.split(':').next().unwrap();
        let reply = format!(
            "HTTP/1.1 301 Moved Permanently\r\nLocation: https://{host}:{port}{path}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(reply.as_bytes()).await.ok();
        tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await.ok();
    }
}

#[tokio::test]
async fn http_01_is_proven_through_a_front_that_sends_everything_to_https() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap().port();
    let stand = proving("behind-cdn", &[HTTP], |_| (front, nowhere())).await;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(everything_to_https(listener, stand.settings.websecure));
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    assert_eq!(stand.ca.orders(), 1);
    assert_eq!(look::lines(&controller, "self-check"), 0, "it follows as the CA does");
}

#[tokio::test]
async fn the_self_check_finds_nothing_where_the_ca_finds_everything() {
    let both = |stand: &Stand<'_>| (stand.settings.web, stand.settings.websecure);
    for (prefix, challenge) in [("check-http", HTTP), ("check-tls", TLS)] {
        let stand = proving(prefix, &[challenge], both).await;
        let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
        stand.route("blog", "Host(`a.example.com`) || Host(`b.example.com`)", LE);
        stand.certificate("a.example.com,b.example.com").await;
        assert_eq!(look::lines(&controller, "self-check"), 0, "{}", controller.process.log());
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_told_and_the_ca_is_asked_all_the_same() {
    let both = |stand: &Stand<'_>| (stand.settings.web, stand.settings.websecure);
    let stand = proving("no-address", &[HTTP], both).await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.ca.break_name("a.example.com");
    stand.route("blog", "Host(`a.example.com`)", LE);
    let condition = look::told(&stand, "blog", "Failed").await;
    let message = condition["message"].as_str().unwrap();
    let told = ["http-01: a.example.com: ", "self-check: NoAddressRecord: a.example.com"];
    assert!(told.iter().all(|part| message.contains(part)), "{message}");
    assert!(look::lines(&controller, "self-check: NoAddressRecord") > 0);
    assert_eq!((stand.ca.orders(), stand.ca.validations()), (1, 1));
}

/// Answers everything with a secret of its own.
async fn secret_app(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        head_of(&mut stream).await;
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nhunter22";
        stream.write_all(reply).await.ok();
    }
}

#[tokio::test]
async fn a_name_at_another_address_is_told_with_it_and_nothing_of_what_is_there() {
    let stand = stand("elsewhere").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let app = TcpListener::bind(("127.0.0.2", stand.settings.web)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(secret_app(app));
    stand.ca.place_name("a.example.com", &["127.0.0.2"]);
    stand.route("blog", "Host(`a.example.com`)", LE);
    let condition = look::told(&stand, "blog", "Failed").await;
    let message = condition["message"].as_str().unwrap();
    let told = "self-check: AddressElsewhere: DNS says that a.example.com is at 127.0.0.2; asked";
    assert!(message.contains(told) && message.contains("another text"), "{message}");
    let ours = message.split("self-check:").nth(1).unwrap();
    assert!(!ours.contains("hunter"), "{message}");
}

#[tokio::test]
async fn a_self_check_that_gets_no_answer_costs_its_time_and_no_certificate() {
    let both = |stand: &Stand<'_>| (stand.settings.web, stand.settings.websecure);
    let mut stand = proving("check-silent", &[HTTP], both).await;
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    stand.settings.own = vec![self_check((port, port), stand.ca.dns)];
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    assert_eq!(look::lines(&controller, "self-check: AddressElsewhere"), 1);
    assert_eq!(stand.ca.orders(), 1);
}
