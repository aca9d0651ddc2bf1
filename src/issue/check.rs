//! The self-check: what a CA may meet at a name, looked at before it is asked. It only advises; it
//! may be wrong where the inside of a network looks different from the outside.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use http::header::{HOST, LOCATION};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::challenge;
use crate::config;
use crate::http as outgoing;
use crate::order;
use crate::order::Proof;
use crate::resolver::ChallengeKind;

/// As Let's Encrypt does (<https://letsencrypt.org/docs/challenge-types/>).
const MAX_REDIRECTS: usize = 10;
const MAX_BODY: usize = 128;
const MAX_LOCATION: usize = 2000;
/// One question to DNS: a server that is silent says nothing about the name.
const DNS_TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses that are shown and tried.
const MAX_ADDRESSES: usize = 4;

/// Looks at names as the settings say.
#[derive(Debug)]
pub struct SelfCheck {
    settings: config::SelfCheck,
    resolver: TokioResolver,
}

impl SelfCheck {
    /// `None`: it is off, or cannot be done here.
    pub async fn new(settings: &config::SelfCheck) -> Option<Self> {
        if !settings.enabled {
            return None;
        }
        match resolver(&settings.resolvers).await {
            Ok(resolver) => Some(Self { settings: settings.clone(), resolver }),
            Err(why) => {
                tracing::warn!("routecert.selfCheck is off: {why}");
                None
            }
        }
    }

    /// What speaks against `proof`; `None`: nothing that can be seen from here.
    pub(super) async fn look(&self, proof: &Proof) -> Option<String> {
        if proof.kind == ChallengeKind::Dns01 {
            return None;
        }
        let name = &proof.name;
        let ends = Instant::now() + self.settings.timeout;
        let addresses = match timeout_at(ends, self.addresses(name.as_str())).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(answer)) => {
                return Some(format!("NoAddressRecord: {name} has no address: {answer}"));
            }
            Err(_) => return Some(format!("NoAddressRecord: {name}: DNS did not answer in time")),
        };
        let asking = async {
            match proof.kind {
                ChallengeKind::TlsAlpn01 => self.tls_alpn(proof, &addresses).await,
                _ => self.http(proof, &addresses).await,
            }
        };
        let late = || format!("no answer within {} s", self.settings.timeout.as_secs());
        let met = timeout_at(ends, asking).await.unwrap_or_else(|_| Err(late()));
        let port = match proof.kind {
            ChallengeKind::TlsAlpn01 => self.settings.tls_port,
            _ => self.settings.http_port,
        };
        met.err().map(|met| {
            format!(
                "AddressElsewhere: DNS says that {name} is at {}; asked there at port {port}, our \
                 answer does not come back: {met}",
                shown(&addresses)
            )
        })
    }

    /// `Err`: what DNS answered.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let found = self.resolver.lookup_ip(format!("{host}.")).await;
        let found: Vec<IpAddr> = match &found {
            Ok(found) => found.iter().collect(),
            Err(error) => return Err(answered(error)),
        };
        if found.is_empty() { Err("DNS answered without one".to_owned()) } else { Ok(found) }
    }

    async fn tls_alpn(&self, proof: &Proof, addresses: &[IpAddr]) -> Result<(), String> {
        let stream = connect(addresses, self.settings.tls_port).await?;
        let config =
            outgoing::unverified(&[challenge::ALPN_PROTOCOL]).map_err(|error| error.to_string())?;
        let stream = handshake(config, proof.name.as_str(), stream).await?;
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        let right = session.alpn_protocol() == Some(challenge::ALPN_PROTOCOL)
            && leaf.is_some_and(|leaf| challenge::is_answer(leaf, &proof.key_authorization));
        if right { Ok(()) } else { Err("another certificate".to_owned()) }
    }

    async fn http(&self, proof: &Proof, addresses: &[IpAddr]) -> Result<(), String> {
        let path = format!("{}{}", challenge::HTTP01_PATH, proof.token);
        let mut uri: Uri = format!("http://{}{path}", proof.name)
            .parse()
            .map_err(|_cause| "the name is no host of a URL".to_owned())?;
        let mut addresses = addresses.to_vec();
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.fetch(&uri, &addresses).await?;
            if !reply.status.is_redirection() {
                return compared(&reply, &proof.key_authorization);
            }
            let next = location(&uri, &reply).ok_or("a redirection that leads nowhere")?;
            if next.host() != uri.host() {
                let host = next.host().unwrap_or_default().trim_matches(['[', ']']);
                addresses = match host.parse() {
                    Ok(address) => vec![address],
                    Err(_) => self
                        .addresses(host)
                        .await
                        .map_err(|_cause| "a redirection to a host without an address")?,
                };
            }
            uri = next;
        }
        Err(format!("more than {MAX_REDIRECTS} redirections"))
    }

    async fn fetch(&self, uri: &Uri, addresses: &[IpAddr]) -> Result<Reply, String> {
        let host = uri.host().unwrap_or_default();
        let secure = uri.scheme_str() == Some("https");
        let port = match uri.port_u16() {
            Some(port) if port != if secure { 443 } else { 80 } => port,
            _ if secure => self.settings.tls_port,
            _ => self.settings.http_port,
        };
        let stream = connect(addresses, port).await?;
        if !secure {
            return exchange(stream, uri).await;
        }
        let config = outgoing::unverified(&[b"http/1.1"]).map_err(|error| error.to_string())?;
        exchange(handshake(config, host, stream).await?, uri).await
    }
}

async fn resolver(servers: &[String]) -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| format!("the system's DNS: {error}"))?
    } else {
        let mut named = Vec::new();
        for server in servers {
            named.extend(name_servers(server).await?);
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), named);
        TokioResolver::builder_with_config(config, provider)
    };
    let options = builder.options_mut();
    options.timeout = DNS_TIMEOUT;
    options.attempts = 1;
    // What a CA sees is not in this machine's files, and changes.
    options.cache_size = 0;
    options.use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
    builder.build().map_err(|error| error.to_string())
}

async fn name_servers(server: &str) -> Result<Vec<NameServerConfig>, String> {
    let bare = server.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 53));
    let addresses: Vec<SocketAddr> = if let Some(address) = bare.or_else(|| server.parse().ok()) {
        vec![address]
    } else {
        let named = if server.contains(':') { server.to_owned() } else { format!("{server}:53") };
        let found = lookup_host(named).await.map_err(|error| format!("{server}: {error}"))?;
        found.take(MAX_ADDRESSES).collect()
    };
    let server = |address: SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = address.port();
        }
        NameServerConfig::new(address.ip(), true, connections)
    };
    Ok(addresses.into_iter().map(server).collect())
}

fn answered(error: &NetError) -> String {
    if error.is_nx_domain() {
        "DNS answered that there is no such name (NXDOMAIN)".to_owned()
    } else if error.is_no_records_found() {
        "DNS answered with neither A nor AAAA".to_owned()
    } else {
        order::shown(&format!("DNS: {error}"))
    }
}

fn shown(addresses: &[IpAddr]) -> String {
    let some: Vec<String> = addresses.iter().take(MAX_ADDRESSES).map(ToString::to_string).collect();
    let more = if addresses.len() > MAX_ADDRESSES { " and others" } else { "" };
    some.join(", ") + more
}

/// IPv6 first, as a CA does.
async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, String> {
    let (six, four): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().copied().partition(IpAddr::is_ipv6);
    let mut why = "there is no address".to_owned();
    for address in six.into_iter().chain(four).take(MAX_ADDRESSES) {
        match timeout(DNS_TIMEOUT * 2, TcpStream::connect((address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("{address}: {}", error.kind()),
            Err(_) => why = format!("{address}: cannot be reached"),
        }
    }
    Err(why)
}

async fn handshake(
    config: ClientConfig,
    host: &str,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let name = name.map_err(|_cause| "the host is no name for TLS".to_owned())?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|_cause| "no TLS handshake that could prove it".to_owned())
}

/// What came back, as far as it counts.
struct Reply {
    status: StatusCode,
    location: Option<String>,
    body: Vec<u8>,
}

async fn exchange<T>(stream: T, uri: &Uri) -> Result<Reply, String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let no_answer = |_cause| "no HTTP answer".to_owned();
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(no_answer)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new());
    let request = request.map_err(|_cause| "a host that is none".to_owned())?;
    let mut asking =
        Box::pin(async { Ok(read(sender.send_request(request).await.map_err(no_answer)?).await) });
    tokio::select! {
        biased;
        reply = &mut asking => reply,
        // What had come by then is there still.
        _ = connection => asking.await,
    }
}

async fn read(response: Response<Incoming>) -> Reply {
    let (parts, mut incoming) = response.into_parts();
    let location = parts.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let mut body = Vec::new();
    while let Some(Ok(frame)) = incoming.frame().await {
        body.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        if body.len() > MAX_BODY {
            break;
        }
    }
    Reply { status: parts.status, location: location.map(str::to_owned), body }
}

fn location(from: &Uri, reply: &Reply) -> Option<Uri> {
    let text = reply.location.as_deref()?;
    let text = (text.len() <= MAX_LOCATION).then_some(text)?;
    let to: Uri = if text.starts_with('/') && !text.starts_with("//") {
        format!("{}://{}{text}", from.scheme_str()?, from.authority()?).parse().ok()?
    } else {
        text.parse().ok()?
    };
    matches!(to.scheme_str(), Some("http" | "https")).then_some(to)
}

/// What came is never told: it may be anybody's.
fn compared(reply: &Reply, expected: &str) -> Result<(), String> {
    if reply.status != StatusCode::OK {
        return Err(format!("HTTP {}", reply.status.as_u16()));
    }
    let right = reply.body.trim_ascii_end() == expected.as_bytes();
    if right { Ok(()) } else { Err("another text".to_owned()) }
}
