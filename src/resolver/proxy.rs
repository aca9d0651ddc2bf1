//! Which requests go through a proxy: `HTTPS_PROXY` and `NO_PROXY`, read as Go reads them.

use std::fmt;
use std::net::IpAddr;

/// A proxy that tunnels (RFC 9110 §9.3.6), and what goes past it. Its `Debug` shows no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `http://HOST:PORT` or `https://HOST:PORT`, without credentials.
    pub url: http::Uri,
    /// `user:password`, decoded.
    pub credentials: Option<String>,
    except: Vec<Exception>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    All,
    /// A name and what is below it, or only what is below it; at one port or at any.
    Host {
        dotted: String,
        itself: bool,
        port: Option<u16>,
    },
    Network {
        address: IpAddr,
        bits: u8,
        port: Option<u16>,
    },
}

const FORM: &str = "is no proxy that can be used; expected http://HOST:PORT or https://HOST:PORT";

impl Proxy {
    /// `url` may lack its scheme; `except` is a list with commas. The error shows nothing of `url`.
    pub fn parse(url: &str, except: &str) -> Result<Self, &'static str> {
        let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let (scheme, rest) = whole.split_once("://").ok_or(FORM)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(FORM);
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(decoded(credentials).ok_or(FORM)?), host),
            None => (None, authority),
        };
        let url: http::Uri = format!("{scheme}://{host}/").parse().ok().ok_or(FORM)?;
        if url.host().is_none_or(str::is_empty) {
            return Err(FORM);
        }
        Ok(Self { url, credentials, except: except.split(',').filter_map(exception).collect() })
    }

    /// Whether a request to this host and port is sent through it. This machine never is.
    pub fn is_for(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return false;
        }
        !self.except.iter().any(|exception| exception.holds(&host, address, port))
    }
}

impl Exception {
    fn holds(&self, host: &str, address: Option<IpAddr>, at: u16) -> bool {
        match self {
            Self::All => true,
            Self::Host { dotted, itself, port } => {
                let named = host.ends_with(dotted.as_str())
                    || (*itself && dotted.strip_prefix('.') == Some(host));
                named && port.is_none_or(|port| port == at)
            }
            Self::Network { address: network, bits, port } => {
                address.is_some_and(|address| within(address, *network, *bits))
                    && port.is_none_or(|port| port == at)
            }
        }
    }
}

fn exception(entry: &str) -> Option<Exception> {
    let entry = entry.trim().to_ascii_lowercase();
    if entry.is_empty() || entry == "*" {
        return (entry == "*").then_some(Exception::All);
    }
    if let Some((address, bits)) = entry.split_once('/') {
        let (address, bits) = (address.parse().ok()?, bits.parse().ok()?);
        return Some(Exception::Network { address, bits, port: None });
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().ok()?))
        }
        _ => (entry.as_str(), None),
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Some(Exception::Network { address, bits, port });
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    let itself = !host.starts_with('.');
    let dotted = if itself { format!(".{host}") } else { host.to_owned() };
    Some(Exception::Host { dotted, itself, port })
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (a, b, width) = match (address.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let differing: u128 = a ^ b;
    bits <= width && differing.checked_shr(u32::from(width - bits)).unwrap_or(0) == 0
}

/// Percent-encoding undone.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

/// For people, without the credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.scheme_str().unwrap_or("http");
        let hidden = if self.credentials.is_some() { "***@" } else { "" };
        let host = self.url.authority().map_or("", http::uri::Authority::as_str);
        write!(f, "{scheme}://{hidden}{host}")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self}, except {:?})", self.except)
    }
}

#[cfg(test)]
mod tests {
    use crate::resolver::Proxy;

    fn passes(except: &str, host: &str, port: u16) -> bool {
        !Proxy::parse("http://proxy:3128", except).unwrap().is_for(host, port)
    }

    #[test]
    fn a_proxy_is_a_url_with_or_without_scheme_and_credentials() {
        let proxy = |url| Proxy::parse(url, "").unwrap();
        assert_eq!(proxy("proxy:3128").url, "http://proxy:3128/");
        assert_eq!(proxy("HTTPS://proxy/").url, "https://proxy/");
        let with = proxy("http://us%40er:pa%3Ass@proxy:3128");
        assert_eq!(with.credentials.as_deref(), Some("us@er:pa:ss"));
        assert_eq!(
            (with.url.to_string().as_str(), with.to_string().as_str()),
            ("http://proxy:3128/", "http://***@proxy:3128")
        );
        assert!(!format!("{with:?}").contains("ss@"));
        for wrong in ["socks5://proxy:1080", "http://", "http://a:%@b", "://x", "a b"] {
            assert!(Proxy::parse(wrong, "").is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_networks_and_ports_go_past_it() {
        assert!(
            passes("example.com", "example.com", 443)
                && passes("example.com", "a.example.com", 443)
        );
        assert!(!passes("example.com", "notexample.com", 443));
        assert!(
            !passes(".example.com", "example.com", 443)
                && passes(".example.com", "b.Example.com", 443)
        );
        assert!(passes("*.example.com", "b.example.com", 443));
        assert!(passes("a.b, example.com:8443", "example.com", 8443));
        assert!(!passes("example.com:8443", "example.com", 443));
        assert!(passes("10.0.0.0/8", "10.1.2.3", 443) && !passes("10.0.0.0/8", "11.1.2.3", 443));
        assert!(passes("192.0.2.1", "192.0.2.1", 443) && !passes("192.0.2.1:80", "192.0.2.1", 443));
        assert!(
            passes("2001:db8::/32", "[2001:db8::1]", 443)
                && passes("[2001:db8::1]:443", "2001:db8::1", 443)
        );
        assert!(passes("*", "ca.example", 443) && !passes("", "ca.example", 443));
        assert!(!passes("nonsense/x, ,", "ca.example", 443));
    }

    #[test]
    fn this_machine_is_never_asked_for_through_a_proxy() {
        for host in ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"] {
            assert!(passes("", host, 14000), "{host}");
        }
    }
}
