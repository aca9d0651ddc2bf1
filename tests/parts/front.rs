//! A reverse proxy in front of a CA or an API server, whose turns a test decides: replies that are
//! lost after the server has done its work, answers that the server never gave, watches cut off.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::parts::keys::ServerKeys;
use crate::parts::upstream;

const MAX_BODY: usize = 4 * 1024 * 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Reply = Response<UnsyncBoxBody<Bytes, Failure>>;

/// What the proxy is asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    /// With the query.
    pub target: String,
    pub body: Bytes,
    /// How many requests that change something came before it.
    pub changes_before: usize,
}

impl Asked {
    pub fn changes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    pub fn is_watch(&self) -> bool {
        self.target.contains("watch=true")
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Turn {
    Pass,
    /// The server does not see it.
    Answer(Response<Bytes>),
    /// The server has done it; the connection ends instead of the reply.
    Lose,
    /// The server has done it; the reply never comes, and [`Front::await_held`] is told.
    Hold,
}

/// An answer of the API server that is no success.
pub fn refused(code: u16, reason: &str) -> Turn {
    let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": "as the test wants it", "code": code});
    let mut answer = Response::new(Bytes::from(status.to_string()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Turn::Answer(answer)
}

type Script = Box<dyn FnMut(&Asked) -> Turn + Send>;

/// Listening until the process ends, on a thread of its own.
pub struct Front {
    pub port: u16,
    inner: Arc<Inner>,
    held: mpsc::Receiver<String>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("port", &self.port).finish_non_exhaustive()
    }
}

struct Inner {
    upstream: u16,
    client: Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>,
    script: Mutex<Script>,
    changes: AtomicUsize,
    /// Counts up when all open replies are to be cut off.
    cut: watch::Sender<usize>,
    held: mpsc::Sender<String>,
}

impl Front {
    /// In front of `https://127.0.0.1:UPSTREAM`, whose authority is `authority` (PEM). With `keys`
    /// it speaks TLS itself.
    pub fn start(upstream: u16, authority: &str, keys: Option<&ServerKeys>) -> Self {
        let (told, port) = mpsc::channel();
        let (held_sender, held) = mpsc::channel();
        let acceptor = keys.map(upstream::acceptor);
        let tls = trusting(authority);
        let (sender, inner) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let inner = Arc::new(Inner {
                    upstream,
                    client: client(tls),
                    script: Mutex::new(Box::new(|_| Turn::Pass)),
                    changes: AtomicUsize::new(0),
                    cut: watch::channel(0).0,
                    held: held_sender,
                });
                sender.send(Arc::clone(&inner)).unwrap();
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                told.send(listener.local_addr().unwrap().port()).unwrap();
                serve(listener, acceptor, inner).await
            })
        });
        Self { port: port.recv().unwrap(), inner: inner.recv().unwrap(), held }
    }

    /// From now on `script` decides.
    pub fn script(&self, script: impl FnMut(&Asked) -> Turn + Send + 'static) {
        *self.inner.script.lock().unwrap() = Box::new(script);
    }

    /// How many requests that change something came.
    pub fn changes(&self) -> usize {
        self.inner.changes.load(Ordering::Relaxed)
    }

    /// Ends all replies that are still being sent, watches above all.
    pub fn cut(&self) {
        self.inner.cut.send_modify(|count| *count += 1);
    }

    /// What was held, once something is; waits no longer than `within`.
    pub fn await_held(&self, within: std::time::Duration) -> Option<String> {
        self.held.recv_timeout(within).ok()
    }
}

fn trusting(authority: &str) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(der.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn client(
    tls: rustls::ClientConfig,
) -> Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>> {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .build();
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, inner: Arc<Inner>) -> ! {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        while connections.try_join_next().is_some() {}
        let (inner, acceptor) = (Arc::clone(&inner), acceptor.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&inner), request));
            let server = hyper::server::conn::http1::Builder::new();
            match acceptor {
                None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        drop(server.serve_connection(TokioIo::new(stream), service).await);
                    }
                }
            }
        });
    }
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Reply, Failure> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
    let mut asked = Asked {
        method: parts.method.clone(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        body: body.clone(),
        changes_before: 0,
    };
    if asked.changes() {
        asked.changes_before = inner.changes.fetch_add(1, Ordering::Relaxed);
    }
    let turn = inner.script.lock().unwrap()(&asked);
    if let Turn::Answer(answer) = turn {
        return Ok(
            answer.map(|bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
        );
    }
    let mut forwarded = Request::from_parts(parts, Full::new(body));
    let uri = format!("https://127.0.0.1:{}{}", inner.upstream, asked.target);
    *forwarded.uri_mut() = uri.parse::<Uri>()?;
    let reply = inner.client.request(forwarded).await?;
    match turn {
        Turn::Lose => Err("the reply is lost".into()),
        Turn::Hold => {
            reply.into_body().collect().await?;
            inner.held.send(format!("{} {}", asked.method, asked.target))?;
            std::future::pending().await
        }
        Turn::Pass | Turn::Answer(_) => Ok(cuttable(&inner, reply)),
    }
}

/// The reply, which ends with an error when all are cut off.
fn cuttable(inner: &Inner, reply: Response<Incoming>) -> Reply {
    let cut = inner.cut.subscribe();
    reply.map(|body| {
        let frames = futures::stream::unfold(Some((body, cut)), |open| async move {
            let (mut body, mut cut) = open?;
            tokio::select! {
                biased;
                _ = cut.changed() => Some((Err::<Frame<Bytes>, Failure>("cut off".into()), None)),
                frame = body.frame() => match frame? {
                    Ok(frame) => Some((Ok(frame), Some((body, cut)))),
                    Err(error) => Some((Err(error.into()), None)),
                },
            }
        });
        StreamBody::new(frames).boxed_unsync()
    })
}
