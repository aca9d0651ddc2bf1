//! What a CA says, read for what a step needs: whatever else is in a reply, or is missing, is no
//! reason to stop.

use ::http::header::{LINK, LOCATION};
use ::http::{HeaderMap, Response, StatusCode, Uri};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::acme::{Error, RetryAfter};
use crate::order;

const URN: &str = "urn:ietf:params:acme:error:";
/// Alternate chains that are looked at; real ones are fewer.
const MAX_LINKS: usize = 16;

/// A whole reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Bytes,
    /// What was asked for, for references that are not absolute.
    asked: Uri,
}

/// A problem document (RFC 9457, RFC 8555 §6.7), as far as it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Without the prefix of ACME's own; empty: none given.
    pub(super) kind: String,
    /// For people.
    pub(super) message: String,
}

impl Reply {
    pub(super) fn new(asked: Uri, reply: Response<Bytes>) -> Self {
        let (parts, body) = reply.into_parts();
        Self { status: parts.status, headers: parts.headers, body, asked }
    }

    /// What was asked for, or why not.
    pub(super) fn ok(self) -> Result<Self, Error> {
        match self.problem() {
            None => Ok(self),
            Some(problem) => Err(self.refusal(problem)),
        }
    }

    /// Why not, unless it is a success.
    pub(super) fn problem(&self) -> Option<Problem> {
        if self.status.is_success() {
            return None;
        }
        let body = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        Some(Problem::read(&body, self.status))
    }

    fn refusal(&self, problem: Problem) -> Error {
        let Problem { kind, message } = problem;
        match kind.as_str() {
            "accountDoesNotExist" => Error::AccountGone(message),
            "orderNotReady" => Error::OtherState(message),
            "rateLimited" => Error::RateLimited { message, retry_after: self.retry_after() },
            "serverInternal" | "badNonce" => Error::Unreachable(message),
            _ if self.status.is_client_error() => Error::Refused(message),
            // A proxy or a CA in trouble, not an answer.
            _ => Error::Unreachable(message),
        }
    }

    pub(super) fn json(&self) -> Result<Value, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::Unreachable(format!("a reply that is not ACME: {error}")))
    }

    pub(super) fn retry_after(&self) -> Option<RetryAfter> {
        RetryAfter::of(&self.headers)
    }

    /// Where the thing that was made is.
    pub(super) fn location(&self) -> Option<String> {
        self.absolute(self.headers.get(LOCATION)?.to_str().ok()?)
    }

    pub(super) fn nonce(&self) -> Option<&str> {
        let nonce = self.headers.get("replay-nonce")?.to_str().ok()?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        // RFC 8555 §6.5.1: anything else is to be ignored.
        ((1..=512).contains(&nonce.len()) && nonce.bytes().all(fits)).then_some(nonce)
    }

    /// Targets of the links of this relation (RFC 8288 §3).
    pub(super) fn links(&self, relation: &str) -> Vec<String> {
        let headers = self.headers.get_all(LINK).into_iter().filter_map(|it| it.to_str().ok());
        let mut found = Vec::new();
        for header in headers {
            for part in header.split('<').skip(1) {
                let Some((target, parameters)) = part.split_once('>') else { continue };
                if names(parameters, relation) && found.len() < MAX_LINKS {
                    found.extend(self.absolute(target));
                }
            }
        }
        found
    }

    fn absolute(&self, target: &str) -> Option<String> {
        if !target.starts_with('/') {
            return Some(target.to_owned());
        }
        Some(format!("{}://{}{target}", self.asked.scheme_str()?, self.asked.authority()?))
    }
}

fn names(parameters: &str, relation: &str) -> bool {
    parameters.split(';').any(|parameter| {
        parameter.trim().trim_end_matches(',').split_once('=').is_some_and(|(name, value)| {
            let mut relations = value.trim().trim_matches('"').split(' ');
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|one| one.eq_ignore_ascii_case(relation))
        })
    })
}

impl Problem {
    /// `status`: of the reply that it came with.
    pub(super) fn read(body: &Value, status: StatusCode) -> Self {
        let kind = text(body, "type").unwrap_or_default();
        let kind = kind.strip_prefix(URN).unwrap_or(kind);
        let kind = if kind == "about:blank" { "" } else { kind };
        let detail = text(body, "detail").or_else(|| text(body, "title"));
        let mut details: Vec<String> = detail.into_iter().map(str::to_owned).collect();
        details.extend(items(body, "subproblems").filter_map(about_one));
        // RFC 8555 §7.3.3: a person has to agree to something.
        if let Some(instance) = text(body, "instance").filter(|_| kind == "userActionRequired") {
            details.push(format!("visit {instance}"));
        }
        let given = body.get("status").and_then(Value::as_u64);
        let code = given.unwrap_or_else(|| status.as_u16().into());
        let what = if kind.is_empty() { format!("HTTP {code}") } else { kind.to_owned() };
        let why = match details.as_slice() {
            [] => "the CA gave no reason".to_owned(),
            some => some.join("; "),
        };
        Self { kind: kind.to_owned(), message: order::shown(&format!("{why} ({what})")) }
    }
}

/// RFC 8555 §6.7.1.
fn about_one(problem: &Value) -> Option<String> {
    let detail = text(problem, "detail").or_else(|| text(problem, "type"))?;
    let name = problem.get("identifier").and_then(|identifier| text(identifier, "value"));
    Some(name.map_or_else(|| detail.to_owned(), |name| format!("{name}: {detail}")))
}

/// A field that is a text and not empty.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The items of a list; none if it is something else.
pub(super) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A field as a word of the protocol; `None` also for one that is not known.
pub(super) fn word<'a, T: Deserialize<'a>>(value: &'a Value, key: &str) -> Option<T> {
    T::deserialize(value.get(key)?).ok()
}

/// A URL that may be followed.
pub(super) fn https(url: &str) -> Result<Uri, Error> {
    let uri: Option<Uri> = url.parse().ok();
    uri.filter(|uri| uri.scheme_str() == Some("https") && uri.host().is_some_and(|h| !h.is_empty()))
        .ok_or_else(|| {
            let shown = order::shown(url);
            Error::Refused(format!("the CA names an address that is not https://: {shown}"))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut reply = Response::builder().status(status);
        for (name, value) in headers {
            reply = reply.header(*name, *value);
        }
        let asked = Uri::from_static("https://ca.example:14000/order/1");
        Reply::new(asked, reply.body(Bytes::from(body.to_owned())).unwrap())
    }

    fn told(body: &Value) -> String {
        Problem::read(body, StatusCode::BAD_REQUEST).message
    }

    #[test]
    fn a_problem_is_told_with_its_type_its_detail_and_the_names_it_is_about() {
        let kind = "urn:ietf:params:acme:error:rejectedIdentifier";
        assert_eq!(told(&json!({"type": kind, "detail": "no"})), "no (rejectedIdentifier)");
        assert_eq!(told(&json!({"detail": "no"})), "no (HTTP 400)");
        assert_eq!(told(&json!({})), "the CA gave no reason (HTTP 400)");
        assert_eq!(told(&json!(["x"])), "the CA gave no reason (HTTP 400)");
        assert_eq!(told(&json!({"type": 3, "detail": {}})), "the CA gave no reason (HTTP 400)");
        let sub = json!([{"detail": "bad", "identifier": {"type": "dns", "value": "a.x"}}, 3]);
        let whole = json!({"type": kind, "detail": "no", "subproblems": sub});
        assert_eq!(told(&whole), "no; a.x: bad (rejectedIdentifier)");
        let terms = json!({"type": format!("{URN}userActionRequired"), "instance": "https://t"});
        assert_eq!(told(&terms), "visit https://t (userActionRequired)");
    }

    #[test]
    fn what_is_no_problem_document_is_an_error_all_the_same() {
        let error = |status, body| reply(status, &[], body).ok().unwrap_err();
        assert!(matches!(error(400, r#"{"detail":"no"}"#), Error::Refused(_)));
        assert!(matches!(error(502, "<html>"), Error::Unreachable(_)));
        assert!(matches!(error(404, ""), Error::Refused(_)));
        assert!(matches!(error(302, ""), Error::Unreachable(_)));
    }

    #[test]
    fn links_are_found_by_relation_in_one_header_or_several() {
        let alternate = r#"<https://ca.example/cert/1/1>;rel="alternate", </2>; rel=alternate"#;
        let headers = [("link", r#"<https://ca.example/dir>;rel="index""#), ("link", alternate)];
        let reply = reply(200, &headers, "");
        let expected = ["https://ca.example/cert/1/1", "https://ca.example:14000/2"];
        assert_eq!(reply.links("alternate"), expected);
        assert_eq!(reply.links("up"), Vec::<String>::new());
    }

    #[test]
    fn only_https_is_followed_and_only_nonces_are_kept() {
        assert!(https("https://ca.example/x").is_ok());
        for wrong in ["http://ca.example/x", "https://", "/x", "file:///etc/passwd", ""] {
            assert!(matches!(https(wrong), Err(Error::Refused(_))), "{wrong}");
        }
        assert_eq!(reply(200, &[("replay-nonce", "aB-_9")], "").nonce(), Some("aB-_9"));
        assert_eq!(reply(200, &[("replay-nonce", "a b")], "").nonce(), None);
    }
}
