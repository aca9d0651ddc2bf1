//! TCP to a host, straight or through the proxy that is set for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{HeaderValue, Uri};
use data_encoding::BASE64;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::http::{Error, chain, roots};
use crate::resolver::{CaTrust, Proxy};

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// What stands below TLS.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    direct: HttpConnector,
    through: Option<Through>,
}

#[derive(Debug, Clone)]
struct Through {
    proxy: Arc<Proxy>,
    tunnel: Tunnel<HttpsConnector<HttpConnector>>,
}

/// The connection to the proxy, or what the proxy says.
#[derive(Debug, thiserror::Error)]
#[error("through {proxy} (HTTPS_PROXY): {cause}")]
struct TunnelFailed {
    proxy: String,
    cause: String,
}

impl Connector {
    pub(super) fn new(direct: HttpConnector, proxy: Option<&Proxy>) -> Result<Self, Error> {
        let through = proxy.map(|proxy| Through::new(&direct, proxy)).transpose()?;
        Ok(Self { direct, through })
    }
}

impl Through {
    fn new(direct: &HttpConnector, proxy: &Proxy) -> Result<Self, Error> {
        // The CA's own roots say nothing about the proxy.
        let roots = match proxy.url.scheme_str() {
            Some("https") => roots(&CaTrust::default())?,
            _ => Arc::new(RootCertStore::empty()),
        };
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let to_proxy = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let to_proxy = to_proxy.enable_http1().wrap_connector(direct.clone());
        let mut tunnel = Tunnel::new(proxy.url.clone(), to_proxy);
        if let Some(credentials) = &proxy.credentials {
            let basic = format!("Basic {}", BASE64.encode(credentials.as_bytes()));
            // Base64 is always a header's value.
            if let Ok(value) = HeaderValue::from_str(&basic) {
                tunnel = tunnel.with_auth(value);
            }
        }
        Ok(Self { proxy: Arc::new(proxy.clone()), tunnel })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Boxed>> + Send>>;

    /// Both ways are ready at any time: what they wait for, they wait for in `call`.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
        // HTTPS_PROXY is for `https://` alone.
        let plain = uri.scheme_str() == Some("http");
        match &mut self.through {
            Some(through) if !plain && through.proxy.is_for(host, port) => {
                let proxy = through.proxy.to_string();
                let connecting = through.tunnel.call(uri);
                Box::pin(async move {
                    let failed = |cause| TunnelFailed { proxy, cause };
                    Ok(connecting.await.map_err(|error| failed(chain(&error)))?)
                })
            }
            _ => {
                let connecting = self.direct.call(uri);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
        }
    }
}
