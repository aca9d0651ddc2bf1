//! Header fields on their way through: what belongs to one hop stays there, what tells the
//! upstream about the client is set by us alone.

use http::header;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What a request is about, told to the upstream.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) client: &'a HeaderValue,
    /// As the client sent it, with its port.
    pub(super) authority: &'a HeaderValue,
    /// Of the authority.
    pub(super) port: Option<u16>,
}

/// The protocol that the client asks to change to, if this request asks for it (RFC 9110 §7.8).
pub(super) fn upgrade_of(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    if version != Version::HTTP_11 || !names_in_connection(headers).any(|name| name == "upgrade") {
        return None;
    }
    headers.get(header::UPGRADE).cloned()
}

/// Makes a client's header section ours to send.
pub(super) fn prepare_request(
    headers: &mut HeaderMap,
    told: &Told<'_>,
    upgrade: Option<HeaderValue>,
) {
    let trailers = wants_trailers(headers);
    strip_hop_by_hop(headers);
    remove_matching(headers, tells_about_clients);
    headers.remove(header::EXPECT);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let port = told.port.map_or(HeaderValue::from_static("443"), HeaderValue::from);
    headers.insert(X_FORWARDED_FOR, told.client.clone());
    headers.insert(X_REAL_IP, told.client.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    headers.insert(X_FORWARDED_HOST, told.authority.clone());
    headers.insert(X_FORWARDED_PORT, port);
}

/// Makes an upstream's header section ours to send; `upgrade` after a 101.
pub(super) fn prepare_response(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    strip_hop_by_hop(headers);
    if let Some(protocol) = upgrade {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// One Cookie field for HTTP/1.1, where several are not allowed (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(_)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in headers.get_all(header::COOKIE).iter().skip(1) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// The target in origin form (RFC 9112 §3.2.1); `*` of OPTIONS stays.
pub(super) fn origin_form(uri: &Uri, method: &Method) -> Uri {
    match uri.path_and_query() {
        Some(target) if *method == Method::OPTIONS || target.as_str() != "*" => {
            Uri::from(target.clone())
        }
        _ => Uri::from(PathAndQuery::from_static("/")),
    }
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let named = |value: &HeaderValue| value.to_str().is_ok_and(|te| has_token(te, "trailers"));
    headers.get_all(header::TE).iter().any(named)
}

fn has_token(list: &str, token: &str) -> bool {
    list.split(',').any(|item| {
        item.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(token))
    })
}

/// Names of RFC 9110 §7.6.1, and those that `Connection` lists.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = names_in_connection(headers).collect();
    for name in listed.into_iter().filter(|name| !is_protected(name)) {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// Fields that frame or route a message are not the sender's to take away.
fn is_protected(name: &HeaderName) -> bool {
    *name == header::HOST || *name == header::CONTENT_LENGTH
}

fn names_in_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
}

/// Fields by which an upstream learns of the client, in the spelling with `_` too, which some
/// upstreams take for the same.
fn tells_about_clients(name: &HeaderName) -> bool {
    let name = name.as_str();
    let forwarded = name.strip_prefix("x-forwarded").or_else(|| name.strip_prefix("x_forwarded"));
    forwarded.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
        || matches!(name, "x-real-ip" | "x_real_ip" | "forwarded")
}

fn remove_matching(headers: &mut HeaderMap, matches: fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| matches(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        };
        lines.iter().map(parse).collect()
    }

    fn shown(headers: &HeaderMap) -> String {
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines.join("\n")
    }

    #[track_caller]
    fn check(lines: &[(&str, &str)], expected: &str) {
        let mut map = headers(lines);
        let upgrade = upgrade_of(Version::HTTP_11, &map);
        let told = Told {
            client: &HeaderValue::from_static("192.0.2.7"),
            authority: &HeaderValue::from_static("a.x:8443"),
            port: Some(8443),
        };
        prepare_request(&mut map, &told, upgrade);
        let set = "x-forwarded-for: 192.0.2.7\nx-forwarded-host: a.x:8443\n\
                   x-forwarded-port: 8443\nx-forwarded-proto: https\nx-real-ip: 192.0.2.7";
        for line in set.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            assert_eq!(map.get_all(name).iter().collect::<Vec<_>>(), [value]);
            map.remove(name);
        }
        assert_eq!(shown(&map), expected);
    }

    #[test]
    fn what_belongs_to_one_hop_stays_there() {
        check(&[("accept", "*/*"), ("keep-alive", "timeout=5"), ("te", "gzip")], "accept: */*");
        check(&[("connection", "x-a, close"), ("x-a", "1"), ("x-b", "2")], "x-b: 2");
        check(&[("connection", "host, content-length"), ("host", "a.x")], "host: a.x");
        check(&[("te", "gzip, trailers;q=1"), ("transfer-encoding", "chunked")], "te: trailers");
        check(&[("upgrade", "h2c"), ("expect", "100-continue")], "");
    }

    #[test]
    fn nobody_else_tells_the_upstream_who_the_client_is() {
        let lies = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "http")];
        check(&lies, "");
        check(&[("x_forwarded_for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")], "");
        check(&[("x-real-ip", "1.2.3.4"), ("x-forwarded-prefix", "/x")], "");
        check(&[("connection", "x-forwarded-for, x-real-ip")], "");
        check(&[("x-forwardedness", "kept")], "x-forwardedness: kept");
    }

    #[test]
    fn an_upgrade_is_passed_on_only_when_asked_for() {
        check(
            &[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")],
            "connection: upgrade\nupgrade: websocket",
        );
        assert_eq!(upgrade_of(Version::HTTP_2, &headers(&[("connection", "upgrade")])), None);
    }

    #[test]
    fn several_cookie_fields_become_one() {
        let mut map = headers(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut map);
        assert_eq!(shown(&map), "cookie: a=1; b=2; c=3");
    }

    #[test]
    fn the_target_loses_its_host() {
        let origin = |text: &str| origin_form(&text.parse().unwrap(), &Method::GET).to_string();
        assert_eq!(origin("http://b.x/p?q"), "/p?q");
        assert_eq!(origin("http://b.x"), "/");
        assert_eq!(origin("//b.x/p"), "//b.x/p");
    }
}
