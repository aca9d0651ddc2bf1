//! Outgoing HTTPS: roots, expected server name, proxy, one time-out for the whole exchange, bounded replies.

mod shown;
mod tunnel;
mod unverified;

use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::builderstates::WantsProtocols1;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::http::tunnel::Connector;
use crate::resolver::CaTrust;

pub use crate::http::shown::shown;
pub use crate::http::unverified::unverified;

/// Replies of a CA are a few KiB; a chain with everything stays far below this.
const MAX_REPLY: usize = 1024 * 1024;

/// A host that does not answer at all is left sooner than one that works on its answer.
const CONNECT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("caCertificates: {file}: {cause}; give a readable file of PEM certificates")]
    Roots { file: String, cause: String },
    #[error("caServerName: `{0}` is no host name")]
    ServerName(String),
    #[error("no root certificates: the system has none; set caCertificates")]
    NoRoots,
    #[error("{host}: {cause}")]
    Unreachable { host: String, cause: String },
    #[error("{host}: no answer within {seconds} s")]
    Timeout { host: String, seconds: u64 },
    #[error("{host}: a reply larger than {MAX_REPLY} bytes")]
    TooLarge { host: String },
}

/// A client for one CA. Cloning shares its connections.
#[derive(Debug, Clone)]
pub struct Client {
    pooled: Pooled<HttpsConnector<Connector>, Full<Bytes>>,
    timeout: Duration,
    head_timeout: Duration,
}

impl Client {
    pub fn new(trust: &CaTrust, timeout: Duration) -> Result<Self, Error> {
        let config = tls(trust)?;
        Self::over(
            HttpsConnectorBuilder::new().with_tls_config(config).https_only(),
            trust,
            timeout,
        )
    }

    /// A client for the APIs of DNS providers, which somebody may run at an `http://` address.
    pub fn for_apis(trust: &CaTrust, timeout: Duration) -> Result<Self, Error> {
        let config = tls(trust)?;
        let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        Self::over(builder, trust, timeout)
    }

    /// The same connections with another time-out.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { pooled: self.pooled.clone(), timeout, head_timeout: timeout }
    }

    fn over(
        builder: HttpsConnectorBuilder<WantsProtocols1>,
        trust: &CaTrust,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let builder = match &trust.server_name {
            Some(name) => {
                let parsed = ServerName::try_from(name.clone())
                    .map_err(|_invalid| Error::ServerName(name.clone()))?;
                builder.with_server_name_resolver(FixedServerNameResolver::new(parsed))
            }
            None => builder,
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT.min(timeout)));
        let connector = Connector::new(tcp, trust.proxy.as_ref())?;
        let connector = builder.enable_http1().enable_http2().wrap_connector(connector);
        let pooled = Pooled::builder(TokioExecutor::new()).build(connector);
        Ok(Self { pooled, timeout, head_timeout: timeout })
    }

    /// Leaves a host that has not begun its reply after this long.
    #[must_use]
    pub fn with_head_timeout(self, head_timeout: Duration) -> Self {
        Self { head_timeout, ..self }
    }

    /// One exchange, from connecting to the last byte of the reply.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let seconds = self.timeout.as_secs();
        tokio::time::timeout(self.timeout, self.exchange(request, &host))
            .await
            .unwrap_or(Err(Error::Timeout { host, seconds }))
    }

    async fn exchange(
        &self,
        request: Request<Bytes>,
        host: &str,
    ) -> Result<Response<Bytes>, Error> {
        let head = self.pooled.request(request.map(Full::new));
        let head = tokio::time::timeout(self.head_timeout, head).await.map_err(|_elapsed| {
            Error::Timeout { host: host.to_owned(), seconds: self.head_timeout.as_secs() }
        })?;
        let reply = head
            .map_err(|error| Error::Unreachable { host: host.to_owned(), cause: chain(&error) })?;
        let (parts, body) = reply.into_parts();
        let body = Limited::new(body, MAX_REPLY).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                return Error::TooLarge { host: host.to_owned() };
            }
            Error::Unreachable { host: host.to_owned(), cause: chain(error.as_ref()) }
        })?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

/// Causes of an error from outside in, without the repetitions that libraries make.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = inner.source();
    }
    text
}

fn tls(trust: &CaTrust) -> Result<ClientConfig, Error> {
    Ok(ClientConfig::builder().with_root_certificates(roots(trust)?).with_no_client_auth())
}

fn roots(trust: &CaTrust) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for file in &trust.certificates {
        let failed = |cause: String| Error::Roots { file: file.display().to_string(), cause };
        let mut found = 0;
        for der in CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))? {
            store
                .add(der.map_err(|error| failed(error.to_string()))?)
                .map_err(|error| failed(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(failed("has no certificate".to_owned()));
        }
    }
    if trust.certificates.is_empty() || trust.system_pool {
        for der in rustls_native_certs::load_native_certs().certs {
            // The system's store may hold certificates that rustls does not take; the rest counts.
            store.add_parsable_certificates([der]);
        }
    }
    if store.is_empty() { Err(Error::NoRoots) } else { Ok(Arc::new(store)) }
}
