//! The connection to the API server, and one watch that survives whatever happens to it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::StreamExt;
use futures::stream;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::watcher;
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::de::DeserializeOwned;

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

/// A client and the namespace that is ours by default.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// The Pod's own namespace, or the kubeconfig's.
    pub namespace: String,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
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

/// Asked before every request that must not be made by one who no longer leads. Measured by the
/// monotonic clock of this process, never by comparing clocks.
#[derive(Clone)]
pub struct Fence(Arc<dyn Fn() -> bool + Send + Sync>);

impl Fence {
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    pub fn holds(&self) -> bool {
        (self.0)()
    }
}

impl Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fence").field(&self.holds()).finish()
    }
}

/// What a watch tells: changes, and when it knows everything that was there.
#[derive(Debug)]
pub enum Seen<K> {
    Put(K),
    Gone {
        namespace: String,
        name: String,
    },
    /// A complete list has been told; said again after each new list.
    Synced,
    /// Told once when it begins; the watch goes on trying. What was seen before still holds.
    Trouble(Trouble),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The API server does not serve this kind.
    Missing,
    /// We may not list or watch it.
    Forbidden(String),
    Unreachable(String),
}

impl Trouble {
    pub fn of(error: &watcher::Error) -> Self {
        use watcher::Error as E;
        let cause = match error {
            E::InitialListFailed(error) | E::WatchStartFailed(error) | E::WatchFailed(error) => {
                error
            }
            E::WatchError(status) => return Self::of_status(status),
            E::NoResourceVersion => {
                return Self::Unreachable("a list without a resourceVersion".to_owned());
            }
        };
        match cause {
            kube::Error::Api(status) => Self::of_status(status),
            other => Self::Unreachable(explain(other)),
        }
    }

    /// By the code: what the API server says of a kind that it does not have is no Status.
    fn of_status(status: &kube::core::Status) -> Self {
        match status.code {
            404 => Self::Missing,
            403 => Self::Forbidden(status.message.clone()),
            _ => Self::Unreachable(status.message.clone()),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("the API server does not have this kind"),
            Self::Forbidden(cause) => write!(f, "not allowed: {cause}"),
            Self::Unreachable(cause) => f.write_str(cause),
        }
    }
}

/// An error of the API, in the API server's own words.
pub fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => http::chain(other),
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

struct Watching<K> {
    events: stream::BoxStream<'static, Result<watcher::Event<K>, watcher::Error>>,
    /// Objects that the last complete picture had.
    known: BTreeSet<(String, String)>,
    /// Objects told since the present list began.
    listed: Option<BTreeSet<(String, String)>>,
    trouble: Option<Trouble>,
    pause: Duration,
    waiting: Vec<Seen<K>>,
}

/// Watches for ever. An object that went while the watch was away is told as gone after the
/// next complete list; nothing is told as gone because a list failed.
pub fn watch<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Seen<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let start = Watching {
        events: watcher(api, config).boxed(),
        known: BTreeSet::new(),
        listed: None,
        trouble: None,
        pause: FIRST_PAUSE,
        waiting: Vec::new(),
    };
    stream::unfold(start, |mut watching| async move {
        loop {
            if let Some(seen) = watching.waiting.pop() {
                return Some((seen, watching));
            }
            match watching.events.next().await? {
                Ok(event) => watching.take(event),
                Err(error) => watching.stumble(&error).await,
            }
        }
    })
}

impl<K: Resource> Watching<K> {
    fn take(&mut self, event: watcher::Event<K>) {
        match event {
            watcher::Event::Init => self.listed = Some(BTreeSet::new()),
            watcher::Event::InitApply(object) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(key(&object));
                }
                self.waiting.push(Seen::Put(object));
            }
            watcher::Event::InitDone => self.finish_list(),
            watcher::Event::Apply(object) => {
                self.recover();
                self.known.insert(key(&object));
                self.waiting.push(Seen::Put(object));
            }
            watcher::Event::Delete(object) => {
                let (namespace, name) = key(&object);
                self.known.remove(&(namespace.clone(), name.clone()));
                self.waiting.push(Seen::Gone { namespace, name });
            }
        }
    }

    /// `waiting` is taken from its end: what went is told before `Synced`.
    fn finish_list(&mut self) {
        self.recover();
        let listed = self.listed.take().unwrap_or_default();
        self.waiting.push(Seen::Synced);
        let gone = self.known.difference(&listed).cloned();
        self.waiting.extend(gone.map(|(namespace, name)| Seen::Gone { namespace, name }));
        self.known = listed;
    }

    fn recover(&mut self) {
        self.trouble = None;
        self.pause = FIRST_PAUSE;
    }

    async fn stumble(&mut self, error: &watcher::Error) {
        let trouble = Trouble::of(error);
        if ends_quietly(error) {
            return;
        }
        let same_kind = self.trouble.as_ref().is_some_and(|earlier| {
            std::mem::discriminant(earlier) == std::mem::discriminant(&trouble)
        });
        if !same_kind {
            self.waiting.push(Seen::Trouble(trouble.clone()));
            self.trouble = Some(trouble);
            return;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// A watch that is too old starts again from a list: daily life, not trouble.
fn ends_quietly(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}
