//! CAs behind a proxy: a real Pebble, and a proxy that tunnels (RFC 9110 §9.3.6).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use routecert::http::Client;
use routecert::resolver::{CaTrust, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::parts::ca::Ca;

/// Listens, tunnels to this machine whatever the host, and remembers what it was asked.
struct Tunnels {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Tunnels {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (mut tasks, seen) = (JoinSet::new(), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                tunnels.spawn(tunnel(stream, answer, Arc::clone(&seen)));
            }
        });
        Self { port, asked, _tasks: tasks }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn proxy(&self, except: &str) -> Proxy {
        Proxy::parse(&format!("http://user:pa%3Ass@127.0.0.1:{}", self.port), except).unwrap()
    }
}

async fn tunnel(mut client: TcpStream, answer: &str, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let port: u16 = head.split([':', ' ']).nth(2).unwrap().parse().unwrap();
    seen.lock().unwrap().push(head);
    client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
    if answer.starts_with('2') {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // Either side may break off.
        copy_bidirectional(&mut client, &mut server).await.ok();
    }
}

async fn ask(ca: &Ca, host: &str, proxy: Proxy) -> Result<u16, String> {
    let trust = CaTrust {
        certificates: vec![ca.trust.clone()],
        system_pool: false,
        server_name: Some("localhost".to_owned()),
        proxy: Some(proxy),
    };
    let client = Client::new(&trust, Duration::from_secs(20)).unwrap();
    let url = format!("https://{host}:{}/dir", ca.port);
    let request = Request::get(url).header("User-Agent", "test").body(Bytes::new()).unwrap();
    client.send(request).await.map(|reply| reply.status().as_u16()).map_err(|it| it.to_string())
}

#[tokio::test]
async fn a_ca_is_asked_through_the_proxy_and_its_tls_is_our_own() {
    let (ca, tunnels) = (Ca::start(1), Tunnels::start("200 OK").await);
    assert_eq!(ask(&ca, "ca.invalid", tunnels.proxy("other.invalid")).await, Ok(200));
    let asked = tunnels.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with(&format!("CONNECT ca.invalid:{} HTTP/1.1\r\n", ca.port)));
    // user:pa:ss
    assert!(asked[0].contains("Proxy-Authorization: Basic dXNlcjpwYTpzcw==\r\n"), "{asked:?}");

    // NO_PROXY and this machine itself: straight.
    assert_eq!(ask(&ca, "127.0.0.1", tunnels.proxy("")).await, Ok(200));
    let straight = ask(&ca, "ca.invalid", tunnels.proxy("x, .invalid")).await.unwrap_err();
    assert!(straight.starts_with("ca.invalid: ") && !straight.contains("proxy"), "{straight}");
    assert_eq!(tunnels.asked().len(), 1);
}

#[tokio::test]
async fn what_the_proxy_refuses_is_told_without_its_credentials() {
    let (ca, tunnels) = (Ca::start(1), Tunnels::start("407 Who are you").await);
    let error = ask(&ca, "ca.invalid", tunnels.proxy("")).await.unwrap_err();
    let through = format!("through http://***@127.0.0.1:{} (HTTPS_PROXY)", tunnels.port);
    assert!(error.starts_with("ca.invalid: ") && error.contains(&through), "{error}");
    assert!(error.contains("authorization required") && !error.contains("pa"), "{error}");
}
