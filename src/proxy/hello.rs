//! What a client says first: the byte that tells TLS from plain HTTP, and what its `ClientHello`
//! means for the choice of a certificate.

use rustls::{CipherSuite, SignatureAlgorithm, SignatureScheme};

/// TLS and plain HTTP share a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    Tls,
    Plain,
}

impl Opening {
    /// A TLS connection begins with a record of type handshake (RFC 8446 §5.1), which no HTTP
    /// request begins with.
    pub(super) fn of(first_byte: u8) -> Self {
        if first_byte == 0x16 { Self::Tls } else { Self::Plain }
    }
}

/// What a client can verify and negotiate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) schemes: &'a [SignatureScheme],
    pub(super) suites: &'a [CipherSuite],
}

impl Client<'_> {
    /// Whether a handshake with a key of `algorithm` that signs with one of `schemes` can succeed.
    pub(super) fn can_use(
        &self,
        algorithm: SignatureAlgorithm,
        schemes: &[SignatureScheme],
    ) -> bool {
        let verifies = schemes.iter().any(|scheme| self.schemes.contains(scheme));
        verifies && self.suites.iter().any(|suite| suite_fits(*suite, algorithm))
    }
}

/// Suites of TLS 1.3 say nothing about the key; those of TLS 1.2 do (RFC 5289).
fn suite_fits(suite: CipherSuite, algorithm: SignatureAlgorithm) -> bool {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS13_AES_256_GCM_SHA384
        | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => true,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            algorithm == SignatureAlgorithm::RSA
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            algorithm != SignatureAlgorithm::RSA
        }
        _ => false,
    }
}

/// A server name as the table has it: without the dot of the root. Its case is already lower.
pub(super) fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_tls_from_plain_http() {
        assert_eq!(Opening::of(0x16), Opening::Tls);
        assert_eq!(Opening::of(b'G'), Opening::Plain);
        assert_eq!(Opening::of(0), Opening::Plain);
    }

    #[test]
    fn a_suite_of_tls_1_2_binds_the_kind_of_key() {
        let ec = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let rsa = [SignatureScheme::RSA_PSS_SHA256];
        let all = [ec[0], rsa[0]];
        let old =
            Client { schemes: &all, suites: &[CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256] };
        assert!(!old.can_use(SignatureAlgorithm::ECDSA, &ec));
        assert!(old.can_use(SignatureAlgorithm::RSA, &rsa));
        let new = Client { schemes: &ec, suites: &[CipherSuite::TLS13_AES_128_GCM_SHA256] };
        assert!(new.can_use(SignatureAlgorithm::ECDSA, &ec));
        assert!(!new.can_use(SignatureAlgorithm::RSA, &rsa));
    }
}
