//! What the administrator of one namespace can do to others with its own rights: nothing. Each
//! attack is made with a real token, beside an honest wish of the same tenant that is fulfilled.

mod floods;
mod forgeries;
mod hosts;
mod resolvers;

use std::path::PathBuf;
use std::process::Output;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::look;
use crate::parts::client::Chain;
use crate::parts::routecert::Routecert;
use crate::parts::stand::{self, Issued, Stand};

/// The host of the namespace that is attacked.
const HOST: &str = "a.example.com";

/// An account with all of its namespace's usual rights, those to our kinds included.
const RIGHTS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: tenant, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant-admin, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: tenant, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tenant-routes, namespace: NAMESPACE}
rules: [{apiGroups: [routecert.dev, traefik.io], resources: ['*'], verbs: ['*']}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant-routes, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant-routes}
subjects: [{kind: ServiceAccount, name: tenant, namespace: NAMESPACE}]
";

/// A namespace that holds a certificate, and the tenant of another one.
struct Scene {
    stand: Stand<'static>,
    /// The tenant's namespace.
    own: String,
    tenant: PathBuf,
    controller: Routecert,
    _proxy: Routecert,
    issued: Issued,
    /// `PREFIX.example.org` with an honest route of the tenant.
    honest: String,
}

/// The tenant's namespace and kubeconfig.
async fn tenant(stand: &mut Stand<'static>, prefix: &str) -> (String, PathBuf) {
    let own = format!("{prefix}-tenant");
    stand.cluster.apply(&stand::namespace_with_service(&own));
    stand.cluster.apply(&RIGHTS.replace("NAMESPACE", &own));
    stand.settings.namespaces.push(own.clone());
    let kubeconfig = stand.cluster.identity(&own, "tenant");
    // A new role is not in force at once.
    let may = async || {
        let all = ["secrets", "rcingressroutes"].map(|resource| {
            let args = ["auth", "can-i", "create", resource, "-n", &own];
            stand.cluster.kubectl_as(&kubeconfig, &args, "").status.success()
        });
        if all == [true, true] { Ok(()) } else { Err(format!("{all:?}")) }
    };
    stand.eventually("the tenant's rights", may).await;
    (own, kubeconfig)
}

impl Scene {
    async fn new(prefix: &str) -> Self {
        Self::of(crate::stand(&format!("tenant-{prefix}")).await, &format!("tenant-{prefix}")).await
    }

    async fn of(mut stand: Stand<'static>, prefix: &str) -> Self {
        let (own, tenant) = tenant(&mut stand, prefix).await;
        let (controller, proxy) = (stand.start_controller(), stand.start_proxy());
        let tls = "{certResolver: le, secretName: shop-tls}";
        stand.route("shop", &format!("Host(`{HOST}`)"), tls);
        let issued = stand.certificate(HOST).await;
        look::copied(&stand, "shop-tls", &issued.chain).await;
        look::told(&stand, "shop", "Issued").await;
        let honest = format!("{prefix}.example.org");
        Self { stand, own, tenant, controller, _proxy: proxy, issued, honest }
    }

    fn try_kubectl(&self, args: &[&str], stdin: &str) -> Output {
        self.stand.cluster.kubectl_as(&self.tenant, args, stdin)
    }

    /// As the tenant, in its namespace; panics if the API server does not let it.
    #[track_caller]
    fn kubectl(&self, args: &[&str], stdin: &str) -> String {
        let args = [args, &["-n", &self.own]].concat();
        let output = self.try_kubectl(&args, stdin);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// `create` in place of `apply`: that would keep the whole object in an annotation.
    #[track_caller]
    fn create(&self, object: &Value) {
        self.kubectl(&["create", "-f", "-"], &object.to_string());
    }

    /// What the API server does not let the tenant do.
    #[track_caller]
    fn is_forbidden(&self, args: &[&str], stdin: &str) {
        let output = self.try_kubectl(args, stdin);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("forbidden"), "{said}");
    }

    /// An IngressRoute of the tenant as JSON; `tls` has its resolver already.
    fn route(&self, name: &str, rule: &str, tls: Value) -> Value {
        let mut tls = tls;
        if tls["certResolver"].is_null() {
            tls["certResolver"] = "le".into();
        }
        serde_json::json!({
            "apiVersion": "routecert.dev/v1alpha1",
            "kind": "IngressRoute",
            "metadata": {"name": name, "namespace": self.own},
            "spec": {
                "entryPoints": ["websecure"],
                "routes": [{"match": rule, "kind": "Rule", "services": [{"name": "app", "port": 80}]}],
                "tls": tls,
            },
        })
    }

    /// Waits for the reason of a route of the tenant; the condition.
    #[track_caller]
    fn told<'a>(&'a self, route: &'a str, reason: &'a str) -> impl Future<Output = Value> + 'a {
        self.stand.eventually("the reason of a tenant's route", async move || {
            let condition = self.condition(route);
            let found = condition["reason"] == reason;
            if found { Ok(condition) } else { Err(format!("{condition}, not {reason}")) }
        })
    }

    /// What a route of the tenant is told; null: nothing yet.
    #[track_caller]
    fn condition(&self, route: &str) -> Value {
        // Not the whole object: that may be deeper than a reader of JSON goes.
        let path = "jsonpath={.status.conditions[0]}";
        let text = self.kubectl(&["get", "rcir", route, "-o", path], "");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits for an Event of this reason in the tenant's namespace; its note.
    #[track_caller]
    fn event<'a>(&'a self, reason: &'a str) -> impl Future<Output = String> + 'a {
        self.stand.eventually("an Event of the tenant's namespace", async move || {
            let path = format!("jsonpath={{.items[?(@.reason==\"{reason}\")].note}}");
            let note = self.kubectl(&["get", "events.events.k8s.io", "-o", &path], "");
            if note.is_empty() { Err(reason.to_owned()) } else { Ok(note) }
        })
    }

    /// Secrets of the tenant's namespace that have a certificate, by name.
    async fn keys(&self) -> Vec<(String, Chain)> {
        let secrets: Api<Secret> = Api::namespaced(self.stand.client.clone(), &self.own);
        let all = secrets.list(&ListParams::default()).await.unwrap().items.into_iter();
        let certificates = all.filter_map(|secret| {
            let pem = secret.data?.remove("tls.crt")?;
            Some((secret.metadata.name?, Chain::from_pem(&String::from_utf8_lossy(&pem.0))))
        });
        certificates.collect()
    }

    /// The tenant's honest wish is fulfilled, so that everything it did before has been seen too.
    async fn honest(&self) {
        let tls = serde_json::json!({"secretName": "honest"});
        self.create(&self.route("honest", &format!("Host(`{}`)", self.honest), tls));
        let issued = self.stand.certificate(&self.honest).await;
        let filled = async || {
            let keys = self.keys().await;
            let is_it = keys.iter().any(|(name, chain)| name == "honest" && *chain == issued.chain);
            if is_it { Ok(()) } else { Err(format!("{keys:?}")) }
        };
        self.stand.eventually("the honest Secret", filled).await;
        self.told("honest", "Issued").await;
    }

    /// Nothing of the other namespace is other than before, no key of it is the tenant's, and
    /// nothing was ordered but its certificate and the tenant's honest one.
    async fn is_unharmed(&self) {
        let Self { stand, issued, .. } = self;
        self.honest().await;
        assert_eq!(stand.certificate(HOST).await, *issued);
        assert_eq!(stand.served(HOST).as_ref(), Ok(&issued.chain));
        look::copied(stand, "shop-tls", &issued.chain).await;
        look::told(stand, "shop", "Issued").await;
        for (secret, chain) in self.keys().await {
            assert!(chain != issued.chain, "{secret} is the tenant's");
        }
        let all = stand.certificates().await.unwrap();
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(names, [HOST, self.honest.as_str()]);
        assert_eq!(stand.ca.orders(), 2);
    }
}
