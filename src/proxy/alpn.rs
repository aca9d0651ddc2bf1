//! TLS-ALPN-01 (RFC 8737): a handshake that shows who controls a name, and nothing after it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::ClientHello;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::StartHandshake;

use crate::challenge;
use crate::name::Name;
use crate::proxy::challenges::{Challenges, Reply};
use crate::proxy::hello;
use crate::proxy::tls;

/// From the certificate to the end of the connection; a CA that validates does not dawdle.
const FINISH: Duration = Duration::from_secs(2);

/// Whether it is a CA that asks: a client of the application offers other protocols.
pub(super) fn is_asked(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| {
        offered.next() == Some(challenge::ALPN_PROTOCOL) && offered.next().is_none()
    })
}

/// Shows the certificate of the challenge. Where there is none, the handshake goes on as any
/// other, and fails: `tls` speaks no such protocol (RFC 7301 §3.2).
pub(super) async fn prove(
    hello: StartHandshake<TcpStream>,
    challenges: &Challenges,
    tls: &Arc<ServerConfig>,
    now: fn() -> Timestamp,
) -> io::Result<()> {
    let config = configured(&hello, challenges, now).await?;
    let config = config.unwrap_or_else(|| Arc::clone(tls));
    let shown = async { hello.into_stream(config).await?.shutdown().await };
    timeout(FINISH, shown).await?
}

async fn configured(
    hello: &StartHandshake<TcpStream>,
    challenges: &Challenges,
    now: fn() -> Timestamp,
) -> io::Result<Option<Arc<ServerConfig>>> {
    let asked = hello.client_hello().server_name().map(hello::without_dot).map(Name::parse);
    let Some(Ok(name)) = asked else { return Ok(None) };
    let key = challenge::alpn_key(name.as_str());
    let Reply::Answer(answer) = challenges.answer(&key, name.as_str(), now).await else {
        return Ok(None);
    };
    let made = challenge::alpn_certificate(&name, &answer, now());
    let (certificate, key) = made.map_err(io::Error::other)?;
    let key = key.der().map_err(io::Error::other)?;
    tls::challenge_config(certificate, &key).map(Some).map_err(io::Error::other)
}
