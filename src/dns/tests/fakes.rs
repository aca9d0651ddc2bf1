//! Servers of our own that stand in for somebody's: a hook of `httpreq`, and a fake of acme-dns,
//! whose real server cannot be had here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Request, Response};
use serde_json::{Value, json};

use crate::dns::tests::server::{Server, reply};
use crate::dns::tests::value_of;

/// What a server has, and how it behaves.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Values by name, without a dot at the end.
    pub(super) values: BTreeMap<String, Vec<String>>,
    /// Accounts of acme-dns: password by user.
    pub(super) accounts: BTreeMap<String, String>,
    pub(super) password: String,
    pub(super) behaviour: Behaviour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Behaviour {
    #[default]
    Right,
    /// Refuses with this status, and tells everything that it was told.
    Refuses(u16),
    /// Never answers.
    Silent,
}

pub(super) type Shared = Arc<Mutex<Records>>;

impl Records {
    pub(super) fn of(&self, name: &str) -> BTreeSet<String> {
        self.values.get(name).into_iter().flatten().cloned().collect()
    }

    fn add(&mut self, name: &str, value: &str) {
        let values = self.values.entry(name.trim_end_matches('.').to_owned()).or_default();
        if !values.iter().any(|one| one == value) {
            values.push(value.to_owned());
        }
    }

    fn remove(&mut self, name: &str, value: &str) {
        let values = self.values.entry(name.trim_end_matches('.').to_owned()).or_default();
        values.retain(|one| one != value);
    }

    /// `well`, or what a server answers that is not; `None`: nothing.
    fn answer(
        &mut self,
        request: &Request<Bytes>,
        well: impl FnOnce(&mut Self) -> Response<Bytes>,
    ) -> Option<Response<Bytes>> {
        match self.behaviour {
            Behaviour::Right => Some(well(self)),
            Behaviour::Silent => None,
            Behaviour::Refuses(status) => {
                let headers = request.headers().iter().filter_map(|(_, value)| value.to_str().ok());
                let headers: Vec<&str> = headers.collect();
                let told = format!("no\u{7}: {} {}", request.uri(), headers.join(" "));
                Some(reply(status, told))
            }
        }
    }
}

/// A hook for `httpreq` that wants user `user` and the password of [`Records`].
pub(super) async fn hook(records: &Shared) -> Server {
    let shared = Arc::clone(records);
    let answer = move |request: Request<Bytes>| {
        shared.lock().unwrap().answer(&request, |records| hooked(records, &request))
    };
    Server::start(Arc::new(answer)).await
}

fn hooked(records: &mut Records, request: &Request<Bytes>) -> Response<Bytes> {
    let login = BASE64.encode(format!("user:{}", records.password).as_bytes());
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if given != Some(&format!("Basic {login}")) {
        return reply(401, "wrong login");
    }
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let name =
        text("fqdn").unwrap_or_else(|| format!("_acme-challenge.{}", text("domain").unwrap()));
    let value = text("value").unwrap_or_else(|| value_of(&text("keyAuth").unwrap()));
    match request.uri().path() {
        "/hook/present" => records.add(&name, &value),
        "/hook/cleanup" => records.remove(&name, &value),
        path => return reply(404, path.to_owned()),
    }
    reply(200, "{}")
}

/// Of a fake acme-dns: each account has a name below `acme-dns.example.net`, and keeps two values.
pub(super) async fn fake_acme_dns(records: &Shared) -> Server {
    let shared = Arc::clone(records);
    let answer = move |request: Request<Bytes>| {
        shared.lock().unwrap().answer(&request, |records| match request.uri().path() {
            "/register" => register(records, &request),
            "/update" => update(records, &request),
            path => reply(404, path.to_owned()),
        })
    };
    Server::start(Arc::new(answer)).await
}

fn register(records: &mut Records, request: &Request<Bytes>) -> Response<Bytes> {
    let body: Value = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
    let number = records.accounts.len() + 1;
    let (user, password) = (format!("user-{number}"), format!("password-{number}"));
    records.accounts.insert(user.clone(), password.clone());
    let account = json!({
        "username": user,
        "password": password,
        "fulldomain": format!("sub-{number}.acme-dns.example.net"),
        "subdomain": format!("sub-{number}"),
        "allowfrom": body["allowfrom"],
    });
    reply(201, account.to_string())
}

fn update(records: &mut Records, request: &Request<Bytes>) -> Response<Bytes> {
    let body: Value = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
    let header = |name: &str| request.headers().get(name)?.to_str().ok().map(str::to_owned);
    let user = header("x-api-user").unwrap_or_default();
    let subdomain = user.replace("user", "sub");
    let is_right = records.accounts.get(&user).cloned() == header("x-api-key");
    if user.is_empty() || !is_right || body["subdomain"] != subdomain.as_str() {
        return reply(401, r#"{"error": "forbidden"}"#);
    }
    let Some(value) = body["txt"].as_str().filter(|value| value.len() == 43) else {
        return reply(400, r#"{"error": "bad_txt"}"#);
    };
    let name = format!("{subdomain}.acme-dns.example.net");
    records.add(&name, value);
    let values = records.values.entry(name).or_default();
    let surplus = values.len().saturating_sub(2);
    values.drain(..surplus);
    reply(200, json!({"txt": value}).to_string())
}
