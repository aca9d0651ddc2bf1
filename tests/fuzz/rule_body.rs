//! What holds for any bytes: no panic, printing loses nothing, `!` turns every answer around.

use std::net::{IpAddr, Ipv4Addr};

use routecert::rule::{Connection, HttpRequest, Protocol, Request, Rule, Syntax};

/// A rule longer than this is refused unread.
const MAX_BYTES: usize = 64 * 1024;

/// Takes the bytes for a rule as they are, then for choices that make a rule.
pub(crate) fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let requests = [http_request(&mut bytes), connection(&mut bytes)];
    let calls = bytes.pick(&[HTTP_CALLS, TCP_CALLS]);
    let made = expression(&mut bytes, calls, 0);
    for text in [String::from_utf8_lossy(data).into_owned(), made] {
        for protocol in [Protocol::Http, Protocol::Tcp] {
            for syntax in [Syntax::V3, Syntax::V2] {
                check_rule(&text, protocol, syntax, &requests);
            }
        }
    }
}

fn check_rule(text: &str, protocol: Protocol, syntax: Syntax, requests: &[Request]) {
    let rule = match Rule::parse(text, protocol, syntax) {
        Ok(rule) => rule,
        Err(error) => {
            let line = text.split('\n').nth(error.line - 1).unwrap();
            assert!(error.column <= line.chars().count() + 1, "{text:?}: {error}");
            return;
        }
    };
    let printed = rule.to_string();
    if printed.len() <= MAX_BYTES {
        assert_eq!(Rule::parse(&printed, protocol, syntax).as_ref(), Ok(&rule), "{text:?}");
    }
    let opposite = Rule::parse(&format!("!({printed})"), protocol, syntax);
    for request in requests {
        let right = matches!(
            (protocol, request),
            (Protocol::Http, Request::Http(_)) | (Protocol::Tcp, Request::Tcp(_))
        );
        let matches = rule.matches(request);
        assert!(right || !matches, "{text:?}");
        // One more level, or a few more bytes, may be too much.
        if let (true, Ok(opposite)) = (right, &opposite) {
            assert_ne!(opposite.matches(request), matches, "{text:?}");
        }
    }
}

/// Bytes as a source of choices; zeros without end behind the last.
struct Bytes<'d>(&'d [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.next()) % from.len()]
    }
}

/// Right ones, so that many rules parse as a whole.
const HTTP_CALLS: &[&str] = &[
    "Host(`a.example`)",
    "Host(`*.example`)",
    "HostRegexp(`^a`)",
    "Path(`/a%2Fb`)",
    "PathPrefix(`/4`)",
    "PathRegexp(`[^/]+$`)",
    "Method(`get`)",
    "Header(`X-A`, `a`)",
    "Query(`a`, `b`)",
    "ClientIP(`192.0.2.0/25`)",
];
const TCP_CALLS: &[&str] = &[
    "HostSNI(`a.example`)",
    "HostSNI(`*`)",
    "HostSNIRegexp(`^a`)",
    "ALPN(`h2`)",
    "ClientIP(`192.0.2.0/25`)",
];

fn expression(bytes: &mut Bytes<'_>, calls: &[&str], depth: usize) -> String {
    let inside = |bytes: &mut Bytes<'_>| expression(bytes, calls, depth + 1);
    match bytes.next() % 8 {
        1 if depth < 20 => format!("!{}", inside(bytes)),
        2 if depth < 20 => format!("({})", inside(bytes)),
        3 | 4 if depth < 20 => format!("{} && {}", inside(bytes), inside(bytes)),
        5 | 6 if depth < 20 => format!("{} ||\n{}", inside(bytes), inside(bytes)),
        7 => call(bytes),
        _ => bytes.pick(calls).to_owned(),
    }
}

fn call(bytes: &mut Bytes<'_>) -> String {
    let name = bytes.pick(&[
        "Host",
        "HostSNI",
        "HostRegexp",
        "HostSNIRegexp",
        "Path",
        "PathPrefix",
        "PathRegexp",
        "Query",
        "QueryRegexp",
        "Header",
        "HeaderRegexp",
        "Headers",
        "HeadersRegexp",
        "HostHeader",
        "Method",
        "ClientIP",
        "ALPN",
        "host",
        "HOSTSNI",
        "Other",
    ]);
    let values: Vec<String> = (0..=bytes.pick(&[0, 0, 0, 1, 1, 2])).map(|_| value(bytes)).collect();
    format!("{name}({})", values.join(", "))
}

fn value(bytes: &mut Bytes<'_>) -> String {
    let plain = bytes.pick(&[
        "a.example",
        "*.example",
        "*",
        "/",
        "/a%2Fb",
        "/{x:[0-9]+}",
        "{x}.example",
        "^a",
        "(?i)A",
        "[^/]+",
        "\\pL{3}",
        "\\bé",
        "192.0.2.0/24",
        "::1",
        "h2",
        "GET",
        "a=b",
        "a={x}",
        "a",
        "",
        "X-A",
        "`",
        "é",
        "\r\n",
        "\u{feff}",
        "\\",
        "(",
        "a**",
    ]);
    match bytes.next() % 4 {
        0 => format!("{:?}", plain.replace('\u{feff}', "x")).replace("\\u{", "{"),
        1 => format!("\"{}\\x{:02x}\"", plain.escape_default(), bytes.next() % 128),
        _ => format!("`{}`", plain.replace('`', "")),
    }
}

fn http_request(bytes: &mut Bytes<'_>) -> Request {
    let method = bytes.pick(&["GET", "POST", "get"]);
    let host = bytes.pick(&["a.example", "A.example.:80", "[::1]:80", "[::1]", "", ":", "[", "]:"]);
    let target = bytes.pick(&["/", "/a%2Fb?a=b", "/42?a", "/é", "/%C3%28", "*", "", "/?a=%zz&b"]);
    let request = HttpRequest::new(method, host, target).unwrap();
    let value = vec![bytes.next(), bytes.next()];
    Request::Http(request.with_header("x-a", value).with_client(client(bytes)))
}

fn connection(bytes: &mut Bytes<'_>) -> Request {
    let sni = bytes.pick(&["a.example", "", "A.EXAMPLE.", "é"]);
    let alpn = bytes.pick(&[[].as_slice(), &["h2"], &["a", "h2"]]);
    let alpn = alpn.iter().map(|name| (*name).to_owned()).collect();
    Request::Tcp(Connection::new(sni, alpn, client(bytes)))
}

fn client(bytes: &mut Bytes<'_>) -> Option<IpAddr> {
    let v4 = Ipv4Addr::new(192, 0, 2, bytes.next());
    bytes.pick(&[None, Some(v4.into()), Some(v4.to_ipv6_mapped().into())])
}
