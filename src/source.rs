//! Route objects of the cluster → [`route::read`], for everything that follows routes.

use futures::StreamExt;
use futures::stream;
use futures::stream::BoxStream;
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::watcher;

use crate::cluster::{self, Seen, Trouble};
use crate::config::KubernetesCrd;
use crate::route::{self, Key, Kind, Route};

/// What happened to the routes of one kind in one place.
#[derive(Debug)]
pub enum Event {
    Put(Box<Route>),
    Gone(Key),
    Synced(Place),
    Trouble(Place, Trouble),
}

/// One watch: a kind in one namespace, or in all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub kind: Kind,
    pub namespace: Option<String>,
}

/// The watches that a configuration asks for.
pub fn places(settings: &KubernetesCrd) -> Vec<Place> {
    let namespaces: Vec<Option<String>> = if settings.namespaces.is_empty() {
        vec![None]
    } else {
        settings.namespaces.iter().cloned().map(Some).collect()
    };
    Kind::ALL
        .into_iter()
        .flat_map(|kind| {
            namespaces.iter().map(move |namespace| Place { kind, namespace: namespace.clone() })
        })
        .collect()
}

/// All routes of both groups, for ever. A kind in trouble leaves the others alone.
pub fn routes(client: &kube::Client, settings: &KubernetesCrd) -> BoxStream<'static, Event> {
    let watches = places(settings).into_iter().map(|place| {
        let resource = place.kind.resource();
        let api: Api<DynamicObject> = match &place.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let mut config = watcher::Config::default();
        config.label_selector.clone_from(&settings.label_selector);
        cluster::watch(api, config).map(move |seen| event(&place, seen)).boxed()
    });
    stream::select_all(watches).boxed()
}

fn event(place: &Place, seen: Seen<DynamicObject>) -> Event {
    match seen {
        Seen::Put(object) => Event::Put(Box::new(route::read(place.kind, &object))),
        Seen::Gone { namespace, name } => Event::Gone(Key { kind: place.kind, namespace, name }),
        Seen::Synced => Event::Synced(place.clone()),
        Seen::Trouble(trouble) => Event::Trouble(place.clone(), trouble),
    }
}
