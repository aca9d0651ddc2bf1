//! Kinds that come late, go and come again, seen by one watch; and how much is asked meanwhile.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Client;
use kube::api::ApiResource;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use routecert::cluster::{self, Definitions, IngressClass, Named, Object, Seen, Trouble};

use crate::cluster;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client that writes down the path and query of each request.
#[derive(Clone)]
struct Asking {
    client: Client,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Asking {
    async fn with(kubeconfig: &Path) -> Self {
        let file = Kubeconfig::read_from(kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await.unwrap();
        let inner = Client::try_from(config).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            written.lock().unwrap().push(request.uri().to_string());
            let inner = inner.clone();
            async move { inner.send(request).await }
        });
        Self { client: Client::new(service, "default"), asked }
    }

    fn lists(&self, part: &str) -> usize {
        self.count(|path| path.contains(part) && !path.contains("watch=true"))
    }

    fn watches(&self, part: &str) -> usize {
        self.count(|path| path.contains(part) && path.contains("watch=true"))
    }

    fn count(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| wanted(path)).count()
    }

    fn watch(&self, kind: &Kind, definitions: Definitions) -> BoxStream<'static, Seen<Object>> {
        let config = watcher::Config::default();
        let client = self.client.clone();
        cluster::watch_custom(client, &kind.resource(), None, config, definitions).boxed()
    }
}

/// A kind that belongs to one test.
struct Kind(&'static str);

impl Kind {
    fn group(&self) -> String {
        format!("{}.example.com", self.0)
    }

    fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.group(),
            version: "v1".to_owned(),
            api_version: format!("{}/v1", self.group()),
            kind: "Thing".to_owned(),
            plural: "things".to_owned(),
        }
    }

    /// Of two versions, `v1` among the served ones or not.
    fn define(&self, served: &str) {
        let group = self.group();
        let schema =
            "{openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}";
        cluster().apply(&format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
             metadata: {{name: things.{group}}}\n\
             spec:\n  group: {group}\n  scope: Namespaced\n\
             \x20 names: {{kind: Thing, plural: things, singular: thing}}\n\
             \x20 versions:\n\
             \x20 - {{name: v2, served: true, storage: true, schema: {schema}}}\n\
             \x20 - {{name: v1, served: {served}, storage: false, schema: {schema}}}\n"
        ));
    }

    fn undefine(&self) {
        cluster().kubectl(&["delete", "crd", &format!("things.{}", self.group())], "");
    }

    /// `kubectl` keeps asking until the API server has the kind.
    fn create(&self, name: &str) {
        let crd = format!("crd/things.{}", self.group());
        cluster().kubectl(&["wait", "--for=condition=Established", &crd], "");
        cluster().apply(&format!(
            "apiVersion: {}/v2\nkind: Thing\nmetadata: {{name: {name}, namespace: default}}\n\
             spec: {{it: {name}}}\n",
            self.group()
        ));
    }
}

/// The next that is told, in one line.
async fn next(watch: &mut BoxStream<'static, Seen<Object>>) -> String {
    match tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap() {
        Seen::Put(object) => format!("put {}", object.metadata.name.unwrap()),
        Seen::Gone { namespace, name } => format!("gone {namespace}/{name}"),
        Seen::Synced => "synced".to_owned(),
        Seen::Trouble(Trouble::Missing) => "missing".to_owned(),
        Seen::Trouble(trouble) => format!("trouble: {trouble}"),
    }
}

/// Polls the watch, which tells nothing new, until `condition` holds.
async fn until(watch: &mut BoxStream<'static, Seen<Object>>, condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let quiet = async { panic!("{}", next(watch).await) };
    let outcome = tokio::time::timeout(PATIENCE, async {
        tokio::select! { () = waited => {}, () = quiet => {} }
    });
    outcome.await.unwrap();
}

#[tokio::test]
async fn a_kind_that_comes_late_is_seen_at_once_and_not_asked_for_before() {
    let (kind, asking) = (Kind("late"), Asking::with(&cluster().admin).await);
    let mut watch = asking.watch(&kind, Definitions::Watched);
    assert_eq!(next(&mut watch).await, "missing");
    until(&mut watch, || asking.watches("customresourcedefinitions") == 1).await;
    assert_eq!(asking.lists("late.example.com/v1/things"), 1);
    kind.define("true");
    kind.create("one");
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "put one") {
        told.push(next(&mut watch).await);
    }
    assert!(told.iter().all(|told| told == "put one" || told == "synced"), "{told:?}");
    // once more when it is served, and perhaps some times before the server knows that itself
    let lists = asking.lists("late.example.com/v1/things");
    assert!((2..6).contains(&lists), "{:?}", asking.asked);
    kind.undefine();
}

#[tokio::test]
async fn a_kind_that_goes_takes_nothing_with_it_and_may_come_again() {
    let (kind, asking) = (Kind("again"), Asking::with(&cluster().admin).await);
    kind.define("true");
    kind.create("one");
    let mut watch = asking.watch(&kind, Definitions::Watched);
    let listed = [next(&mut watch).await, next(&mut watch).await];
    assert_eq!(listed, ["put one", "synced"]);
    // the objects are still there: only this version of them is not served
    kind.define("false");
    assert_eq!(next(&mut watch).await, "missing");
    kind.create("two");
    kind.define("true");
    let listed = [next(&mut watch).await, next(&mut watch).await, next(&mut watch).await];
    assert_eq!(listed, ["put one", "put two", "synced"]);
    kind.undefine();
}

#[tokio::test]
async fn where_definitions_may_not_be_watched_the_kind_is_found_all_the_same() {
    let account = "apiVersion: v1\nkind: ServiceAccount\n\
                   metadata: {name: blind, namespace: default}\n---\n\
                   apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
                   metadata: {name: blind}\n\
                   rules: [{apiGroups: [blind.example.com], resources: [things], \
                   verbs: [list, watch]}]\n---\n\
                   apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n\
                   metadata: {name: blind}\n\
                   roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: blind}\n\
                   subjects: [{kind: ServiceAccount, name: blind, namespace: default}]\n";
    cluster().apply(account);
    let kind = Kind("blind");
    let kubeconfig = cluster().identity("default", "blind");
    let [forbidden, off] = [Asking::with(&kubeconfig).await, Asking::with(&cluster().admin).await];
    let mut blind = forbidden.watch(&kind, Definitions::Watched);
    let mut told = next(&mut blind).await;
    // a new role is not in force at once
    while told.starts_with("trouble: not allowed") {
        told = next(&mut blind).await;
    }
    assert_eq!(told, "missing");
    let mut unasked = off.watch(&kind, Definitions::Unwatched);
    assert_eq!(next(&mut unasked).await, "missing");
    kind.define("true");
    kind.create("one");
    for watch in [&mut blind, &mut unasked] {
        while next(watch).await != "put one" {}
    }
    assert_eq!(forbidden.lists("customresourcedefinitions"), 1);
    assert_eq!(off.lists("customresourcedefinitions"), 0);
    kind.undefine();
}

#[tokio::test]
async fn objects_are_counted_without_being_fetched_and_a_missing_kind_has_none() {
    let (kind, asking) = (Kind("counted"), Asking::with(&cluster().admin).await);
    let count = async || cluster::count(&asking.client, &kind.resource()).await;
    assert_eq!(count().await, Ok(None));
    kind.define("true");
    for name in ["one", "two", "three"] {
        kind.create(name);
    }
    assert_eq!(count().await, Ok(Some(3)));
    kind.undefine();
}

#[tokio::test]
async fn a_class_comes_with_its_controller() {
    cluster().apply(
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: ours}\n\
         spec: {controller: traefik.io/ingress-controller}\n",
    );
    let config = watcher::Config::default().fields("metadata.name=ours");
    let api = kube::Api::<IngressClass>::all(cluster().client().await);
    let Some(Seen::Put(class)) = cluster::watch(api, config).boxed().next().await else { panic!() };
    assert_eq!(class.controller(), "traefik.io/ingress-controller");
}

#[tokio::test]
async fn services_come_by_name_only() {
    let client = cluster().client().await;
    let services = ApiResource::erase::<k8s_openapi::api::core::v1::Service>(&());
    let api = kube::Api::<Named>::namespaced_with(client, "default", &services);
    let mut watch = cluster::watch(api, watcher::Config::default()).boxed();
    let Some(Seen::Put(service)) = watch.next().await else { panic!() };
    assert_eq!(service.metadata.name.as_deref(), Some("kubernetes"));
}
