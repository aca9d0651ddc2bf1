//! Objects of the cluster and files → [`route::read`], for everything that follows routes.

pub mod files;
mod labels;
mod listings;
pub mod manifests;

use futures::StreamExt;
use futures::stream;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Service;
use kube::api::ApiResource;
use kube::core::{DynamicResourceScope, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Api, Resource};

use crate::api;
use crate::api::{CertificateResolver, Object};
use crate::cluster;
use crate::cluster::{Definitions, IngressClass, Named, Seen, Trouble};
use crate::config::Config;
use crate::route;
use crate::route::{Key, Kind, Presence, Route};
use crate::rule::Syntax;

pub use crate::source::listings::{Listing, Listings};

/// What happened in one place.
#[derive(Debug)]
pub enum Event {
    Put(Box<Route>),
    Gone(Key),
    /// A Service is there, or not.
    Service {
        namespace: String,
        name: String,
        is: Presence,
    },
    /// An IngressClass with its controller; `None`: it is gone.
    Class {
        name: String,
        controller: Option<String>,
    },
    /// A CertificateResolver; `None`: it is gone.
    Resolver {
        name: String,
        object: Option<Box<Object>>,
    },
    Synced(Place),
    Trouble(Place, Trouble),
}

/// One watch: a kind in one namespace, or in all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub what: What,
    pub namespace: Option<String>,
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Routes(Kind),
    Services,
    Classes,
    Resolvers,
    /// Those of `providers.file`, whatever the kinds of routes in them.
    Files,
}

impl What {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Routes(kind) => kind.as_str(),
            Self::Services => "Service",
            Self::Classes => "IngressClass.networking.k8s.io",
            Self::Resolvers => "CertificateResolver.routecert.dev",
            Self::Files => "files",
        }
    }

    /// Whether routes of this kind, as records name it, come from there.
    pub fn gives(self, kind: &str) -> bool {
        match self {
            Self::Files => Kind::OF_FILES.iter().any(|one| one.as_str() == kind),
            _ => self.as_str() == kind,
        }
    }

    /// `None`: it stands in files.
    fn resource(self) -> Option<ApiResource> {
        match self {
            Self::Routes(kind) => kind.resource(),
            Self::Services => Some(ApiResource::erase::<Service>(&())),
            Self::Classes => Some(ApiResource::erase::<IngressClass>(&())),
            Self::Resolvers => Some(ApiResource::erase::<CertificateResolver>(&())),
            Self::Files => None,
        }
    }
}

/// The watches that a configuration asks for.
pub fn places(config: &Config) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |what, namespaces: &[String]| {
        let all = namespaces.is_empty().then_some(None);
        let named = namespaces.iter().cloned().map(Some);
        places.extend(all.into_iter().chain(named).map(|namespace| Place { what, namespace }));
    };
    if config.file.is_some() {
        add(What::Files, &[]);
    }
    let (crd, ingress) = (&config.kubernetes_crd, &config.kubernetes_ingress);
    if let Some(crd) = crd {
        for kind in Kind::CUSTOM {
            add(What::Routes(kind), &crd.namespaces);
        }
        if !crd.disable_cluster_scope_resources {
            add(What::Resolvers, &[]);
        }
    }
    if let Some(ingress) = ingress {
        add(What::Routes(Kind::Ingress), &ingress.namespaces);
        if ingress.looks_up_classes() {
            add(What::Classes, &[]);
        }
    }
    let namespaces =
        [crd.as_ref().map(|it| &it.namespaces), ingress.as_ref().map(|it| &it.namespaces)];
    let namespaces: Vec<&Vec<String>> = namespaces.into_iter().flatten().collect();
    if namespaces.iter().any(|names| names.is_empty()) {
        add(What::Services, &[]);
    } else {
        let mut all: Vec<String> = namespaces.into_iter().flatten().cloned().collect();
        all.sort();
        all.dedup();
        if !all.is_empty() {
            add(What::Services, &all);
        }
    }
    places
}

/// All that routes are made of, for ever: objects, if there is a cluster, and files. What is in trouble leaves the others
/// alone. `home`: the controller's namespace.
pub fn all(
    client: Option<&kube::Client>,
    config: &Config,
    home: &str,
) -> BoxStream<'static, Event> {
    let objects =
        client.map_or_else(|| stream::pending().boxed(), |client| cluster(client, config));
    match &config.file {
        None => objects,
        Some(provider) => {
            let files = files::watch(provider, home, config.default_rule_syntax);
            stream::select(objects, files).boxed()
        }
    }
}

/// All that routes are made of, for ever. A kind in trouble leaves the others alone.
fn cluster(client: &kube::Client, config: &Config) -> BoxStream<'static, Event> {
    let watches = places(config).into_iter().filter_map(|place| watch(client, config, place));
    stream::select_all(watches).boxed()
}

fn watch(
    client: &kube::Client,
    config: &Config,
    place: Place,
) -> Option<BoxStream<'static, Event>> {
    let resource = place.what.resource()?;
    let namespace = place.namespace.as_deref();
    let label_selector = label_selector(config, place.what);
    let watch = watcher::Config { label_selector, ..watcher::Config::default() };
    let syntax = config.default_rule_syntax;
    let told = match place.what {
        // Has no resource, see above.
        What::Files => return None,
        What::Services => cluster::watch(api_of::<Named>(client, &resource, namespace), watch)
            .map(move |seen| event(&place, seen, named))
            .boxed(),
        What::Classes => cluster::watch(Api::<IngressClass>::all(client.clone()), watch)
            .map(move |seen| event(&place, seen, class))
            .boxed(),
        What::Routes(Kind::Ingress) => {
            cluster::watch(api_of::<cluster::Object>(client, &resource, namespace), watch)
                .map(move |seen| event(&place, seen, |it| put(place.what, syntax, kept(it))))
                .boxed()
        }
        What::Routes(_) | What::Resolvers => {
            let definitions = definitions(config);
            cluster::watch_custom(client.clone(), &resource, namespace, watch, definitions)
                .map(move |seen| event(&place, seen, |it| put(place.what, syntax, kept(it))))
                .boxed()
        }
    };
    Some(told)
}

/// Whether the definition of a kind that is missing may be waited for.
fn definitions(config: &Config) -> Definitions {
    let disabled =
        config.kubernetes_crd.as_ref().is_some_and(|crd| crd.disable_cluster_scope_resources);
    if disabled { Definitions::Unwatched } else { Definitions::Watched }
}

fn api_of<K>(client: &kube::Client, resource: &ApiResource, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// Of the provider that reads these objects.
fn label_selector(config: &Config, what: What) -> Option<String> {
    match what {
        What::Routes(Kind::Ingress) => config.kubernetes_ingress.as_ref()?.label_selector.clone(),
        What::Routes(_) => config.kubernetes_crd.as_ref()?.label_selector.clone(),
        What::Services | What::Classes | What::Resolvers | What::Files => None,
    }
}

fn event<K>(place: &Place, seen: Seen<K>, put: impl Fn(K) -> Event) -> Event {
    match seen {
        Seen::Put(object) => put(object),
        Seen::Gone { namespace, name } => gone(place.what, namespace, name),
        Seen::Synced => Event::Synced(place.clone()),
        Seen::Trouble(trouble) => Event::Trouble(place.clone(), trouble),
    }
}

fn kept(object: cluster::Object) -> Object {
    let metadata = object.metadata;
    Object {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        created: metadata.creation_timestamp.map(|time| time.0),
        annotations: metadata.annotations.unwrap_or_default(),
        spec: object.spec,
        status: object.status,
    }
}

fn named(object: Named) -> Event {
    let namespace = object.metadata.namespace.unwrap_or_default();
    let name = object.metadata.name.unwrap_or_default();
    Event::Service { namespace, name, is: Presence::There }
}

fn class(class: IngressClass) -> Event {
    let controller = Some(class.controller().to_owned());
    Event::Class { name: class.metadata.name.unwrap_or_default(), controller }
}

/// How many routes of Traefik's old group there are, by kind; they are not read.
pub async fn old_routes(client: &kube::Client) -> Vec<(&'static str, u64)> {
    let mut found = Vec::new();
    for (kind, plural) in
        [("IngressRoute", "ingressroutes"), ("IngressRouteTCP", "ingressroutetcps")]
    {
        let group = GroupVersionKind::gvk(api::TRAEFIK_OLD_GROUP, api::VERSION, kind);
        let resource = ApiResource::from_gvk_with_plural(&group, plural);
        // Without the right to count there is nothing to say.
        if let Ok(Some(count)) = cluster::count(client, &resource).await
            && count > 0
        {
            found.push((kind, count));
        }
    }
    found
}

/// What one object tells.
pub fn put(what: What, syntax: Syntax, object: Object) -> Event {
    match what {
        What::Routes(kind) => Event::Put(Box::new(route::read(kind, &object, syntax))),
        What::Services => {
            Event::Service { namespace: object.namespace, name: object.name, is: Presence::There }
        }
        What::Classes => {
            let controller = object.spec.as_ref().and_then(|spec| spec.get("controller")?.as_str());
            let controller = Some(controller.unwrap_or_default().to_owned());
            Event::Class { name: object.name, controller }
        }
        What::Resolvers => {
            Event::Resolver { name: object.name.clone(), object: Some(Box::new(object)) }
        }
        // There is no such object: one that says nothing.
        What::Files => Event::Put(Box::new(route::read(Kind::FileHttp, &object, syntax))),
    }
}

fn gone(what: What, namespace: String, name: String) -> Event {
    match what {
        What::Routes(kind) => Event::Gone(Key::new(kind, &namespace, &name)),
        What::Services => Event::Service { namespace, name, is: Presence::Gone },
        What::Classes => Event::Class { name, controller: None },
        What::Resolvers => Event::Resolver { name, object: None },
        What::Files => Event::Gone(Key::new(Kind::FileHttp, &namespace, &name)),
    }
}
