//! `httpreq`: somebody's own HTTP server sets the record.

use http::Uri;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::dns::{Api, Context, Done, Entry, Error, Handle, Provider, Task, Timing};

pub(super) const ENTRY: Entry = Entry { codes: &["httpreq"], build };

struct HttpReq {
    api: Api,
    /// Of the endpoint; it goes with every request.
    query: Vec<(String, String)>,
    mode: Mode,
    timing: Timing,
}

/// What the server is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Record,
    /// The challenge itself; the server makes name and value of it.
    Raw,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Message<'a> {
    Record {
        fqdn: String,
        value: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    Raw {
        domain: &'a str,
        token: &'a str,
        key_auth: &'a str,
    },
}

fn build(context: &Context) -> Result<Box<dyn Provider>, Error> {
    let variables = &context.variables;
    let endpoint = variables.need("HTTPREQ_ENDPOINT")?;
    let endpoint = Endpoint::parse(&endpoint).ok_or_else(|| {
        let message = "HTTPREQ_ENDPOINT is no address such as https://host/path";
        variables.fault(message.to_owned())
    })?;
    let timeout = variables.seconds("HTTPREQ_HTTP_TIMEOUT", 30)?;
    let mut api = context.api(&endpoint.base, timeout);
    for (_, value) in &endpoint.query {
        api = api.secret(value);
    }
    let user = variables.text("HTTPREQ_USERNAME")?;
    let login = user.zip(variables.text("HTTPREQ_PASSWORD")?).or(endpoint.login);
    if let Some((user, password)) = login {
        api = api.basic(&user, &password)?;
    }
    let is_raw = variables.text("HTTPREQ_MODE")?.is_some_and(|it| it.eq_ignore_ascii_case("raw"));
    Ok(Box::new(HttpReq {
        api,
        query: endpoint.query,
        mode: if is_raw { Mode::Raw } else { Mode::Record },
        timing: variables.timing("HTTPREQ", Timing::default())?,
    }))
}

impl HttpReq {
    async fn post(&self, step: &'static str, path: &str, task: &Task) -> Result<(), Error> {
        let mut call = self.api.post(step, path).header("accept", "application/json");
        for (name, value) in &self.query {
            call = call.query(name, value);
        }
        call.json(&self.message(task)).send().await.map(drop)
    }

    fn message<'a>(&self, task: &'a Task) -> Message<'a> {
        match self.mode {
            Mode::Record => Message::Record { fqdn: format!("{}.", task.fqdn), value: &task.value },
            Mode::Raw => Message::Raw {
                domain: task.domain.as_str(),
                token: &task.token,
                key_auth: &task.key_authorization,
            },
        }
    }
}

impl Provider for HttpReq {
    fn set<'a>(&'a self, task: &'a Task) -> Done<'a, Handle> {
        Box::pin(async {
            self.post("set the record", "/present", task).await?;
            Ok(Handle::default())
        })
    }

    fn unset<'a>(&'a self, task: &'a Task, _handle: Option<&'a Handle>) -> Done<'a, ()> {
        Box::pin(self.post("take the record away", "/cleanup", task))
    }

    fn timing(&self) -> Timing {
        self.timing
    }
}

/// An address as people write it: with a query, and a login before the host.
struct Endpoint {
    base: String,
    query: Vec<(String, String)>,
    login: Option<(String, String)>,
}

impl Endpoint {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.trim().parse().ok()?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
        let authority = uri.authority()?.as_str();
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, authority),
        };
        let pairs = uri.query().into_iter().flat_map(|query| query.split('&'));
        Some(Self {
            base: format!("{scheme}://{host}{}", uri.path()),
            query: pairs.filter(|pair| !pair.is_empty()).map(|pair| split(pair, '=')).collect(),
            login: login.map(|login| split(login, ':')),
        })
    }
}

fn split(pair: &str, between: char) -> (String, String) {
    let (one, other) = pair.split_once(between).unwrap_or((pair, ""));
    let plain = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (plain(one), plain(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_have_a_login_a_port_a_path_and_a_query() {
        let endpoint = Endpoint::parse("https://u:p%40ss@host:8443/a/b?key=x%20y&z").unwrap();
        assert_eq!(endpoint.base, "https://host:8443/a/b");
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(endpoint.query, [pair("key", "x y"), pair("z", "")]);
        assert_eq!(endpoint.login, Some(pair("u", "p@ss")));
        assert_eq!(Endpoint::parse("http://host").unwrap().base, "http://host/");
        for wrong in ["", "host/path", "/path", "ftp://host", "unix:/x", "http://"] {
            assert!(Endpoint::parse(wrong).is_none(), "{wrong}");
        }
    }
}
