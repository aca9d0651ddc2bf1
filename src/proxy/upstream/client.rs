//! One worker's client: takes an idle connection or makes one, and sends a request on it.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;

use http::header;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use crate::proxy::headers;
use crate::proxy::local::Local;
use crate::proxy::upstream::body::UpstreamBody;
use crate::proxy::upstream::pool::{Lease, Pool, Sender};
use crate::proxy::upstream::target::{Address, Protocol, Upstream};
use crate::proxy::upstream::upload::RequestBody;

type H2Sender = http2::SendRequest<RequestBody>;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum Failure {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no reply in time")]
    TimedOut,
    #[error("no reply: {0}")]
    Broken(hyper::Error),
    #[error("the request cannot be passed on: {0}")]
    Request(http::Error),
}

impl Failure {
    pub(in crate::proxy) fn is_time_out(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Connect(error) => error.kind() == io::ErrorKind::TimedOut,
            Self::Broken(_) | Self::Request(_) => false,
        }
    }
}

/// Not shared between workers, so a request never changes its thread.
pub(in crate::proxy) struct Client {
    upstream: Upstream,
    pool: Pool,
    /// The one connection of HTTP/2.
    h2: Mutex<Option<H2Sender>>,
    tasks: TaskTracker,
}

impl Client {
    pub(in crate::proxy) fn new(upstream: Upstream) -> Self {
        Self { upstream, pool: Pool::default(), h2: Mutex::new(None), tasks: TaskTracker::new() }
    }

    /// Closes idle connections whose time is over.
    pub(in crate::proxy) fn sweep(&self) {
        self.pool.sweep();
    }

    /// Whether the upstream can take over a connection after a 101.
    pub(in crate::proxy) fn can_upgrade(&self) -> bool {
        !matches!(self.upstream.protocol, Protocol::H2c)
    }

    /// `request` has its header fields ready; `authority` is the host that the client asked for.
    pub(in crate::proxy) async fn send(
        &self,
        request: Request<Incoming>,
        authority: &HeaderValue,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let progress = Rc::new(Cell::new(Instant::now()));
        let request = request.map(|incoming| wrap(incoming, &progress));
        if matches!(self.upstream.protocol, Protocol::H2c) {
            let request = for_http2(request, authority).map_err(Failure::Request)?;
            return self.send_http2(request, &progress).await;
        }
        self.send_http1(for_http1(request, authority), &progress).await
    }

    async fn send_http1(
        &self,
        mut request: Request<RequestBody>,
        progress: &Cell<Instant>,
    ) -> Result<Response<UpstreamBody>, Failure> {
        if let Some(mut sender) = self.pool.take() {
            let again = repeatable(&request);
            let sent = sender.try_send_request(request);
            match self.in_time(sent, progress).await? {
                Ok(response) => return Ok(self.leased(response, sender)),
                Err(mut failed) => match failed.take_message().or(again) {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Broken(failed.into_error())),
                },
            }
        }
        let mut sender = self.connect_http1().await.map_err(Failure::Connect)?;
        let sent = sender.send_request(request);
        let response = self.in_time(sent, progress).await?.map_err(Failure::Broken)?;
        Ok(self.leased(response, sender))
    }

    fn leased(&self, response: Response<Incoming>, sender: Sender) -> Response<UpstreamBody> {
        let lease = Lease::new(sender, &self.pool);
        response.map(|incoming| UpstreamBody::new(incoming, Some(lease)))
    }

    async fn send_http2(
        &self,
        request: Request<RequestBody>,
        progress: &Cell<Instant>,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let mut sender = self.connected_http2().await.map_err(Failure::Connect)?;
        let sent = sender.try_send_request(request);
        let response = match self.in_time(sent, progress).await? {
            Ok(response) => response,
            Err(mut failed) => {
                let Some(unsent) = failed.take_message() else {
                    return Err(Failure::Broken(failed.into_error()));
                };
                let mut sender = self.connected_http2().await.map_err(Failure::Connect)?;
                let sent = sender.send_request(unsent);
                self.in_time(sent, progress).await?.map_err(Failure::Broken)?
            }
        };
        Ok(response.map(|incoming| UpstreamBody::new(incoming, None)))
    }

    /// Waits for a reply. The time counts from the last part of the request that went out.
    async fn in_time<T>(
        &self,
        reply: impl Future<Output = T>,
        progress: &Cell<Instant>,
    ) -> Result<T, Failure> {
        let mut reply = std::pin::pin!(reply);
        loop {
            let seen = progress.get();
            match timeout_at(seen + self.upstream.patience.reply, reply.as_mut()).await {
                Ok(replied) => return Ok(replied),
                Err(_) if progress.get() > seen => {}
                Err(_) => return Err(Failure::TimedOut),
            }
        }
    }

    async fn connect_http1(&self) -> io::Result<Sender> {
        let connecting = async {
            match (&self.upstream.address, &self.upstream.protocol) {
                (Address::Unix(path), _) => self.shake(UnixStream::connect(path).await?).await,
                (Address::Tcp { host, port }, Protocol::Https { config, name }) => {
                    let connector = TlsConnector::from(std::sync::Arc::clone(config));
                    let name: ServerName<'static> = name.clone();
                    let stream = connect_tcp(host, *port).await?;
                    self.shake(connector.connect(name, stream).await?).await
                }
                (Address::Tcp { host, port }, Protocol::Http1 | Protocol::H2c) => {
                    self.shake(connect_tcp(host, *port).await?).await
                }
            }
        };
        timeout(self.upstream.patience.connect, connecting)
            .await
            .unwrap_or_else(|_| Err(timed_out()))
    }

    async fn shake<T>(&self, stream: T) -> io::Result<Sender>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(io::Error::other)?;
        self.tasks.spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(sender)
    }

    async fn connected_http2(&self) -> io::Result<H2Sender> {
        let mut current = self.h2.lock().await;
        if let Some(sender) = current.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let Address::Tcp { host, port } = &self.upstream.address else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let stream = timeout(self.upstream.patience.connect, connect_tcp(host, *port));
        let stream = stream.await.unwrap_or_else(|_| Err(timed_out()))?;
        let shaken = http2::handshake(Local::new(&self.tasks), TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(io::Error::other)?;
        self.tasks.spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        *current = Some(sender.clone());
        Ok(sender)
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn wrap(incoming: Incoming, progress: &Rc<Cell<Instant>>) -> RequestBody {
    if incoming.is_end_stream() {
        RequestBody::Empty
    } else {
        RequestBody::Streaming { incoming, progress: Rc::clone(progress) }
    }
}

/// What may be sent a second time when a reused connection broke: the upstream may have closed it
/// while the request was on its way, and these change nothing there (RFC 9110 §9.2.2).
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let bare = matches!(request.body(), RequestBody::Empty)
        && !request.headers().contains_key(header::UPGRADE);
    (harmless && bare).then(|| {
        let mut again = Request::new(RequestBody::Empty);
        again.method_mut().clone_from(request.method());
        again.uri_mut().clone_from(request.uri());
        again.headers_mut().clone_from(request.headers());
        again
    })
}

fn for_http1(mut request: Request<RequestBody>, authority: &HeaderValue) -> Request<RequestBody> {
    *request.uri_mut() = headers::origin_form(request.uri(), request.method());
    *request.version_mut() = Version::HTTP_11;
    let endless = request.body().size_hint().exact().is_none();
    let fields = request.headers_mut();
    fields.insert(header::HOST, authority.clone());
    headers::join_cookies(fields);
    if endless {
        // hyper would take the body of a GET for absent. A length beside it would be ambiguous.
        fields.remove(header::CONTENT_LENGTH);
        fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    request
}

fn for_http2(
    mut request: Request<RequestBody>,
    authority: &HeaderValue,
) -> Result<Request<RequestBody>, http::Error> {
    let origin = headers::origin_form(request.uri(), request.method());
    let mut parts = origin.into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(authority.as_bytes())?);
    *request.uri_mut() = Uri::from_parts(parts)?;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(header::HOST);
    Ok(request)
}
