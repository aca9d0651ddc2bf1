//! What a person meets first: CRDs, kubectl, the configuration's mistakes.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::parts::process;
use crate::parts::routecert;
use crate::parts::tools;
use crate::{binary, cluster, stand};

#[test]
fn crds_are_what_the_program_prints() {
    let mut command = Command::new(binary());
    command.arg("crd");
    let output = process::run(command, "");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut files: Vec<_> = fs::read_dir(tools::clone_root().join("crds"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut kept: Vec<String> =
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut documents: Vec<String> =
        printed.split("---\n").filter(|text| !text.is_empty()).map(str::to_owned).collect();
    kept.sort();
    documents.sort();
    assert!(kept == documents, "crds/ is stale: run `make crds`");
}

#[test]
fn the_api_server_takes_the_crds_without_a_warning() {
    let folder = tools::clone_root().join("crds").display().to_string();
    let output = cluster().try_kubectl(&["apply", "-f", &folder], "");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn kubectl_get_ingressroute_goes_on_showing_traefiks() {
    let stand = stand("kubectl").await;
    stand.traefik_route("theirs", "Host(`a.example.com`)", "{}");
    stand.route("ours", "Host(`a.example.com`)", "{}");
    let get =
        |kind: &str| stand.cluster.kubectl(&["get", kind, "-o", "name", "-n", &stand.routes], "");
    assert_eq!(get("ingressroute"), "ingressroute.traefik.io/theirs\n");
    assert_eq!(get("rcir"), "ingressroute.routecert.dev/ours\n");
}

/// Exit code and log of a controller with this configuration.
fn refused(name: &str, yaml: &str) -> (Option<i32>, String) {
    let folder = process::new_folder(name);
    let process = routecert::start(binary(), &folder, name, yaml, &["controller"]);
    let status = process.finish(Duration::from_secs(20));
    (status.code(), process.log())
}

#[test]
fn broken_yaml_is_a_usage_error_with_its_place() {
    let (code, log) = refused("broken-yaml", "entryPoints:\n  web: {address: ':80'\n");
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("broken-yaml.yaml:"), "{log}");
}

#[test]
fn an_unknown_key_of_a_resolver_is_named() {
    let yaml = "certificatesResolvers:\n  le:\n    acme:\n      emial: a@example.com\n";
    let (code, log) = refused("unknown-key", yaml);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("emial"), "{log}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_entry_point() {
    let stand = stand("taken").await;
    let _taken = std::net::TcpListener::bind(("127.0.0.1", stand.settings.websecure)).unwrap();
    let proxy = stand.launch("proxy");
    let status = proxy.process.finish(Duration::from_secs(20));
    assert_eq!(status.code(), Some(1), "{}", proxy.process.tail());
    assert!(proxy.process.log().contains("websecure"), "{}", proxy.process.tail());
}
