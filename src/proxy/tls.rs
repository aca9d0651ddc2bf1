//! The TLS side: one configuration, whose certificate is picked anew for every handshake.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::challenge;
use crate::proxy::certs::Table;
use crate::proxy::hello::Client;

pub(super) const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

struct Picker {
    table: Arc<Table>,
    now: fn() -> Timestamp,
}

impl fmt::Debug for Picker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Picker")
    }
}

impl ResolvesServerCert for Picker {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let client = Client { schemes: hello.signature_schemes(), suites: hello.cipher_suites() };
        Some(self.table.pick(hello.server_name(), client, (self.now)()))
    }
}

pub(super) fn config(
    table: Arc<Table>,
    now: fn() -> Timestamp,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = resolving(Arc::new(Picker { table, now }))?;
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP_1_1.to_vec()];
    config.ignore_client_order = true;
    // Tickets need no memory here; each one sent costs a handshake a few microseconds.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// For one handshake of TLS-ALPN-01, which nothing follows (RFC 8737 §3).
pub(super) fn challenge_config(
    certificate: CertificateDer<'static>,
    key: &PrivateKeyDer<'_>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let certified = CertifiedKey::new(vec![certificate], any_supported_type(key)?);
    let mut config = resolving(Arc::new(SingleCertAndKey::from(certified)))?;
    config.alpn_protocols = vec![challenge::ALPN_PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn resolving(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    Ok(ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates))
}

/// AES-128-GCM first: SHA-256 has instructions where SHA-384 of AES-256's suite has none, and a
/// handshake is mostly hashing once the signature is done.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !suite.suite().as_str().is_some_and(|name| name.contains("AES_128_GCM"))
    });
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_comes_first_and_the_hybrid_group_is_preferred() {
        let provider = provider();
        let first = provider.cipher_suites.first().unwrap().suite();
        assert_eq!(first.as_str(), Some("TLS13_AES_128_GCM_SHA256"));
        let group = provider.kx_groups.first().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    }
}
