//! Waiting for a kind that the API server does not have yet.

use std::time::Duration;

use futures::StreamExt;
use kube::api::ApiResource;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use tokio::time::Instant;

use crate::cluster::object::Object;
use crate::cluster::watch::{Pause, Trouble};

/// Whether CRDs, which are objects of the whole cluster, may be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Definitions {
    Watched,
    /// Only the objects themselves are asked for, again and again.
    Unwatched,
}

/// Between two tries, where nothing tells that the kind has come.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The definition of one kind, while that is missing.
pub(super) struct Definition {
    client: Client,
    /// `<plural>.<group>`
    name: String,
    version: String,
    definitions: Definitions,
    pause: Pause,
    /// Version of the definition that was there when the kind was asked for last.
    tried: Option<String>,
}

/// What the definition says.
enum News {
    /// The kind is there, and was not before.
    Served,
    /// It ought to be there, and was asked for in vain.
    InVain,
    Absent,
    Nothing,
}

impl Definition {
    pub(super) fn new(client: Client, resource: &ApiResource, definitions: Definitions) -> Self {
        Self {
            client,
            name: format!("{}.{}", resource.plural, resource.group),
            version: resource.version.clone(),
            definitions,
            pause: Pause::up_to(LONGEST_PAUSE),
            tried: None,
        }
    }

    /// The kind was there.
    pub(super) fn recovered(&mut self) {
        self.pause.reset();
    }

    /// Returns when it is worth asking for the kind again.
    pub(super) async fn served(&mut self) {
        if self.definitions == Definitions::Watched {
            match self.watched().await {
                Ok(()) => return,
                Err(Trouble::Forbidden(cause)) => {
                    tracing::info!(
                        "{} may not be watched, so its objects are asked for until they are there, \
                         in the end every {} s: {cause}",
                        self.name,
                        LONGEST_PAUSE.as_secs()
                    );
                    self.definitions = Definitions::Unwatched;
                }
                // told by the objects' own watch
                Err(_) => {}
            }
        }
        tokio::time::sleep(self.pause.next()).await;
    }

    /// The API server may take a moment after it has said that the kind is there: tried again
    /// after a pause, as long as the definition says so.
    async fn watched(&mut self) -> Result<(), Trouble> {
        let api: Api<Object> = Api::all_with(self.client.clone(), &definitions());
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut events = watcher(api, config).boxed();
        let mut again_at = None;
        loop {
            let event = match again_at {
                Some(instant) => tokio::time::timeout_at(instant, events.next()).await,
                None => Ok(events.next().await),
            };
            let event = match event {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return Err(Trouble::of(&error)),
                Ok(None) | Err(_) => return Ok(()),
            };
            match self.news(&event) {
                News::Served => return Ok(()),
                News::InVain => {
                    again_at = again_at.or_else(|| Some(Instant::now() + self.pause.next()));
                }
                News::Absent => again_at = None,
                News::Nothing => {}
            }
        }
    }

    fn news(&mut self, event: &watcher::Event<Object>) -> News {
        use watcher::Event as E;
        let object = match event {
            E::Apply(object) | E::InitApply(object) => object,
            E::Delete(_) | E::Init => return News::Absent,
            E::InitDone => return News::Nothing,
        };
        if !serves(object, &self.version) {
            return News::Absent;
        }
        let found = object.resource_version();
        if self.tried == found {
            return News::InVain;
        }
        self.tried = found;
        self.pause.reset();
        News::Served
    }
}

/// Whether the API server takes requests for this version.
fn serves(definition: &Object, version: &str) -> bool {
    let list = |value: &Option<Value>, name: &str| {
        let value = value.as_ref().and_then(|value| value.get(name));
        value.and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let established = |condition: &Value| {
        let field = |name: &str| condition.get(name).and_then(Value::as_str);
        field("type") == Some("Established") && field("status") == Some("True")
    };
    let served = |entry: &Value| {
        entry.get("name").and_then(Value::as_str) == Some(version)
            && entry.get("served").and_then(Value::as_bool) == Some(true)
    };
    list(&definition.status, "conditions").iter().any(established)
        && list(&definition.spec, "versions").iter().any(served)
}

fn definitions() -> ApiResource {
    ApiResource {
        group: "apiextensions.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "apiextensions.k8s.io/v1".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        plural: "customresourcedefinitions".to_owned(),
    }
}
