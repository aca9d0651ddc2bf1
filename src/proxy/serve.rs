//! One client connection: TLS or not, HTTP/1.1 or HTTP/2, and what becomes of each request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::EntryPoint;
use crate::proxy::alpn;
use crate::proxy::challenges;
use crate::proxy::challenges::Challenges;
use crate::proxy::drain;
use crate::proxy::drain::{Activity, Ending};
use crate::proxy::headers;
use crate::proxy::headers::Told;
use crate::proxy::hello::Opening;
use crate::proxy::local::Local;
use crate::proxy::reply::Reply;
use crate::proxy::route;
use crate::proxy::route::{Asked, Channel, Decision};
use crate::proxy::tls::ALPN_H2;
use crate::proxy::upstream::{Client, Failure, UpstreamBody};

/// From the accepted connection to the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A request's header section.
const MAX_HEADER: u32 = 64 * 1024;
const MAX_STREAMS: u32 = 256;

/// What one worker's connections of one entry point share.
pub(super) struct Gate {
    pub(super) entry_point: Arc<EntryPoint>,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) challenges: Challenges,
    pub(super) client: Rc<Client>,
    pub(super) now: fn() -> Timestamp,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

enum Opened {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// TLS-ALPN-01.
    Challenge(Box<StartHandshake<TcpStream>>),
}

/// Serves one connection to its end.
pub(super) async fn connection(gate: Rc<Gate>, stream: TcpStream, peer: SocketAddr) {
    let opened = timeout(HANDSHAKE, open(stream, &gate.tls)).await;
    match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(Opened::Plain(stream)) => http1(gate, stream, peer, Channel::Plain).await,
        Ok(Opened::Tls(stream)) if stream.get_ref().1.alpn_protocol() == Some(ALPN_H2) => {
            http2(gate, stream, peer).await;
        }
        Ok(Opened::Tls(stream)) => http1(gate, stream, peer, Channel::Tls).await,
        Ok(Opened::Challenge(hello)) => {
            let proved = alpn::prove(*hello, &gate.challenges, &gate.tls, gate.now).await;
            if let Err(error) = proved {
                tracing::debug!(%peer, %error, "no TLS-ALPN-01 handshake");
            }
        }
        Err(error) => tracing::debug!(%peer, %error, "no handshake"),
    }
}

async fn open(stream: TcpStream, tls: &Arc<ServerConfig>) -> io::Result<Opened> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [first] = first;
    if Opening::of(first) == Opening::Plain {
        return Ok(Opened::Plain(stream));
    }
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    if alpn::is_asked(&hello.client_hello()) {
        return Ok(Opened::Challenge(Box::new(hello)));
    }
    let stream = hello.into_stream(Arc::clone(tls)).await?;
    Ok(Opened::Tls(Box::new(stream)))
}

async fn http1<T>(gate: Rc<Gate>, stream: T, peer: SocketAddr, channel: Channel)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stop, activity) = (gate.stop.clone(), Activity::new());
    let visitor = Visitor::new(gate, peer, channel, &activity);
    let service = service_fn(move |request| Rc::clone(&visitor).answer(request));
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(MAX_HEADER as usize)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    drain::drive(connection, activity, stop).await;
}

async fn http2<T>(gate: Rc<Gate>, stream: T, peer: SocketAddr)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (stop, activity) = (gate.stop.clone(), Activity::new());
    let executor = Local::new(&gate.tasks);
    let visitor = Visitor::new(gate, peer, Channel::Tls, &activity);
    let service = service_fn(move |request| Rc::clone(&visitor).answer(request));
    let connection = http2::Builder::new(executor)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), service);
    drain::drive(connection, activity, stop).await;
}

impl<T, S> Ending for http1::UpgradeableConnection<TokioIo<T>, S>
where
    S: HttpService<Incoming, ResBody = Reply>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<T, S> Ending for http2::Connection<TokioIo<T>, S, Local>
where
    S: HttpService<Incoming, ResBody = Reply>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// The client at the other end of one connection.
struct Visitor {
    gate: Rc<Gate>,
    channel: Channel,
    /// The client's address, as a header field has it.
    address: HeaderValue,
    activity: Rc<Activity>,
}

impl Visitor {
    fn new(
        gate: Rc<Gate>,
        peer: SocketAddr,
        channel: Channel,
        activity: &Rc<Activity>,
    ) -> Rc<Self> {
        let address = HeaderValue::from_str(&peer.ip().to_canonical().to_string());
        let address = address.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Rc::new(Self { gate, channel, address, activity: Rc::clone(activity) })
    }

    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Reply>, Infallible> {
        let running = self.activity.begin();
        let authority = authority_of(&request);
        let asked = Asked {
            method: request.method(),
            path_and_query: request.uri().path_and_query().map_or("/", |target| target.as_str()),
            path: request.uri().path(),
            authority: authority.as_ref().and_then(|value| value.to_str().ok()),
            channel: self.channel,
        };
        let redirect = self.gate.entry_point.redirect.as_ref();
        let response = match (route::decide(&asked, redirect), &authority) {
            (Decision::Forward(port), Some(authority)) => {
                self.forward(request, authority, port).await
            }
            (Decision::Forward(_), None) => text(StatusCode::BAD_REQUEST, "No host.\n"),
            (Decision::Challenge(challenge), _) => {
                self.challenge(challenge.map(|asked| (asked.token, asked.host))).await
            }
            (Decision::Redirect(status, location), _) => redirected(status, &location),
            (Decision::Refuse(status, why), _) => text(status, why),
        };
        Ok(response.map(|body| body.holding(running)))
    }

    async fn challenge(&self, asked: Option<(&str, &str)>) -> Response<Reply> {
        let reply = match asked {
            Some((token, host)) => self.gate.challenges.answer(token, host, self.gate.now).await,
            None => challenges::Reply::Unknown,
        };
        match reply {
            challenges::Reply::Answer(answer) => text(StatusCode::OK, answer),
            challenges::Reply::Unknown => text(StatusCode::NOT_FOUND, "No such challenge.\n"),
            challenges::Reply::Unreadable => {
                let why = "The challenges cannot be read at the moment.\n";
                text(StatusCode::SERVICE_UNAVAILABLE, why)
            }
        }
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        authority: &HeaderValue,
        port: Option<u16>,
    ) -> Response<Reply> {
        let client = &self.gate.client;
        let protocol = headers::upgrade_of(request.version(), request.headers())
            .filter(|_| client.can_upgrade());
        let upgrade = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
        let told = Told { client: &self.address, authority, port };
        headers::prepare_request(request.headers_mut(), &told, protocol);
        match client.send(request, authority).await {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.switched(response, upgrade)
            }
            Ok(mut response) => {
                headers::prepare_response(response.headers_mut(), None);
                response.map(Reply::upstream)
            }
            Err(failure) => failed(&failure),
        }
    }

    /// Joins both connections, which speak another protocol from here on.
    fn switched(
        &self,
        mut response: Response<UpstreamBody>,
        client_side: Option<OnUpgrade>,
    ) -> Response<Reply> {
        let protocol = response.headers().get(header::UPGRADE).cloned();
        let (Some(client_side), Some(protocol)) = (client_side, protocol) else {
            let why = "The upstream changed the protocol unasked.\n";
            return text(StatusCode::BAD_GATEWAY, why);
        };
        let upstream_side = hyper::upgrade::on(&mut response);
        self.gate.tasks.spawn_local(async move {
            if let Err(error) = tunnel(client_side, upstream_side).await {
                tracing::debug!(%error, "upgraded connection ended");
            }
        });
        headers::prepare_response(response.headers_mut(), Some(protocol));
        response.map(|_| Reply::empty())
    }
}

async fn tunnel(client_side: OnUpgrade, upstream_side: OnUpgrade) -> io::Result<()> {
    let both = futures::future::try_join(client_side, upstream_side).await;
    let (client, upstream) = both.map_err(io::Error::other)?;
    copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await.map(drop)
}

/// The target's authority wins over Host (RFC 9112 §3.2.2); several Host fields are none.
fn authority_of(request: &Request<Incoming>) -> Option<HeaderValue> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, other) = (hosts.next(), hosts.next());
    if other.is_some() {
        return None;
    }
    match request.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => host.cloned(),
    }
}

fn redirected(status: StatusCode, location: &str) -> Response<Reply> {
    let Ok(location) = HeaderValue::from_str(location) else {
        return text(StatusCode::BAD_REQUEST, "The target cannot be part of a URL.\n");
    };
    let mut response = Response::new(Reply::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn failed(failure: &Failure) -> Response<Reply> {
    tracing::debug!(error = %failure, "upstream failed");
    if failure.is_time_out() {
        text(StatusCode::GATEWAY_TIMEOUT, "The upstream did not answer in time.\n")
    } else {
        text(StatusCode::BAD_GATEWAY, "The upstream cannot be reached or gave no answer.\n")
    }
}

fn text(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response<Reply> {
    let mut response = Response::new(Reply::text(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
