//! `routecert plan --cluster` at the real API server, and the same of what `kubectl get` prints.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::binary;
use crate::layers::root;
use crate::one_namespace::audited;
use crate::parts::process;
use crate::plans::{answer, differences};

const FOLDER: &str = "tests/data/cluster";
/// Every kind that a plan reads.
const KINDS: &str = "ingressroutes.traefik.io,ingressroutetcps.traefik.io,tlsstores.traefik.io,\
                     rcingressroutes,rcingressroutetcps,rctlsstores,ingresses,services,\
                     ingressclasses,certificateresolvers";

/// An account that may read what is read, and nothing else.
const READER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: planner, namespace: planned-shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: planner}
rules:
  - {apiGroups: [routecert.dev, traefik.io, networking.k8s.io], resources: ['*'], verbs: [list, watch]}
  - {apiGroups: [''], resources: [services], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: planner}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: planner}
subjects: [{kind: ServiceAccount, name: planner, namespace: planned-shop}]
";

fn plan(args: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(binary());
    let configuration = root().join(FOLDER).join("static.yml");
    command.env_clear().args(["plan", "-o", "json", "--configfile"]).arg(configuration).args(args);
    process::run(command, stdin)
}

fn expected() -> Value {
    let text = std::fs::read(root().join(FOLDER).join("routes.expect.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[track_caller]
fn is_expected(output: &Output) -> Value {
    let plan = answer(output).unwrap();
    let told = differences(&plan, &expected());
    assert!(told.is_empty(), "{told}\n{plan}");
    plan
}

#[test]
fn a_plan_is_the_same_of_manifests_of_the_cluster_and_of_what_kubectl_prints() {
    let cluster = audited();
    let manifests = root().join(FOLDER).join("routes.yaml");
    cluster.apply_path(&manifests);
    cluster.apply(READER);
    let planner = cluster.identity("planned-shop", "planner");
    is_expected(&plan(&["-f", &manifests.display().to_string()], ""));

    let args = ["--cluster", "--kubeconfig", &planner.display().to_string()];
    is_allowed(&planner);
    let whole = is_expected(&plan(&args, ""));
    // The configuration's own are not of the cluster.
    let warnings = whole["warnings"].as_array().unwrap().iter();
    let of_cluster = warnings.filter(|text| !text.as_str().unwrap().contains("static.yml"));
    assert_eq!(of_cluster.count(), 0, "{whole}");
    let asked = cluster.asked_by("planned-shop", "planner");
    assert!(asked.len() >= 10, "{asked:?}");
    for event in asked {
        let verb = event["verb"].as_str().unwrap();
        assert!(["create", "get", "list", "watch"].contains(&verb), "{event}");
        let of_can_i = event["objectRef"]["resource"] == "selfsubjectaccessreviews";
        assert!(verb != "create" || of_can_i, "{event}");
    }
    let strict = plan(&[&args[..], &["--strict"]].concat(), "");
    assert_eq!(strict.status.code(), Some(1));

    let list =
        |namespace: &str| cluster.kubectl(&["get", KINDS, "-n", namespace, "-o", "yaml"], "");
    let everything = ["planned-shop", "planned-team"].map(list).join("---\n");
    is_expected(&plan(&["-f", "-"], &everything));
    cluster.kubectl(&["delete", "certificateresolver", "planned-live"], "");
}

/// A new role is not in force at once.
fn is_allowed(planner: &Path) {
    let start = std::time::Instant::now();
    let may = || {
        let args = ["auth", "can-i", "watch", "certificateresolvers"];
        audited().kubectl_as(planner, &args, "").status.success()
    };
    while !may() {
        assert!(start.elapsed() < std::time::Duration::from_secs(30), "the role is not in force");
    }
}

#[test]
fn a_selector_that_cannot_be_read_is_told_with_its_key() {
    let text = std::fs::read_to_string(root().join(FOLDER).join("static.yml")).unwrap();
    let folder = process::new_folder("selector");
    let text = text.replace("plan=yes", "plan in yes");
    let configuration = process::write(&folder, "static.yml", &text);
    let mut command = Command::new(binary());
    command.env_clear().args(["plan", "-f", "-", "--configfile"]).arg(configuration);
    let output = process::run(command, "");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let key = "providers.kubernetesIngress.labelSelector: `plan in yes`";
    assert!(told.contains(key) && told.contains("expected"), "{told}");
}
