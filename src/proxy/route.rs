//! What becomes of a request: a challenge is answered, plain HTTP is redirected, the rest goes on.

use std::net::Ipv6Addr;

use http::{Method, StatusCode};

use crate::challenge;
use crate::config::Redirect;

/// How the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Plain,
    Tls,
}

/// The parts of a request that decide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    /// As the client sent it; `*` and the like are possible.
    pub(super) path_and_query: &'a str,
    pub(super) path: &'a str,
    /// Of the target if it has one, else the one Host field. `None`: no Host, or several.
    pub(super) authority: Option<&'a str>,
    pub(super) channel: Channel,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision<'a> {
    /// `None`: the path is a challenge's, but no such challenge can exist.
    Challenge(Option<Challenge<'a>>),
    Redirect(StatusCode, String),
    /// With the port that the client named.
    Forward(Option<u16>),
    Refuse(StatusCode, &'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge<'a> {
    pub(super) token: &'a str,
    /// Without its port and last dot.
    pub(super) host: &'a str,
}

/// A host with what a URL can have of it, `a.example` or `[2001:db8::1]`, and its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Host<'a> {
    pub(super) name: &'a str,
    pub(super) port: Option<u16>,
}

impl<'a> Host<'a> {
    /// `None` for what could be read as anything but a host: user information, spaces, escapes.
    pub(super) fn parse(authority: &'a str) -> Option<Self> {
        let end = if authority.starts_with('[') { authority.find(']')? + 1 } else { 0 };
        let (literal, rest) = authority.split_at_checked(end)?;
        let (registered, port) = match rest.split_once(':') {
            // An empty port is a missing one (RFC 3986 §3.2.3).
            Some((registered, "")) => (registered, None),
            Some((registered, port)) => (registered, Some(parse_port(port)?)),
            None => (rest, None),
        };
        let name = if literal.is_empty() { registered } else { literal };
        let whole = literal.is_empty() || registered.is_empty();
        (whole && (is_ipv6_literal(name) || is_registered_name(name)))
            .then_some(Self { name, port })
    }

    pub(super) fn without_dot(&self) -> &'a str {
        self.name.strip_suffix('.').unwrap_or(self.name)
    }
}

/// Digits alone: `parse` would take a sign.
fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn is_ipv6_literal(name: &str) -> bool {
    let inside = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

fn is_registered_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=255).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(fits)
}

pub(super) fn decide<'a>(asked: &Asked<'a>, redirect: Option<&Redirect>) -> Decision<'a> {
    let host = asked.authority.and_then(Host::parse);
    if let Some(token) = challenge::token_of(asked.path) {
        let both = token.zip(host);
        return Decision::Challenge(
            both.map(|(token, host)| Challenge { token, host: host.without_dot() }),
        );
    }
    let Some(host) = host else {
        return Decision::Refuse(
            StatusCode::BAD_REQUEST,
            "The request names no host, or not exactly one valid host.\n",
        );
    };
    if asked.method == Method::CONNECT {
        return Decision::Refuse(StatusCode::METHOD_NOT_ALLOWED, "This is no forward proxy.\n");
    }
    match (asked.channel, redirect) {
        (Channel::Tls, _) => Decision::Forward(host.port),
        (Channel::Plain, Some(redirect)) => redirected(asked, host, redirect),
        (Channel::Plain, None) => Decision::Refuse(
            StatusCode::NOT_FOUND,
            "Only HTTPS is served here. To send plain HTTP there, configure \
             `http.redirections` of this entry point.\n",
        ),
    }
}

/// The host stands before the path, so no path can become one.
fn redirected<'a>(asked: &Asked<'_>, host: Host<'_>, redirect: &Redirect) -> Decision<'a> {
    let target = asked.path_and_query;
    let target = if target.starts_with('/') { target } else { "/" };
    let Redirect { scheme, port, .. } = redirect;
    let location = if default_port(scheme) == Some(*port) {
        format!("{scheme}://{}{target}", host.name)
    } else {
        format!("{scheme}://{}:{port}{target}", host.name)
    };
    Decision::Redirect(redirect_status(redirect, asked.method), location)
}

pub(super) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

/// 307 and 308 keep the method (RFC 9110 §15.4).
fn redirect_status(redirect: &Redirect, method: &Method) -> StatusCode {
    match (redirect.permanent, *method == Method::GET) {
        (true, true) => StatusCode::MOVED_PERMANENTLY,
        (true, false) => StatusCode::PERMANENT_REDIRECT,
        (false, true) => StatusCode::FOUND,
        (false, false) => StatusCode::TEMPORARY_REDIRECT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect() -> Redirect {
        Redirect { scheme: "https".to_owned(), port: 443, permanent: true }
    }

    fn ask(method: &Method, path: &str, authority: Option<&str>, to: &Redirect) -> String {
        let bare = path.split('?').next().unwrap();
        let asked =
            Asked { method, path_and_query: path, path: bare, authority, channel: Channel::Plain };
        match decide(&asked, Some(to)) {
            Decision::Redirect(status, location) => format!("{} {location}", status.as_u16()),
            Decision::Refuse(status, _) => status.as_u16().to_string(),
            Decision::Challenge(found) => found.map_or_else(
                || "none".to_owned(),
                |found| format!("{}@{}", found.token, found.host),
            ),
            Decision::Forward(_) => "forward".to_owned(),
        }
    }

    #[track_caller]
    fn check(method: &Method, path: &str, authority: &str, expected: &str) {
        assert_eq!(ask(method, path, Some(authority), &redirect()), expected);
    }

    #[test]
    fn plain_http_goes_to_https_on_the_host_that_was_asked() {
        check(&Method::GET, "/x?y=1", "a.p42.example:8000", "301 https://a.p42.example/x?y=1");
        check(&Method::POST, "/x", "a.p42.example", "308 https://a.p42.example/x");
        check(&Method::HEAD, "/x", "a.p42.example", "308 https://a.p42.example/x");
        check(&Method::GET, "//evil.example/%2e%2e", "a.x", "301 https://a.x//evil.example/%2e%2e");
        check(&Method::GET, "/\\evil.example", "a.x", "301 https://a.x/\\evil.example");
        check(&Method::GET, "/", "[::1]:8000", "301 https://[::1]/");
        check(&Method::GET, "/", "a.x.", "301 https://a.x./");
        check(&Method::OPTIONS, "*", "a.x", "308 https://a.x/");
        check(&Method::GET, "/", "a.x:", "301 https://a.x/");
    }

    #[test]
    fn what_is_no_host_gets_no_location() {
        for bad in ["", ":80", "a@b.x", "a.x/b", "a x", "[::1", "[a.x]", "[::1]a", "a.x:99999"] {
            check(&Method::GET, "/", bad, "400");
        }
        for bad in ["a.x:+1", "a%2ex", "a.x#", "a.x?b", "a\\b", ".", "::1", "b.x,a.x"] {
            check(&Method::GET, "/", bad, "400");
        }
        assert_eq!(ask(&Method::GET, "/", None, &redirect()), "400");
        check(&Method::CONNECT, "a.x:443", "a.x:443", "405");
    }

    #[test]
    fn a_port_that_is_not_the_scheme_s_own_is_named() {
        let mut to = Redirect { port: 8443, ..redirect() };
        assert_eq!(ask(&Method::GET, "/x", Some("a.x:80"), &to), "301 https://a.x:8443/x");
        to.permanent = false;
        assert_eq!(ask(&Method::GET, "/x", Some("[::1]"), &to), "302 https://[::1]:8443/x");
        assert_eq!(ask(&Method::PUT, "/x", Some("a.x"), &to), "307 https://a.x:8443/x");
        to = Redirect { scheme: "http".to_owned(), port: 80, permanent: false };
        assert_eq!(ask(&Method::GET, "/", Some("a.x"), &to), "302 http://a.x/");
    }

    #[test]
    fn a_challenge_comes_before_everything_else() {
        check(&Method::GET, "/.well-known/acme-challenge/t", "a.x:80", "t@a.x");
        check(&Method::POST, "/.well-known/acme-challenge/t/", "a.x.", "t@a.x");
        check(&Method::GET, "/.well-known/acme-challenge/../x", "a.x", "none");
        check(&Method::GET, "/.well-known/acme-challenge/t", "a@x", "none");
        check(&Method::GET, "/.well-known/acme-challenge", "a.x", {
            "301 https://a.x/.well-known/acme-challenge"
        });
    }

    #[test]
    fn without_a_redirection_plain_http_is_told_what_to_configure() {
        let asked = Asked {
            method: &Method::GET,
            path_and_query: "/",
            path: "/",
            authority: Some("a.x"),
            channel: Channel::Plain,
        };
        let Decision::Refuse(status, why) = decide(&asked, None) else { panic!("not refused") };
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(why.contains("http.redirections"), "{why}");
        let over_tls = Asked { channel: Channel::Tls, ..asked };
        assert!(matches!(decide(&over_tls, Some(&redirect())), Decision::Forward(_)));
    }
}
