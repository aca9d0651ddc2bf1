//! Upstreams: one service behind every kind of socket. It tells what it was asked.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;

use http_body_util::Either;
use hyper::service::service_fn;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, copy, split};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::*;

type Body = Either<Full<Bytes>, Incoming>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    One,
    Two,
}

/// How a test and its upstream meet at `/slow`.
#[derive(Debug)]
pub(super) struct Meeting {
    /// One permit for each request that came.
    pub(super) reached: Semaphore,
    /// One permit for each that may be answered.
    pub(super) go_on: Semaphore,
    pub(super) connections: AtomicUsize,
}

impl Default for Meeting {
    fn default() -> Self {
        let (reached, go_on) = (Semaphore::new(0), Semaphore::new(0));
        Self { reached, go_on, connections: AtomicUsize::new(0) }
    }
}

#[derive(Default)]
pub(super) struct Upstreams {
    tasks: JoinSet<()>,
    pub(super) meeting: Arc<Meeting>,
}

impl Upstreams {
    pub(super) async fn tcp(&mut self, speaks: Speaks) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let meeting = Arc::clone(&self.meeting);
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, speaks, Arc::clone(&meeting)));
            }
        });
        address
    }

    pub(super) fn unix(&mut self, path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        let meeting = Arc::clone(&self.meeting);
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Speaks::One, Arc::clone(&meeting)));
            }
        });
    }

    pub(super) async fn tls(&mut self, certificate: &Certificate) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificate.ders().unwrap(), certificate.key().der().unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let meeting = Arc::clone(&self.meeting);
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, meeting) = (acceptor.clone(), Arc::clone(&meeting));
                connections.spawn(serve_tls(stream, acceptor, meeting));
            }
        });
        address
    }
}

async fn serve_tls(stream: TcpStream, acceptor: TlsAcceptor, meeting: Arc<Meeting>) {
    if let Ok(stream) = acceptor.accept(stream).await {
        serve(stream, Speaks::One, meeting).await;
    }
}

async fn serve<T>(stream: T, speaks: Speaks, meeting: Arc<Meeting>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    meeting.connections.fetch_add(1, Ordering::Relaxed);
    let service = service_fn(move |request| answer(request, Arc::clone(&meeting)));
    let stream = TokioIo::new(stream);
    match speaks {
        Speaks::One => {
            let builder = hyper::server::conn::http1::Builder::new();
            drop(builder.serve_connection(stream, service).with_upgrades().await);
        }
        Speaks::Two => {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(stream, service).await);
        }
    }
}

async fn answer(
    mut request: Request<Incoming>,
    meeting: Arc<Meeting>,
) -> Result<Response<Body>, Infallible> {
    let response = match request.uri().path() {
        "/echo" => {
            // Trailers of HTTP/1.1 must be announced.
            let builder = Response::builder().header("trailer", "x-sum");
            builder.body(Either::Right(request.into_body())).unwrap()
        }
        "/slow" => {
            meeting.reached.add_permits(1);
            meeting.go_on.acquire().await.unwrap().forget();
            Response::new(Either::Left(Full::from("slow")))
        }
        "/upgrade" => upgrade(&mut request),
        "/strange" => Response::builder()
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("x-end", "2")
            .body(Either::Left(Full::from("strange")))
            .unwrap(),
        _ => {
            let mut text = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
            }
            Response::new(Either::Left(Full::from(text)))
        }
    };
    Ok(response)
}

#[expect(clippy::disallowed_methods, reason = "ends with its connection, and so with the test")]
fn upgrade(request: &mut Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let (mut reader, mut writer) = split(TokioIo::new(upgrade.await.unwrap()));
        drop(copy(&mut reader, &mut writer).await);
    });
    Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", "x")
        .body(Either::Left(Full::default()))
        .unwrap()
}
