//! What several scenarios look at: conditions, Events, records, versions, logs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::parts::client::Chain;
use crate::parts::routecert::Routecert;
use crate::parts::stand::Stand;

/// `tls` of a route that asks the stand's one resolver.
pub(crate) const LE: &str = "{certResolver: le}";

/// Waits until `what` is in the log of `program`.
#[track_caller]
pub(crate) fn logs<'a>(
    stand: &'a Stand<'_>,
    program: &'a Routecert,
    what: &'a str,
) -> impl Future<Output = ()> + 'a {
    stand.eventually(what, async move || {
        let log = program.process.log();
        if log.contains(what) { Ok(()) } else { Err("not in the log yet".to_owned()) }
    })
}

/// Whoever leads next need not wait until the dead one's lease is over.
pub(crate) fn bury(stand: &Stand<'_>) {
    let namespace = stand.settings.controller_namespace.as_str();
    stand.cluster.kubectl(&["delete", "lease", "routecert-controller", "-n", namespace], "");
}

/// Lines of a log that have `what`.
pub(crate) fn lines(program: &Routecert, what: &str) -> usize {
    program.process.log().lines().filter(|line| line.contains(what)).count()
}

/// Waits until the publisher is done with everything that was there before: a route applied now
/// is refused. It goes again, since a route in error withholds removals. `name`: new each time.
pub(crate) async fn fence(stand: &Stand<'_>, name: &str) {
    stand.route(name, "Host(`fence.example.com`)", "{certResolver: nobody}");
    stand.eventually("the fence to be refused", async || stand.reason(name).await).await;
    stand.delete_route(name);
}

/// Waits for the reason of a route of our group; the condition.
#[track_caller]
pub(crate) fn told<'a>(
    stand: &'a Stand<'_>,
    route: &'a str,
    reason: &'a str,
) -> impl Future<Output = Value> + 'a {
    stand.eventually("the reason of a route", async move || {
        let object = stand.object("IngressRoute", route).await?;
        let condition = object["status"]["conditions"][0].clone();
        let found = condition["reason"] == reason;
        if found { Ok(condition) } else { Err(format!("{route}: {condition}, not {reason}")) }
    })
}

/// Events on an object of the routes' namespace.
pub(crate) fn events(stand: &Stand<'_>, regarding: &str) -> Vec<Value> {
    let args = ["get", "events.events.k8s.io", "-o", "json", "-n", &stand.routes];
    let list: Value = serde_json::from_str(&stand.cluster.kubectl(&args, "")).unwrap();
    let events = list["items"].as_array().unwrap().iter();
    events.filter(|event| event["regarding"]["name"] == regarding).cloned().collect()
}

/// Waits for the first Event on an object.
#[track_caller]
pub(crate) fn event<'a>(
    stand: &'a Stand<'_>,
    regarding: &'a str,
) -> impl Future<Output = Value> + 'a {
    stand.eventually("an Event", async move || {
        events(stand, regarding).pop().ok_or_else(|| format!("none on {regarding}"))
    })
}

/// The Secret `name` in the routes' namespace.
pub(crate) async fn secret(stand: &Stand<'_>, name: &str) -> Result<Secret, String> {
    let secrets: Api<Secret> = Api::namespaced(stand.client.clone(), &stand.routes);
    secrets.get(name).await.map_err(|e| e.to_string())
}

/// Waits until the Secret `name` in the routes' namespace has this chain.
#[track_caller]
pub(crate) fn copied<'a>(
    stand: &'a Stand<'_>,
    name: &'a str,
    chain: &'a Chain,
) -> impl Future<Output = Secret> + 'a {
    stand.eventually("the copy", async move || {
        let secret = secret(stand, name).await?;
        let pem = secret.data.clone().unwrap_or_default().remove("tls.crt").unwrap_or_default();
        let present = Chain::from_pem(&String::from_utf8_lossy(&pem.0));
        if present == *chain { Ok(secret) } else { Err(format!("{name}: another chain")) }
    })
}

/// The state records, by the names of their certificates joined with commas.
pub(crate) async fn states(stand: &Stand<'_>) -> Result<BTreeMap<String, Value>, String> {
    let namespace = &stand.settings.controller_namespace;
    let secrets: Api<Secret> = Api::namespaced(stand.client.clone(), namespace);
    let ours = ListParams::default().labels("routecert.dev/kind=state");
    let list = secrets.list(&ours).await.map_err(|e| e.to_string())?;
    let state = |secret: Secret| {
        let json = &secret.data.unwrap()["state.json"].0;
        let state: Value = serde_json::from_slice(json).unwrap();
        let names = state["names"].as_array().unwrap().iter();
        (names.map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(","), state)
    };
    Ok(list.items.into_iter().map(state).collect())
}

/// Entries of the challenge table.
pub(crate) async fn challenges(stand: &Stand<'_>) -> Result<usize, String> {
    let namespace = &stand.settings.certificates_namespace;
    let maps: Api<ConfigMap> = Api::namespaced(stand.client.clone(), namespace);
    let ours = ListParams::default().labels("routecert.dev/kind=challenges");
    let list = maps.list(&ours).await.map_err(|e| e.to_string())?;
    Ok(list.items.into_iter().map(|map| map.data.unwrap_or_default().len()).sum())
}

/// Waits until no answer is left in the challenge table.
#[track_caller]
pub(crate) fn no_answers<'a>(stand: &'a Stand<'_>) -> impl Future<Output = ()> + 'a {
    stand.eventually("an empty challenge table", async move || match challenges(stand).await? {
        0 => Ok(()),
        left => Err(format!("{left} answers")),
    })
}

/// `resourceVersion` of every object that the program writes in the stand's namespaces, by kind,
/// namespace and name. The Lease is not among them: it is written all the time.
pub(crate) fn versions(stand: &Stand<'_>) -> BTreeMap<String, String> {
    let settings = &stand.settings;
    let namespaces =
        [&stand.routes, &settings.controller_namespace, &settings.certificates_namespace];
    let of = |namespace: &String| {
        let kinds = "secrets,configmaps,acmecertificates,rcingressroutes,events.events.k8s.io";
        let args = ["get", kinds, "-o", "json", "-n", namespace];
        let list: Value = serde_json::from_str(&stand.cluster.kubectl(&args, "")).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    // The API server has Events of its own, on Services.
    let is_ours = |object: &Value| {
        object["kind"] != "Event" || object["reportingController"] == "routecert.dev/controller"
    };
    let objects = namespaces.into_iter().flat_map(of).filter(is_ours);
    objects
        .map(|object| {
            let text = |path: &str| object.pointer(path).unwrap().as_str().unwrap().to_owned();
            let place = [text("/kind"), text("/metadata/namespace"), text("/metadata/name")];
            (place.join("/"), text("/metadata/resourceVersion"))
        })
        .collect()
}

/// Waits until the certificate for `names` is gone.
pub(crate) async fn gone(stand: &Stand<'_>, names: &str) {
    let condition = async || {
        let left = stand.certificates().await?;
        if left.contains_key(names) { Err(format!("{:?}", left.keys())) } else { Ok(()) }
    };
    stand.eventually(&format!("the certificate for {names} to go"), condition).await;
}

/// Applies an Ingress with one rule a host, all to the Service `app`. `notes` is YAML of its
/// annotations, `spec` of more of its spec.
pub(crate) fn ingress(stand: &Stand<'_>, name: &str, notes: &str, hosts: &[&str], spec: &str) {
    let backend = "backend: {service: {name: app, port: {number: 80}}}";
    let paths = format!("[{{path: /, pathType: Prefix, {backend}}}]");
    let rules: Vec<String> =
        hosts.iter().map(|host| format!("{{host: {host}, http: {{paths: {paths}}}}}")).collect();
    stand.cluster.apply(&format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: {}, annotations: {{{notes}}}}}
spec:
  rules: [{}]
{spec}",
        stand.routes,
        rules.join(", ")
    ));
}
