//! What a person meets first: CRDs, kubectl, the configuration's mistakes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

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

/// Paths of Traefik's schema that ours does not know, though it says what is in that object.
fn unknown_to_us(theirs: &Value, ours: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(fields) = theirs["properties"].as_object() {
        let Some(known) = ours["properties"].as_object() else { return };
        for (field, nested) in fields {
            let path = format!("{path}.{field}");
            match known.get(field) {
                Some(ours) => unknown_to_us(nested, ours, &path, found),
                None => found.push(path),
            }
        }
    }
    if theirs["items"].is_object() {
        unknown_to_us(&theirs["items"], &ours["items"], path, found);
    }
}

#[test]
fn every_field_of_traefiks_kinds_is_known() {
    let schema = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let crd: Value = serde_yaml::from_str(&text).unwrap();
        crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap().clone()
    };
    let mut found = Vec::new();
    for kind in ["ingressroutes", "ingressroutetcps", "middlewares", "tlsoptions", "tlsstores"] {
        let theirs = tools::folder("traefik").join(format!("traefik.io_{kind}.yaml"));
        let ours = tools::clone_root().join(format!("crds/routecert.dev_rc{kind}.yaml"));
        unknown_to_us(&schema(&theirs), &schema(&ours), kind, &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
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
    let kinds = [("tlsstore", "rcts"), ("tlsoption", "rcto"), ("middleware", "rcm")];
    for (theirs, ours) in kinds {
        stand.cluster.apply(&small(theirs, "traefik.io", &stand.routes));
        stand.cluster.apply(&small(theirs, "routecert.dev", &stand.routes));
        assert_eq!(get(theirs), format!("{theirs}.traefik.io/it\n"));
        assert_eq!(get(ours), format!("{theirs}.routecert.dev/it\n"));
    }
}

/// An object named `it` with the same spec in either group.
fn small(kind: &str, group: &str, namespace: &str) -> String {
    let (kind, spec) = match kind {
        "tlsstore" => ("TLSStore", "{defaultGeneratedCert: {resolver: le, domain: {main: a.x}}}"),
        "tlsoption" => ("TLSOption", "{clientAuth: {clientAuthType: NoClientCert}}"),
        _ => ("Middleware", "{headers: {customRequestHeaders: {X-A: b}}, redirectScheme: {}}"),
    };
    format!(
        "apiVersion: {group}/v1alpha1\nkind: {kind}\n\
         metadata: {{name: it, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn resolver_object(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: routecert.dev/v1alpha1\nkind: CertificateResolver\n\
         metadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

#[test]
fn a_resolver_object_with_everything_is_taken_and_shows_its_condition() {
    let spec = "
  acme:
    caServer: https://ca.example.com/directory
    email: a@example.com
    keyType: EC256
    certificatesDuration: 2160
    clientTimeout: 2m
    certificateTimeout: 30
    eab: {kid: k, hmacSecretRef: {name: eab, key: hmac}}
    httpChallenge: {entryPoint: web, delay: 1s}
    tlsChallenge: {}
    dnsChallenge:
      delayBeforeCheck: 0
      propagation: {delayBeforeChecks: 5s, disableANSChecks: true, requireAllRNS: false}
      resolvers: ['1.1.1.1:53']
      solvers:
      - zones: [example.com]
        provider: hetzner
        env: {HETZNER_API_TOKEN: {secretRef: {name: dns, key: token}}}
        ambient: false
  allow: {namespaces: [shop], domains: ['*.example.com']}
  grants:
  - {namespaces: [shop], domains: [example.com]}
";
    let taken = cluster().try_kubectl(&["apply", "-f", "-"], &resolver_object("whole", spec));
    assert!(taken.status.success() && taken.stderr.is_empty(), "{taken:?}");
    let status = "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\",\
                  \"reason\":\"Conflict\",\"message\":\"\",\
                  \"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}";
    let patch = ["patch", "certresolver", "whole", "--subresource=status", "--type=merge", "-p"];
    cluster().kubectl(&[&patch[..], &[status]].concat(), "");
    let shown = cluster().kubectl(&["get", "certresolver", "whole", "--no-headers"], "");
    let columns: Vec<&str> = shown.split_whitespace().take(4).collect();
    assert_eq!(columns, ["whole", "False", "Conflict", "https://ca.example.com/directory"]);
}

#[test]
fn a_broken_resolver_object_is_refused_when_it_is_applied() {
    let refused = |spec: &str| {
        let output = cluster().try_kubectl(&["create", "-f", "-"], &resolver_object("bad", spec));
        assert!(!output.status.success(), "{spec}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (spec, why) in [
        ("{acme: {}}", "a resolver needs `dnsChallenge`, `httpChallenge` or `tlsChallenge`"),
        ("{acme: {caServer: 'http://ca', tlsChallenge: {}}}", "over https:// only"),
        ("{acme: {keyType: DSA, tlsChallenge: {}}}", "spec.acme.keyType"),
        ("{acme: {httpChallenge: {}}}", "entryPoint: Required"),
        ("{acme: {dnsChallenge: {solvers: []}}}", "solvers"),
        ("{acme: {eab: {kid: a}, tlsChallenge: {}}}", "hmacSecretRef: Required"),
        ("{acme: {tlsChallenge: {}}, grants: [{domains: [a.x]}]}", "namespaces: Required"),
    ] {
        let said = refused(spec);
        assert!(said.contains(why), "{spec}: {said}");
    }
}

/// Exit code and log of a controller with this configuration.
fn refused(name: &str, yaml: &str) -> (Option<i32>, String) {
    let folder = process::new_folder(name);
    let process = routecert::start((binary(), None), &folder, name, yaml, &["controller"]);
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
