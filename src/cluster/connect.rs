//! How the API server is found. Nothing is contacted.

use std::collections::BTreeSet;
use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::cluster::Cluster;
use crate::config::KubernetesCrd;
use crate::http;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("kubeconfig {file}: {cause}")]
    Kubeconfig { file: String, cause: String },
    #[error(
        "no API server: {0}; give --kubeconfig, KUBECONFIG or \
         providers.kubernetesCRD.endpoint, or run in a Pod"
    )]
    NoConfiguration(String),
    #[error("providers.kubernetesCRD.{key}: {cause}")]
    Provider { key: &'static str, cause: String },
}

/// First match: the provider's `endpoint`, the file given, `KUBECONFIG`, the Pod's own account.
/// Nothing is contacted.
pub async fn connect(
    kubeconfig: Option<&Path>,
    provider: &KubernetesCrd,
) -> Result<Cluster, Error> {
    let config = match (&provider.endpoint, kubeconfig) {
        (Some(endpoint), _) => from_provider(endpoint, provider)?,
        (None, Some(file)) => from_file(file).await?,
        (None, None) => from_environment().await?,
    };
    let namespace = config.default_namespace.clone();
    let client =
        Client::try_from(config).map_err(|error| Error::NoConfiguration(http::chain(&error)))?;
    Ok(Cluster { client, namespace })
}

/// `KUBECONFIG`, else the Pod's own account; no file is looked for unasked.
async fn from_environment() -> Result<Config, Error> {
    let failed = |error: KubeconfigError| Error::Kubeconfig {
        file: "from KUBECONFIG".to_owned(),
        cause: http::chain(&error),
    };
    if let Some(kubeconfig) = Kubeconfig::from_env().map_err(failed)? {
        return from_kubeconfig(kubeconfig).await.map_err(failed);
    }
    Config::incluster().map_err(|error| Error::NoConfiguration(http::chain(&error)))
}

async fn from_file(file: &Path) -> Result<Config, Error> {
    let failed = |error: KubeconfigError| Error::Kubeconfig {
        file: file.display().to_string(),
        cause: http::chain(&error),
    };
    std::fs::File::open(file).map_err(|error| Error::Kubeconfig {
        file: file.display().to_string(),
        cause: error.to_string(),
    })?;
    let kubeconfig = Kubeconfig::read_from(file).map_err(failed)?;
    from_kubeconfig(kubeconfig).await.map_err(failed)
}

/// `HTTPS_PROXY` is for CAs and DNS providers: the API server is reached straight, unless the
/// kubeconfig itself names a proxy.
async fn from_kubeconfig(kubeconfig: Kubeconfig) -> Result<Config, KubeconfigError> {
    let clusters = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
    let own: BTreeSet<String> =
        clusters.filter_map(|cluster| cluster.proxy_url.as_ref()).map(|url| url_of(url)).collect();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.proxy_url = config.proxy_url.filter(|url| own.contains(&url.to_string()));
    Ok(config)
}

/// As the client library shows it.
fn url_of(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), |url: ::http::Uri| url.to_string())
}

fn from_provider(endpoint: &str, provider: &KubernetesCrd) -> Result<Config, Error> {
    let failed = |key, cause: String| Error::Provider { key, cause };
    let url = endpoint
        .parse()
        .map_err(|error: ::http::uri::InvalidUri| failed("endpoint", error.to_string()))?;
    let mut config = Config::new(url);
    if let Some(token) = &provider.token {
        // The type of a secret is private to the client library: it is made by decoding.
        // A path is what Traefik takes too.
        let given = if token.0.starts_with('/') { "tokenFile" } else { "token" };
        config.auth_info = serde_json::from_value(serde_json::json!({given: token.0}))
            .map_err(|error| failed("token", error.to_string()))?;
    }
    if let Some(file) = &provider.cert_auth_file_path {
        let pem = std::fs::read(file)
            .map_err(|error| failed("certAuthFilePath", format!("{}: {error}", file.display())))?;
        config.root_cert = Some(ders(&pem).map_err(|cause| failed("certAuthFilePath", cause))?);
    }
    Ok(config)
}

fn ders(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    CertificateDer::pem_slice_iter(pem)
        .map(|der| der.map(|der| der.to_vec()).map_err(|error| error.to_string()))
        .collect()
}
