//! Reads AcmeCertificates and routes from the API server.

use std::collections::BTreeSet;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Event;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::api::AcmeCertificate;
use crate::cli::Failure;
use crate::cli::status::ask::Ask;
use crate::cli::status::routes;
use crate::cli::status::{Certificate, Route, Status};
use crate::cluster;
use crate::route::{Key, Kind};

/// Who reports what is refused of routes that have no status.
const REPORTER: &str = "routecert.dev/controller";
/// Of refused routes, so many are looked up.
const MAX_REFUSED: usize = 200;

pub(super) struct Reader {
    pub(super) client: Client,
}

impl Reader {
    pub(super) async fn read(&self, ask: &Ask) -> Result<Status, Failure> {
        match ask {
            Ask::All(namespace) => self.all(namespace.as_deref()).await,
            Ask::Certificate { namespace, name } => {
                self.certificate(namespace.as_deref(), name).await
            }
            Ask::Route { kinds, namespace, name } => self.route(kinds, namespace, name).await,
            Ask::OfFile { kinds, name } => self.of_file(kinds, name).await,
        }
    }

    async fn all(&self, namespace: Option<&str>) -> Result<Status, Failure> {
        let certificates = self.certificates(namespace, ListParams::default()).await?;
        let mut routes = Vec::new();
        for (kind, object) in self.refused(namespace).await? {
            let route = self.judge(kind, &object, &certificates).await;
            // What was refused earlier may be well now.
            routes.extend(Some(route).filter(|route| !route.ready));
        }
        routes.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Status { routes, certificates })
    }

    async fn certificate(&self, namespace: Option<&str>, name: &str) -> Result<Status, Failure> {
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let certificates = self.certificates(namespace, only).await?;
        if certificates.is_empty() {
            let place = namespace.map(|it| format!("{it}/")).unwrap_or_default();
            return Err(Failure::Failed(format!("there is no AcmeCertificate {place}{name}")));
        }
        Ok(Status { certificates, routes: Vec::new() })
    }

    async fn route(&self, kinds: &[Kind], space: &str, name: &str) -> Result<Status, Failure> {
        let all = self.certificates(Some(space), ListParams::default()).await?;
        let mut status = Status::default();
        let mut failures = Vec::new();
        for kind in kinds {
            let Some(resource) = kind.resource() else { continue };
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), space, &resource);
            match api.get_opt(name).await {
                Ok(Some(object)) => status.routes.push(self.judge(*kind, &object, &all).await),
                Ok(None) => {}
                Err(error) => failures.push(cluster::explain(&error)),
            }
        }
        if status.routes.is_empty() {
            let failures = failures.into_iter().map(|failure| format!("; {failure}"));
            let failures: String = failures.collect();
            return Err(Failure::Failed(format!("there is no route {space}/{name}{failures}")));
        }
        status.keep(all);
        Ok(status)
    }

    /// Files are read by the controller; what became of them stands in AcmeCertificates.
    async fn of_file(&self, kinds: &[Kind], name: &str) -> Result<Status, Failure> {
        let all = self.certificates(None, ListParams::default()).await?;
        let shown = |kind: &Kind| Key::new(*kind, "", name).to_string();
        let routes: Vec<String> =
            kinds.iter().filter(|kind| Kind::OF_FILES.contains(kind)).map(shown).collect();
        let found = routes.iter().filter_map(|route| routes::of_file(route, &all)).collect();
        let mut status = Status { routes: found, certificates: Vec::new() };
        if status.routes.is_empty() {
            let message = format!(
                "no certificate is for {name}: the controller does not know it or refuses it; its \
                 log says why"
            );
            return Err(Failure::Failed(message));
        }
        status.keep(all);
        Ok(status)
    }

    async fn judge(&self, kind: Kind, object: &DynamicObject, all: &[Certificate]) -> Route {
        if kind.has_status() {
            return routes::with_status(kind, object, all);
        }
        let event = self.last_event(object).await;
        routes::without_status(kind, object, all, event.as_ref())
    }

    /// What the controller said last of an object; Events may be forbidden or gone.
    async fn last_event(&self, object: &DynamicObject) -> Option<Event> {
        let namespace = object.metadata.namespace.as_deref()?;
        let uid = object.metadata.uid.as_deref()?;
        let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let events = api.list(&about).await.ok()?.items.into_iter();
        let ours = events.filter(|event| event.reporting_component.as_deref() == Some(REPORTER));
        ours.max_by_key(|event| event.event_time.as_ref().map(|time| time.0))
    }

    async fn certificates(
        &self,
        namespace: Option<&str>,
        params: ListParams,
    ) -> Result<Vec<Certificate>, Failure> {
        let list = self.api::<AcmeCertificate>(namespace).list(&params).await;
        let list = list.map_err(|error| {
            let advice = if namespace.is_none() { "; a namespace may narrow it" } else { "" };
            let cause = cluster::explain(&error);
            Failure::Failed(format!("AcmeCertificates cannot be read: {cause}{advice}"))
        })?;
        let mut found: Vec<Certificate> = list.items.into_iter().map(Certificate::of).collect();
        found.sort_by_key(Certificate::place);
        Ok(found)
    }

    /// Routes of which something was refused, by their status or an Event.
    async fn refused(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<(Kind, DynamicObject)>, Failure> {
        let mut found = Vec::new();
        for kind in Kind::CUSTOM.into_iter().filter(|kind| kind.has_status()) {
            let Some(resource) = kind.resource() else { continue };
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
                None => Api::all_with(self.client.clone(), &resource),
            };
            match api.list(&ListParams::default()).await {
                Ok(list) => {
                    let asks = list.items.into_iter().filter(routes::has_condition);
                    found.extend(asks.map(|object| (kind, object)));
                }
                // Without the definition there are none.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => {
                    let cause = cluster::explain(&error);
                    return Err(Failure::Failed(format!("{}: {cause}", resource.kind)));
                }
            }
        }
        found.extend(self.refused_by_events(namespace).await);
        Ok(found)
    }

    async fn refused_by_events(&self, namespace: Option<&str>) -> Vec<(Kind, DynamicObject)> {
        let ours = ListParams::default().fields(&format!("reportingComponent={REPORTER}"));
        let Ok(events) = self.api::<Event>(namespace).list(&ours).await else { return Vec::new() };
        let about = |event: Event| {
            let object = event.involved_object;
            let kind = Kind::of(&object.api_version?, &object.kind?)?;
            Some((kind, object.namespace?, object.name?))
        };
        let objects: BTreeSet<_> = events.items.into_iter().filter_map(about).collect();
        let mut found = Vec::new();
        for (kind, namespace, name) in objects.into_iter().take(MAX_REFUSED) {
            let Some(resource) = kind.resource() else { continue };
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), &namespace, &resource);
            if let Ok(Some(object)) = api.get_opt(&name).await {
                found.push((kind, object));
            }
        }
        found
    }

    fn api<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

impl Status {
    /// Of all certificates those that its routes name.
    fn keep(&mut self, all: Vec<Certificate>) {
        let named: BTreeSet<&String> =
            self.routes.iter().flat_map(|route| &route.certificates).collect();
        self.certificates = all.into_iter().filter(|it| named.contains(&it.place())).collect();
    }
}
