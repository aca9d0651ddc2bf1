//! AcmeCertificates, as they are and as they are to be.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream;
use futures::stream::BoxStream;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

use crate::api::{AcmeCertificate, AcmeCertificateSpec, AcmeCertificateStatus};
use crate::cert::Id;
use crate::cluster::{self, Seen};
use crate::store::{self, CERTIFICATE_PREFIX};

/// On every AcmeCertificate: the namespace of the controller that keeps it.
const LABEL: &str = "routecert.dev/controller";

/// An AcmeCertificate as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controller) struct Shown {
    pub(in crate::controller) namespace: String,
    pub(in crate::controller) spec: AcmeCertificateSpec,
    pub(in crate::controller) status: AcmeCertificateStatus,
}

/// What is kept of an AcmeCertificate of the API server: there may be very many.
pub(super) struct Observed {
    version: Option<Box<str>>,
    digest: Digest,
}

impl Observed {
    fn of(object: &AcmeCertificate) -> Self {
        let version = object.resource_version().map(Into::into);
        Self { version, digest: digest(&object.spec, object.status.as_ref()) }
    }

    /// Versions of one object are numbers that grow.
    fn number(&self) -> Option<u64> {
        self.version.as_ref()?.parse().ok()
    }
}

/// Of spec and status.
type Digest = [u8; 32];

/// Namespace and name.
type Place = (String, String);

pub(super) struct Certificates {
    client: Client,
    /// Whose AcmeCertificates are ours: other controllers of the cluster have theirs.
    controller: String,
    /// As the API server has them.
    observed: BTreeMap<Place, Observed>,
    desired: BTreeMap<Place, Box<Shown>>,
    /// In which namespace the AcmeCertificate of an id was published.
    namespaces: BTreeMap<Id, String>,
    complete: bool,
    scope: Scope,
    /// Of the scope, what has been listed.
    synced: BTreeSet<Option<String>>,
}

/// Where routes may lead to certificates; `None` stands for every namespace.
pub(in crate::controller) type Scope = BTreeSet<Option<String>>;

/// What one of the watches saw, and which of them.
pub(super) type Sight = (Option<String>, Seen<AcmeCertificate>);

impl Certificates {
    pub(super) fn new(client: Client, controller: &str, scope: Scope) -> Self {
        Self {
            client,
            controller: controller.to_owned(),
            observed: BTreeMap::new(),
            desired: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            complete: false,
            scope,
            synced: BTreeSet::new(),
        }
    }

    pub(super) fn watch(&self) -> BoxStream<'static, Sight> {
        let ours = watcher::Config::default().labels(&format!("{LABEL}={}", self.controller));
        let watches = self.scope.iter().cloned().map(|place| {
            let api: Api<AcmeCertificate> = match &place {
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
                None => Api::all(self.client.clone()),
            };
            cluster::watch(api, ours.clone()).map(move |seen| (place.clone(), seen)).boxed()
        });
        stream::select_all(watches).boxed()
    }

    /// Whether what is shown already will do for a moment: the certificate is as ready as before,
    /// and no failure is new. `None`: nothing is shown yet.
    pub(super) fn says_as_much(&self, id: &Id, shown: Option<&Shown>) -> Option<bool> {
        let before = self.desired.get(&self.place(id)?)?;
        let (one, other) = (&before.status, &shown?.status);
        Some(
            (&one.ready, &one.not_after, &one.last_error)
                == (&other.ready, &other.not_after, &other.last_error),
        )
    }

    pub(super) fn place(&self, id: &Id) -> Option<Place> {
        Some(place(self.namespaces.get(id)?.clone(), id))
    }

    /// Returns the place to look at, if there is one.
    pub(super) fn take(&mut self, id: Id, shown: Option<Shown>) -> Option<Place> {
        let Some(shown) = shown else {
            let place = place(self.namespaces.remove(&id)?, &id);
            self.desired.remove(&place);
            return Some(place);
        };
        let place = place(shown.namespace.clone(), &id);
        self.namespaces.insert(id, shown.namespace.clone());
        self.desired.insert(place.clone(), Box::new(shown));
        Some(place)
    }

    /// Returns the places to look at.
    pub(super) fn see(&mut self, (from, seen): Sight) -> Vec<Place> {
        match seen {
            Seen::Put(object) => {
                let place = (object.namespace().unwrap_or_default(), object.name_any());
                let seen = Observed::of(&object);
                // What we wrote meanwhile is told next.
                if self.observed.get(&place).is_some_and(|known| known.number() > seen.number()) {
                    return Vec::new();
                }
                self.observed.insert(place.clone(), seen);
                vec![place]
            }
            Seen::Gone { namespace, name } => {
                let place = (namespace, name);
                self.observed.remove(&place);
                vec![place]
            }
            Seen::Synced => {
                self.synced.insert(from);
                self.all()
            }
            Seen::Trouble(trouble) => {
                let place = from.map(|namespace| format!(" of namespace {namespace}"));
                tracing::warn!(
                    "AcmeCertificates{} cannot be watched: {trouble}; none are shown there, and \
                     certificates are got all the same. Apply crds/ and the rights in \
                     docs/rights.md",
                    place.unwrap_or_default()
                );
                Vec::new()
            }
        }
    }

    /// From now on what nobody told of is a leftover. Returns the places to look at.
    pub(super) fn complete(&mut self) -> Vec<Place> {
        self.complete = true;
        self.all()
    }

    fn all(&self) -> Vec<Place> {
        self.observed.keys().chain(self.desired.keys()).cloned().collect()
    }

    /// Returns what is there now, if it is another than before; it is to be [noted](Self::note).
    pub(super) async fn write(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Observed>, store::Error> {
        let place = (namespace.to_owned(), name.to_owned());
        // Where nothing is watched, or not yet, it is not known what is there.
        if !self.synced.contains(&None) && !self.synced.contains(&Some(place.0.clone())) {
            return Ok(None);
        }
        let api: Api<AcmeCertificate> = Api::namespaced(self.client.clone(), namespace);
        let written = match (self.desired.get(&place), self.observed.get(&place)) {
            (Some(shown), None) => self.create(&api, name, shown).await.map(Some),
            (Some(shown), Some(observed)) if !shows(observed, shown) => {
                let object = self.object(name, shown, observed.version.as_deref());
                api.replace(name, &PostParams::default(), &object).await.map(Some)
            }
            (None, Some(_)) if self.complete && is_ours(name) => {
                api.delete(name, &DeleteParams::default()).await.map(|_| None)
            }
            _ => Ok(None),
        };
        let object = || format!("AcmeCertificate {namespace}/{name}");
        let written = written.map_err(|error| store::Error::of(object(), &error))?;
        Ok(written.as_ref().map(Observed::of))
    }

    /// Our watch tells of it later.
    pub(super) fn note(&mut self, namespace: String, name: String, written: Observed) {
        self.observed.insert((namespace, name), written);
    }

    async fn create(
        &self,
        api: &Api<AcmeCertificate>,
        name: &str,
        shown: &Shown,
    ) -> Result<AcmeCertificate, kube::Error> {
        let object = self.object(name, shown, None);
        match api.create(&PostParams::default(), &object).await {
            // There, but without our label: edited by hand.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let present = api.get(name).await?;
                let version = present.resource_version();
                let object = self.object(name, shown, version.as_deref());
                api.replace(name, &PostParams::default(), &object).await
            }
            made => made,
        }
    }

    fn object(&self, name: &str, shown: &Shown, version: Option<&str>) -> AcmeCertificate {
        let mut object = AcmeCertificate::new(name, shown.spec.clone());
        object.metadata.namespace = Some(shown.namespace.clone());
        object.metadata.resource_version = version.map(str::to_owned);
        object.labels_mut().insert(LABEL.to_owned(), self.controller.clone());
        object.status = Some(shown.status.clone());
        object
    }
}

fn is_ours(name: &str) -> bool {
    Id::from_object_name(CERTIFICATE_PREFIX, name).is_some()
}

fn place(namespace: String, id: &Id) -> Place {
    (namespace, format!("{CERTIFICATE_PREFIX}{id}"))
}

fn shows(observed: &Observed, shown: &Shown) -> bool {
    observed.digest == digest(&shown.spec, Some(&shown.status))
}

fn digest(spec: &AcmeCertificateSpec, status: Option<&AcmeCertificateStatus>) -> Digest {
    let text = serde_json::to_vec(&(spec, status)).unwrap_or_default();
    let mut digest = Digest::default();
    let whole = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    digest.iter_mut().zip(whole.as_ref()).for_each(|(place, byte)| *place = *byte);
    digest
}
