//! A small HTTP application that tells what it was asked: method, target, version and headers, as
//! JSON.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::parts::keys::ServerKeys;

/// How it is spoken to.
#[derive(Debug)]
pub enum Speaks {
    Http,
    /// HTTP/2 without TLS, from the first byte.
    H2c,
    /// For `127.0.0.1`.
    Https(ServerKeys),
    Unix(PathBuf),
}

/// Listening until the process ends. It has a thread of its own, so that a test may block on
/// `curl` meanwhile.
#[derive(Debug)]
pub struct Upstream {
    /// 0: none.
    pub port: u16,
    url: String,
}

impl Upstream {
    pub fn start() -> Self {
        Self::start_as(Speaks::Http)
    }

    pub fn start_as(speaks: Speaks) -> Self {
        let (told, port) = std::sync::mpsc::channel();
        let scheme = match &speaks {
            Speaks::Http => "http".to_owned(),
            Speaks::H2c => "h2c".to_owned(),
            Speaks::Https(_) => "https".to_owned(),
            Speaks::Unix(path) => format!("unix:{}", path.display()),
        };
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                match speaks {
                    Speaks::Unix(path) => {
                        serve_unix(UnixListener::bind(path).unwrap(), &told).await
                    }
                    other => {
                        serve(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), other, &told)
                            .await
                    }
                }
            });
        });
        let port = port.recv().unwrap();
        let url = if port == 0 { scheme } else { format!("{scheme}://127.0.0.1:{port}") };
        Self { port, url }
    }

    /// As `--upstream` takes it.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

async fn serve(listener: TcpListener, speaks: Speaks, told: &Sender<u16>) -> ! {
    let acceptor = match &speaks {
        Speaks::Https(keys) => Some(acceptor(keys)),
        _ => None,
    };
    told.send(listener.local_addr().unwrap().port()).unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        while connections.try_join_next().is_some() {}
        match (&acceptor, &speaks) {
            (Some(acceptor), _) => {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        http1(stream).await;
                    }
                })
            }
            (None, Speaks::H2c) => connections.spawn(http2(stream)),
            (None, _) => connections.spawn(http1(stream)),
        };
    }
}

async fn serve_unix(listener: UnixListener, told: &Sender<u16>) -> ! {
    told.send(0).unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        while connections.try_join_next().is_some() {}
        connections.spawn(http1(stream));
    }
}

/// Takes TLS with these keys.
pub fn acceptor(keys: &ServerKeys) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(keys.chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(keys.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(|block| block.unwrap()).collect(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn http1<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: T) {
    let server = hyper::server::conn::http1::Builder::new();
    drop(server.serve_connection(TokioIo::new(stream), service_fn(echo)).await);
}

async fn http2<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: T) {
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    drop(server.serve_connection(TokioIo::new(stream), service_fn(echo)).await);
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let headers: serde_json::Map<String, serde_json::Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let body = serde_json::json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    });
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string() + "\n")))
        .unwrap())
}
