//! Routers of files: issued, followed, and kept while their file is broken.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::look;
use crate::parts::stand::Stand;
use crate::stand;

/// An empty folder of the stand.
fn folder(stand: &Stand<'_>) -> PathBuf {
    let folder = stand.folder.join("dynamic");
    fs::create_dir(&folder).unwrap();
    folder
}

/// Puts a file there in one step, as editors do.
fn put(folder: &Path, name: &str, text: &str) {
    let new = folder.join(format!("{name}~"));
    fs::write(&new, text).unwrap();
    fs::rename(new, folder.join(name)).unwrap();
}

/// A file with one router a host, named by its first label.
fn routers(hosts: &[&str]) -> String {
    let router = |host: &&str| {
        let name = host.split('.').next().unwrap();
        format!("    {name}:\n      rule: Host(`{host}`)\n      tls: {{certResolver: le}}\n")
    };
    format!("http:\n  routers:\n{}", hosts.iter().map(router).collect::<String>())
}

#[tokio::test]
async fn a_router_of_a_file_gets_its_certificate_and_the_file_is_followed() {
    let mut stand = stand("file-routes").await;
    let folder = folder(&stand);
    stand.settings.file = format!("{{directory: {}}}", folder.display());
    put(&folder, "web.yml", &routers(&["a.example.com"]));
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let issued = stand.certificate("a.example.com").await;
    issued.chain.verify(&stand.ca.root(), "a.example.com").unwrap();
    let served = async || stand.served("a.example.com").ok().ok_or_else(String::new);
    assert_eq!(stand.eventually("it to be served", served).await, issued.chain);
    let state = look::states(&stand).await.unwrap()["a.example.com"].clone();
    assert_eq!(state["owner"], stand.settings.controller_namespace);
    assert_eq!(state["kinds"], serde_json::json!(["HTTPRouter.file"]));

    put(&folder, "web.yml", &routers(&["a.example.com", "b.example.com"]));
    stand.certificate("b.example.com").await;
    fs::create_dir(folder.join("more")).unwrap();
    put(
        &folder,
        "more/c.toml",
        "[http.routers.c]\nrule = \"Host(`c.example.com`)\"\n\
                                 tls = {certResolver = \"le\"}\n",
    );
    stand.certificate("c.example.com").await;
    put(&folder, "d.yml", "http:\n  routers:\n    {{ range until 3 }}\n");
    let refused = format!("{}/d.yml:3: Go templating is not supported", folder.display());
    look::logs(&stand, &controller, &refused).await;
    let unknown = routers(&["e.example.com"]).replace("le}", "nobody}");
    put(&folder, "d.yml", &unknown);
    look::logs(&stand, &controller, "HTTPRouter e@file: UnknownResolver: ").await;
    assert_eq!(stand.certificate("a.example.com").await, issued);
    assert_eq!(stand.ca.orders(), 3);
    // to read is no change: what was looked at was rung for
    let looks = look::lines(&controller, "files read");
    assert!(looks <= 12, "{looks} looks\n{}", controller.process.log());
}

#[tokio::test]
async fn a_broken_file_keeps_the_last_good_routes_and_says_where() {
    let mut stand = stand("file-broken").await;
    "1s".clone_into(&mut stand.settings.remove_after);
    let folder = folder(&stand);
    let file = folder.join("web.yml");
    stand.settings.file = format!("{{filename: {}}}", file.display());
    put(&folder, "web.yml", &routers(&["a.example.com", "b.example.com"]));
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let held = stand.certificate("a.example.com").await;
    stand.certificate("b.example.com").await;
    put(&folder, "web.yml", "http:\n  routers:\n\tweb: {}\n");
    let place = format!("{}:3:", file.display());
    look::logs(&stand, &controller, &place).await;
    look::fence(&stand, "fence-1").await;
    assert_eq!(look::lines(&controller, &place), 1, "{}", controller.process.log());
    assert_eq!(stand.certificate("a.example.com").await, held);
    stand.certificate("b.example.com").await;

    // of a file that is broken from the start nothing is known: nothing is removed
    controller.process.terminate(Duration::from_secs(10));
    let controller = stand.start_controller();
    look::logs(&stand, &controller, &place).await;
    look::logs(&stand, &controller, "everything is known").await;
    look::fence(&stand, "fence-2").await;
    assert_eq!(stand.certificate("a.example.com").await, held);
    stand.certificate("b.example.com").await;

    put(&folder, "web.yml", &routers(&["a.example.com", "c.example.com"]));
    stand.certificate("c.example.com").await;
    look::gone(&stand, "b.example.com").await;
    assert_eq!(stand.certificate("a.example.com").await, held);
    assert_eq!(stand.ca.orders(), 3);
}

/// A version of a mounted ConfigMap, put in the place of the one before in one step.
fn mount(folder: &Path, version: &str, text: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("routes.yml"), text).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn a_mounted_config_map_with_every_kind_is_followed() {
    let mut stand = stand("file-mount").await;
    let folder = folder(&stand);
    stand.settings.file = format!("{{filename: {}/routes.yml}}", folder.display());
    let tcp = "tcp: {routers: {db: {rule: 'HostSNI(`db.example.com`)', tls: {certResolver: le}}}}\n\
               tls: {stores: {default: {defaultGeneratedCert: {resolver: le, domain: {main: \
               s.example.com}}}}}\n";
    mount(&folder, "..1", tcp);
    symlink("..data/routes.yml", folder.join("routes.yml")).unwrap();
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.certificate("db.example.com").await;
    stand.certificate("s.example.com").await;
    mount(&folder, "..2", &format!("{tcp}{}", routers(&["a.example.com"])));
    fs::remove_dir_all(folder.join("..1")).unwrap();
    stand.certificate("a.example.com").await;
    mount(&folder, "..3", &format!("{tcp}{}", routers(&["b.example.com"])));
    fs::remove_dir_all(folder.join("..2")).unwrap();
    stand.certificate("b.example.com").await;
    let kinds: Vec<_> = look::states(&stand).await.unwrap().into_values().collect();
    let has = |kind: &str| kinds.iter().any(|state| state["kinds"][0] == kind);
    assert!(has("HTTPRouter.file") && has("TCPRouter.file") && has("TLSStore.file"), "{kinds:?}");
    assert_eq!(stand.ca.orders(), 4);
}
