//! A provider makes the requests of a recording, one after another, and gets its answers.
//!
//! A recording is one JSON file: the variables (`env`), the task (`domain`, `fqdn` with a dot at
//! the end, `value`), the `zones` that are to be found, the time, and the `exchanges`, each with its
//! phase (`build`, `present` or `cleanup`), what is sent and what is answered. A provider's
//! addresses are often fixed, so its requests are led to a server on the loopback address, with
//! their URL in a header. JSON is compared by value, queries and forms as sets of pairs, XML without
//! the space between its tags.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, Uri};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use crate::dns::tests::server::{Server, reply};
use crate::dns::tests::{Known, client};
use crate::dns::{Context, Exchange, Task, Variables, Zones, provider};
use crate::http as outgoing;
use crate::name::Name;

const ORIGINAL: &str = "x-replayed-url";

/// Headers that say nothing to the provider, or differ each time.
const MEANINGLESS: [&str; 5] =
    ["accept-encoding", "client-request-id", "content-length", "user-agent", "x-goog-api-client"];
const MEANINGLESS_BEGIN: [&str; 3] = ["amz-sdk-", "return-client-", "x-client-"];

/// Requests that the recorded program made before it was asked for anything: they may be left out.
const BUILD: &str = "build";

#[derive(Debug, Deserialize)]
pub(super) struct Recording {
    code: String,
    env: BTreeMap<String, String>,
    domain: String,
    zones: Vec<String>,
    fqdn: String,
    value: String,
    recorded_at: jiff::Timestamp,
    exchanges: Vec<Recorded>,
}

/// One request with its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Recorded {
    pub(super) phase: String,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) header: BTreeMap<String, Vec<String>>,
    pub(super) body: String,
    pub(super) status: u16,
    pub(super) resp_body: String,
}

impl Default for Recorded {
    fn default() -> Self {
        let text = String::new;
        Self {
            phase: text(),
            method: text(),
            url: text(),
            header: BTreeMap::new(),
            body: text(),
            status: 200,
            resp_body: text(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    left: VecDeque<Recorded>,
    faults: Vec<String>,
}

/// Expects the exchanges in their order.
pub(super) struct Replay {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Replay {
    pub(super) async fn start(exchanges: impl IntoIterator<Item = Recorded>) -> Self {
        let left = exchanges.into_iter().collect();
        let state = Arc::new(Mutex::new(State { left, faults: Vec::new() }));
        let shared = Arc::clone(&state);
        let answer = move |request| Some(shared.lock().unwrap().answer(&request));
        Self { server: Server::start(Arc::new(answer)).await, state }
    }

    /// Leads every request here.
    pub(super) fn exchange(&self) -> Arc<dyn Exchange> {
        Arc::new(Here { client: client(), server: self.server.address })
    }

    /// How many exchanges of a phase are still to come; panics if a request was wrong.
    #[track_caller]
    pub(super) fn left(&self, phase: &str) -> usize {
        let state = self.state.lock().unwrap();
        assert!(state.faults.is_empty(), "{}", state.faults.join("\n"));
        state.left.iter().filter(|it| it.phase == phase).count()
    }
}

struct Here {
    client: outgoing::Client,
    server: SocketAddr,
}

impl Exchange for Here {
    fn send(
        &self,
        mut request: Request<Bytes>,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response<Bytes>, outgoing::Error>> {
        let original = request.uri().to_string();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let here: Uri = format!("http://{}{path}", self.server).parse().unwrap();
        *request.uri_mut() = here;
        request.headers_mut().insert(ORIGINAL, original.parse().unwrap());
        Exchange::send(&self.client, request, timeout)
    }
}

impl State {
    fn answer(&mut self, request: &Request<Bytes>) -> Response<Bytes> {
        let needless = |it: &Recorded| it.phase == BUILD && !differences(it, request).is_empty();
        while self.left.front().is_some_and(needless) {
            self.left.pop_front();
        }
        let Some(expected) = self.left.pop_front() else {
            self.faults.push(format!("one request too many: {request:?}"));
            return reply(500, "one request too many");
        };
        let faults = differences(&expected, request);
        let answer = if faults.is_empty() { expected.status } else { 500 };
        let what = format!("{} {}", expected.method, expected.url);
        self.faults.extend(faults.into_iter().map(|fault| format!("{what}: {fault}")));
        reply(answer, expected.resp_body)
    }
}

fn differences(expected: &Recorded, request: &Request<Bytes>) -> Vec<String> {
    let mut found = Vec::new();
    let mut same = |what: &str, expected: String, got: String| {
        if expected != got {
            found.push(format!("{what}: {got}\n  instead of {expected}"));
        }
    };
    same("method", expected.method.clone(), request.method().to_string());
    let got = header(request.headers(), ORIGINAL);
    same("URL", url(&expected.url), url(&got));
    for (name, values) in &expected.header {
        let name = name.to_ascii_lowercase();
        let is_noise = MEANINGLESS.contains(&name.as_str())
            || MEANINGLESS_BEGIN.iter().any(|begin| name.starts_with(begin));
        if !is_noise {
            same(&name, plain(&name, &values.join(", ")), header(request.headers(), &name));
        }
    }
    let kind = header(request.headers(), "content-type");
    let got = String::from_utf8_lossy(request.body());
    same("body", body(&kind, &expected.body), body(&kind, &got));
    found
}

fn header(headers: &HeaderMap, name: &str) -> String {
    let all: Vec<&str> = headers.get_all(name).iter().filter_map(|it| it.to_str().ok()).collect();
    plain(name, &all.join(", "))
}

/// Of a media type the parameters do not count.
fn plain(name: &str, value: &str) -> String {
    match value.split_once(';') {
        Some((kind, _)) if name == "content-type" => kind.trim().to_owned(),
        _ => value.to_owned(),
    }
}

fn url(text: &str) -> String {
    match text.split_once('?') {
        Some((path, query)) => format!("{path}?{}", form(query)),
        None => text.to_owned(),
    }
}

fn form(text: &str) -> String {
    let plain = |text: &str| {
        let spaces = text.replace('+', " ");
        percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
    };
    let mut pairs: Vec<String> =
        text.split('&').filter(|pair| !pair.is_empty()).map(plain).collect();
    pairs.sort();
    pairs.join("&")
}

fn body(kind: &str, text: &str) -> String {
    let text = text.trim();
    if kind.contains("form-urlencoded") {
        return form(text);
    }
    if kind.contains("xml") {
        let lines: Vec<&str> = text.split('>').map(str::trim).collect();
        return lines.join(">");
    }
    // Its keys come out sorted.
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |json| json.to_string())
}

/// Sets and unsets as the recording did, and made exactly its requests.
pub(super) async fn replayed(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let recording: Recording = serde_json::from_str(&text).unwrap();
    let replay = Replay::start(recording.exchanges).await;
    let context = Context {
        code: "",
        variables: Variables::of_process(Arc::new(recording.env)),
        exchange: replay.exchange(),
        zones: Zones(Arc::new(Known(recording.zones))),
        now: recording.recorded_at,
    };
    let task = Task {
        domain: Name::parse(&recording.domain).unwrap(),
        fqdn: recording.fqdn.trim_end_matches('.').to_owned(),
        value: recording.value,
        token: String::new(),
        key_authorization: String::new(),
    };
    let told = |what: &str| format!("{}: {what}", file.display());
    let set = provider(&recording.code, &context).unwrap().set(&task).await;
    assert_eq!(replay.left("present"), 0, "{}: {set:?}", told("too few requests"));
    let handle = set.unwrap();
    let made = provider(&recording.code, &context).unwrap();
    let unset = made.unset(&task, Some(&handle)).await;
    assert_eq!(replay.left("cleanup"), 0, "{}: {unset:?}", told("too few requests"));
    unset.unwrap();
}

#[tokio::test]
async fn every_recording_is_replayed() {
    let folder = super::data("");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut recordings: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|end| end == "json")).collect();
    recordings.sort();
    assert!(!recordings.is_empty());
    for file in recordings {
        replayed(&file).await;
    }
}

#[tokio::test]
async fn what_was_asked_at_the_start_may_be_left_out_and_nothing_else() {
    let text = std::fs::read_to_string(super::data("httpreq.json")).unwrap();
    let recording: Recording = serde_json::from_str(&text).unwrap();
    let sent = recording.exchanges[0].clone();
    let asks = async |phase: &str| {
        let first = Recorded { phase: phase.to_owned(), method: "GET".to_owned(), ..sent.clone() };
        let replay = Replay::start([first, sent.clone()]).await;
        let mut request = Request::post(&sent.url);
        for (name, values) in &sent.header {
            request = request.header(name, values.concat());
        }
        let request = request.body(sent.body.clone().into()).unwrap();
        let timeout = Duration::from_secs(20);
        replay.exchange().send(request, timeout).await.unwrap().status().as_u16()
    };
    assert_eq!(asks("build").await, 200);
    assert_eq!(asks("present").await, 500);
}

#[tokio::test]
async fn a_request_that_differs_from_its_recording_is_told() {
    let text = std::fs::read_to_string(super::data("httpreq.json")).unwrap();
    let recording: Recording = serde_json::from_str(&text).unwrap();
    let first = recording.exchanges.first().unwrap().clone();
    let sent = |change: &dyn Fn(&mut Recorded)| {
        let mut changed = first.clone();
        change(&mut changed);
        let mut request = Request::builder().method(changed.method.as_str());
        for (name, values) in &changed.header {
            request = request.header(name, values.concat());
        }
        let request = request.header(ORIGINAL, &changed.url);
        differences(&first, &request.body(changed.body.into()).unwrap()).len()
    };
    assert_eq!(sent(&|_| {}), 0);
    assert_eq!(sent(&|it| it.method = "PUT".to_owned()), 1);
    assert_eq!(sent(&|it| it.url.push('x')), 1);
    assert_eq!(sent(&|it| it.body = it.body.replace("fqdn", "name")), 1);
    assert_eq!(sent(&|it| drop(it.header.remove("Authorization"))), 1);
    assert_eq!(sent(&|it| it.body = it.body.replace(',', " ,\n")), 0);
    assert_eq!(form("b=%20x&a=1"), form("a=1&b=+x"));
    assert_eq!(body("text/xml", "<a>\n  <b/>\n</a>\n"), body("text/xml", "<a><b/></a>"));
}
