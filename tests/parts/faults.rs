//! A proxy in front of the CA that spoils what a test tells it to spoil, and remembers what was
//! asked.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::parts::ca::Ca;
use crate::parts::client::Chain;
use crate::parts::{keys, process, upstream};

/// One chunk of a body that is made up.
const CHUNK: usize = 64 * 1024;

/// What a request is for, by Pebble's paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    NewOrder,
    Order,
    Finalize,
    Authorization,
    Challenge,
    Certificate,
    RenewalInfo,
    Revoke,
    Other,
}

type Change = Box<dyn Fn(&mut Value) + Send>;

/// What is done to an exchange.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub enum Fault {
    /// The CA does not see the request; the connection ends.
    DropRequest,
    /// The CA does it; the connection ends without a reply.
    DropReply,
    /// The CA does not see the request; this is the reply.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The reply comes so much later.
    Delay(Duration),
    /// Of the reply's body only so many bytes come, then the connection ends.
    BreakOff(usize),
    /// The reply's body comes in single bytes, one in so long.
    Drip(Duration),
    /// The reply's body is so many bytes.
    Swell(usize),
    /// The reply has this header, or does not.
    Header(&'static str, Option<String>),
    /// The reply's JSON is changed, unless it is a refusal.
    Edit(Change),
    /// The reply's body is another text, unless it is a refusal.
    Rewrite(Box<dyn Fn(String) -> String + Send>),
}

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub asked: Asked,
    pub path: String,
    /// When it came.
    pub at: Instant,
    /// Of the JWS, decoded; null if there is none.
    pub protected: Value,
    pub payload: Value,
    /// What the CA answered; `None`: it was not asked.
    pub status: Option<u16>,
}

struct Rule {
    on: Asked,
    left: usize,
    fault: Fault,
}

#[derive(Default)]
struct Shared {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    /// Bytes of made-up bodies that were taken.
    swollen: usize,
}

/// Listening until the process ends, with a thread of its own.
#[expect(missing_debug_implementations, reason = "its rules have none")]
pub struct Faults {
    port: u16,
    /// PEM of the authority of its own certificate, another one than the CA's.
    pub trust: PathBuf,
    shared: Arc<Mutex<Shared>>,
}

impl Faults {
    /// `names`: of its certificate.
    pub fn start(ca: &Ca, names: &[&str]) -> Self {
        let server = keys::server(names);
        let folder = process::new_folder("faults");
        let trust = process::write(&folder, "authority.pem", &server.authority);
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let state = Arc::new(State {
            shared: Arc::clone(&shared),
            ca: ca.port,
            client: client(&std::fs::read_to_string(&ca.trust).unwrap()),
        });
        let acceptor = upstream::acceptor(&server);
        let (told, port) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(listen(acceptor, state, told));
        });
        Self { port: port.recv().unwrap(), trust, shared }
    }

    /// For `caServer`.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// From now on, so many times. Several rules for one request are all applied, the first first.
    pub fn on(&self, on: Asked, times: usize, fault: Fault) {
        self.shared.lock().unwrap().rules.push(Rule { on, left: times, fault });
    }

    /// As [`Self::on`], for as long as [`Self::mend`] is not called.
    pub fn always(&self, on: Asked, fault: Fault) {
        self.on(on, usize::MAX, fault);
    }

    /// No rule holds any more.
    pub fn mend(&self) {
        for rule in &mut self.shared.lock().unwrap().rules {
            rule.left = 0;
        }
    }

    pub fn seen(&self, asked: Asked) -> Vec<Seen> {
        let shared = self.shared.lock().unwrap();
        shared.seen.iter().filter(|one| one.asked == asked).cloned().collect()
    }

    pub fn everything(&self) -> Vec<Seen> {
        self.shared.lock().unwrap().seen.clone()
    }

    /// Bytes of bodies of [`Fault::Swell`] that were taken from the proxy.
    pub fn swollen(&self) -> usize {
        self.shared.lock().unwrap().swollen
    }
}

impl Fault {
    /// A problem document (RFC 9457).
    pub fn problem(status: u16, kind: &str, detail: &str) -> Self {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        let body = serde_json::json!({"type": kind, "detail": detail, "status": status});
        let headers = vec![("content-type", "application/problem+json".to_owned())];
        Self::Answer { status, headers, body: body.to_string() }
    }

    pub fn edit(change: impl Fn(&mut Value) + Send + 'static) -> Self {
        Self::Edit(Box::new(change))
    }

    /// With one more header, if it is an answer.
    #[must_use]
    pub fn with(self, name: &'static str, value: &str) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name, value.to_owned()));
                Self::Answer { status, headers, body }
            }
            other => other,
        }
    }
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

struct State {
    shared: Arc<Mutex<Shared>>,
    ca: u16,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

async fn listen(acceptor: TlsAcceptor, state: Arc<State>, told: Sender<u16>) -> ! {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    told.send(listener.local_addr().unwrap().port()).unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(acceptor.clone(), stream, Arc::clone(&state)));
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<State>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request| exchange(Arc::clone(&state), request));
    let server = hyper::server::conn::http1::Builder::new();
    drop(server.serve_connection(TokioIo::new(stream), service).await);
}

fn client(authority: &str) -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut roots = RootCertStore::empty();
    for certificate in Chain::from_pem(authority).certificates {
        roots.add(certificate).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only();
    Client::builder(TokioExecutor::new()).build(connector.enable_http1().build())
}

fn asked(path: &str) -> Asked {
    let known = [
        ("/dir", Asked::Directory),
        ("/nonce-plz", Asked::NewNonce),
        ("/sign-me-up", Asked::NewAccount),
        ("/my-account/", Asked::Account),
        ("/order-plz", Asked::NewOrder),
        ("/my-order/", Asked::Order),
        ("/finalize-order/", Asked::Finalize),
        ("/authZ/", Asked::Authorization),
        ("/chalZ/", Asked::Challenge),
        ("/certZ/", Asked::Certificate),
        ("/draft-ietf-acme-ari-03/renewalInfo/", Asked::RenewalInfo),
        ("/revoke-cert", Asked::Revoke),
    ];
    known.iter().find(|(start, _)| path.starts_with(start)).map_or(Asked::Other, |one| one.1)
}

/// `Err`: the connection ends.
async fn exchange(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(gone)?.to_bytes();
    let jws: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let asked = asked(&path);
    let (index, faults) = {
        let mut shared = state.shared.lock().unwrap();
        let (protected, payload) = (decoded(&jws["protected"]), decoded(&jws["payload"]));
        let at = Instant::now();
        shared.seen.push(Seen { asked, path, at, protected, payload, status: None });
        (shared.seen.len() - 1, due(&mut shared, asked))
    };
    if faults.iter().any(|index| matches!(state.fault(*index), Kind::DropRequest)) {
        return Err(Gone("as told".to_owned()));
    }
    for index in &faults {
        if let Kind::Answer(reply) = state.fault(*index) {
            return Ok(reply);
        }
    }
    let target = format!("https://127.0.0.1:{}{}", state.ca, parts.uri);
    parts.uri = target.parse::<Uri>().unwrap();
    assert!(parts.headers.contains_key(HOST));
    let reply = state.client.request(Request::from_parts(parts, Full::new(body))).await;
    let (mut head, body) = reply.map_err(gone)?.into_parts();
    let mut body = body.collect().await.map_err(gone)?.to_bytes();
    state.shared.lock().unwrap().seen[index].status = Some(head.status.as_u16());
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(TRANSFER_ENCODING);
    let mut wait = Duration::ZERO;
    let mut shape = Shape::Whole;
    for index in &faults {
        match state.fault(*index) {
            Kind::DropReply => return Err(Gone("as told".to_owned())),
            Kind::Wait(time) => wait += time,
            Kind::Shape(other) => shape = other,
            Kind::Header(name, Some(value)) => {
                let value = HeaderValue::from_str(&value).unwrap();
                head.headers.insert(HeaderName::from_static(name), value);
            }
            Kind::Header(name, None) => drop(head.headers.remove(name)),
            Kind::Changes if head.status.is_success() => body = state.changed(*index, body),
            Kind::Changes | Kind::DropRequest | Kind::Answer(_) => {}
        }
    }
    tokio::time::sleep(wait).await;
    if let Shape::BreakOff(_) = shape {
        head.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    Ok(Response::from_parts(head, shaped(body, shape, &state.shared)))
}

/// The connection ends without a reply.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Gone(String);

fn gone(error: impl std::fmt::Display) -> Gone {
    Gone(error.to_string())
}

/// Indices of the rules that hold for one request, each counted.
fn due(shared: &mut Shared, asked: Asked) -> Vec<usize> {
    let mut due = Vec::new();
    for (index, rule) in shared.rules.iter_mut().enumerate() {
        if rule.on == asked && rule.left > 0 {
            rule.left -= 1;
            due.push(index);
        }
    }
    due
}

enum Kind {
    DropRequest,
    DropReply,
    Answer(Response<Body>),
    Wait(Duration),
    Shape(Shape),
    Header(&'static str, Option<String>),
    Changes,
}

#[derive(Clone, Copy)]
enum Shape {
    Whole,
    BreakOff(usize),
    Drip(Duration),
    Swell(usize),
}

impl State {
    fn fault(&self, index: usize) -> Kind {
        let shared = self.shared.lock().unwrap();
        // mended meanwhile
        let Some(rule) = shared.rules.get(index) else { return Kind::Wait(Duration::ZERO) };
        match &rule.fault {
            Fault::DropRequest => Kind::DropRequest,
            Fault::DropReply => Kind::DropReply,
            Fault::Answer { status, headers, body } => {
                let mut reply = Response::builder().status(*status);
                for (name, value) in headers {
                    reply = reply.header(*name, value);
                }
                let body = Full::new(Bytes::from(body.clone())).map_err(never).boxed_unsync();
                Kind::Answer(reply.body(body).unwrap())
            }
            Fault::Delay(time) => Kind::Wait(*time),
            Fault::BreakOff(at) => Kind::Shape(Shape::BreakOff(*at)),
            Fault::Drip(pause) => Kind::Shape(Shape::Drip(*pause)),
            Fault::Swell(size) => Kind::Shape(Shape::Swell(*size)),
            Fault::Header(name, value) => Kind::Header(name, value.clone()),
            Fault::Edit(_) | Fault::Rewrite(_) => Kind::Changes,
        }
    }

    fn changed(&self, index: usize, body: Bytes) -> Bytes {
        let shared = self.shared.lock().unwrap();
        match shared.rules.get(index).map(|rule| &rule.fault) {
            Some(Fault::Edit(change)) => {
                let Ok(mut json) = serde_json::from_slice(&body) else { return body };
                change(&mut json);
                json.to_string().into()
            }
            Some(Fault::Rewrite(change)) => {
                change(String::from_utf8_lossy(&body).into_owned()).into()
            }
            _ => body,
        }
    }
}

fn never(never: Infallible) -> std::io::Error {
    match never {}
}

fn shaped(body: Bytes, shape: Shape, shared: &Arc<Mutex<Shared>>) -> Body {
    let frame = |bytes: Bytes| Ok(Frame::data(bytes));
    match shape {
        Shape::Whole => Full::new(body).map_err(never).boxed_unsync(),
        Shape::BreakOff(at) => {
            let part = body.slice(..at.min(body.len()));
            let end = Err(std::io::Error::other("broken off"));
            StreamBody::new(futures::stream::iter([frame(part), end])).boxed_unsync()
        }
        Shape::Drip(pause) => {
            let bytes: Vec<u8> = body.to_vec();
            let bytes = futures::stream::iter(bytes).then(move |byte| async move {
                tokio::time::sleep(pause).await;
                Ok(Frame::data(Bytes::from(vec![byte])))
            });
            StreamBody::new(bytes).boxed_unsync()
        }
        Shape::Swell(size) => {
            let shared = Arc::clone(shared);
            let chunks = futures::stream::iter(0..size.div_ceil(CHUNK)).map(move |_| {
                shared.lock().unwrap().swollen += CHUNK;
                Ok(Frame::data(Bytes::from(vec![b' '; CHUNK])))
            });
            StreamBody::new(chunks).boxed_unsync()
        }
    }
}

fn decoded(text: &Value) -> Value {
    let bytes = BASE64URL_NOPAD.decode(text.as_str().unwrap_or_default().as_bytes());
    serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default()
}
