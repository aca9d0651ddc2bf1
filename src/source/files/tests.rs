//! Real files, in folders of their own.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use futures::FutureExt;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::*;
use crate::cluster::Trouble;
use crate::source::Event;

/// Gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("routecert-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// As editors do it.
    fn replace(&self, name: &str, text: &str) {
        self.write("new~", text);
        fs::rename(self.0.join("new~"), self.0.join(name)).unwrap();
    }

    fn whole(&self) -> FileProvider {
        FileProvider { filename: None, directory: Some(self.0.clone()), watch: true }
    }

    fn only(&self, name: &str) -> FileProvider {
        FileProvider { filename: Some(self.0.join(name)), directory: None, watch: true }
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn router(name: &str, host: &str) -> String {
    format!("http:\n  routers:\n    {name}:\n      rule: Host(`{host}`)\n")
}

/// Each route by its name, with the hosts of its rule.
fn shown_routes(routes: &[Route]) -> Vec<String> {
    routes.iter().map(shown_route).collect()
}

fn shown_route(route: &Route) -> String {
    let hosts: Vec<&str> = route.hosts().map(crate::name::Name::as_str).collect();
    format!("{} {}", route.key.name, hosts.join(","))
}

#[test]
fn a_directory_is_read_with_its_sub_directories() {
    let folder = Folder::new("whole");
    fs::create_dir_all(folder.0.join("sub/deep")).unwrap();
    fs::create_dir_all(folder.0.join("..2026")).unwrap();
    folder.write("a.yml", &router("a", "a.x"));
    folder.write("sub/b.YAML", &router("b", "b.x"));
    folder.write("sub/deep/c.toml", "[http.routers.c]\nrule = \"Host(`c.x`)\"\n");
    folder.write("..2026/a.yml", &router("a", "other.x"));
    folder.write("notes.txt", "{{ no configuration }}");
    folder.write("empty.yml", "# nothing yet\n");
    let (routes, problems) = read(&folder.whole(), "home", Syntax::V3);
    assert_eq!(shown_routes(&routes), ["a@file a.x", "b@file b.x", "c@file c.x"]);
    assert_eq!(problems, Vec::<String>::new());
    let (routes, _) = read(&folder.only("sub/b.YAML"), "home", Syntax::V3);
    assert_eq!(shown_routes(&routes), ["b@file b.x"]);
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let folder = Folder::new("places");
    folder.write("a.yml", "http:\n  routers:\n\tweb: {}\n");
    folder.write("b.toml", "[http]\nrouters =\n");
    folder.write("c.yml", "http:\n  routers:\n    {{ range until 3 }}\n");
    folder.write("d.yml", "http: [a]\n");
    folder.write("e.yml", &format!("{}      prio: 3\n", router("e", "e.x")));
    fs::create_dir(folder.0.join("pipe.yml")).unwrap();
    symlink(folder.0.join("nowhere"), folder.0.join("f.yml")).unwrap();
    let (routes, problems) = read(&folder.whole(), "home", Syntax::V3);
    assert_eq!(shown_routes(&routes), ["e@file e.x"]);
    let expected = [
        ("a.yml:3:", "no valid YAML"),
        ("b.toml:2:", "no valid TOML"),
        ("c.yml:3: Go templating is not supported; write the values out", ""),
        ("d.yml: http: a map is expected", ""),
        ("f.yml: cannot be read: ", ""),
        ("e.yml: HTTPRouter e: fields without effect: prio", ""),
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, (place, message)) in problems.iter().zip(expected) {
        assert!(problem.starts_with(&folder.path(place)), "{problem}, not {place}");
        assert!(problem.contains(message), "{problem}");
    }
    let (_, problems) = read(&folder.only("none.json"), "home", Syntax::V3);
    assert!(problems[0].contains("has no name that ends in .yml"), "{problems:?}");
}

#[test]
fn a_pipe_is_not_waited_for() {
    let folder = Folder::new("pipe");
    let pipe = folder.0.join("pipe.yml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (_, problems) = read(&folder.whole(), "home", Syntax::V3);
    assert_eq!(problems, [format!("{}: is no file; remove it", pipe.display())]);
}

#[test]
fn too_many_files_are_not_read_at_all() {
    let folder = Folder::new("many");
    for n in 0..10_001 {
        folder.write(&format!("{n}.yml"), "");
    }
    let (routes, problems) = read(&folder.whole(), "home", Syntax::V3);
    assert_eq!(routes.len(), 0);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("more than 10,000 files"), "{problems:?}");
}

#[test]
fn files_that_are_too_large_together_are_told() {
    let folder = Folder::new("large");
    let text = format!("#{}", "a".repeat(1024 * 1024 - 1));
    for n in 10..75 {
        folder.write(&format!("{n}.toml"), &text);
    }
    let (_, problems) = read(&folder.whole(), "home", Syntax::V3);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with(&folder.path("74.toml: ")), "{problems:?}");
    assert!(problems[0].contains("more than 64 MiB together"), "{problems:?}");
}

#[test]
fn the_last_good_routes_hold_until_the_file_is_good_again_or_gone() {
    let folder = Folder::new("good");
    let mut files = Files::new(folder.whole(), "home", Syntax::V3);
    let mut look = || {
        let look = files.look();
        (shown_routes(&look.routes).join(" "), look.troubles.len())
    };
    folder.write("a.yml", &router("a", "a.x"));
    folder.write("b.yml", "http: {");
    assert_eq!(look(), ("a@file a.x".to_owned(), 1));
    folder.write("b.yml", &router("b", "b.x"));
    assert_eq!(look(), ("a@file a.x b@file b.x".to_owned(), 0));
    folder.write("a.yml", "http: {");
    assert_eq!(look(), ("a@file a.x b@file b.x".to_owned(), 1));
    fs::rename(&folder.0, folder.0.with_extension("away")).unwrap();
    assert_eq!(look(), ("a@file a.x b@file b.x".to_owned(), 2));
    fs::rename(folder.0.with_extension("away"), &folder.0).unwrap();
    fs::remove_file(folder.0.join("a.yml")).unwrap();
    assert_eq!(look(), ("b@file b.x".to_owned(), 0));
    // the single file that was given is never taken for gone
    let mut files = Files::new(folder.only("b.yml"), "home", Syntax::V3);
    assert_eq!(files.look().routes.len(), 1);
    fs::remove_file(folder.0.join("b.yml")).unwrap();
    let look = files.look();
    assert_eq!((look.routes.len(), look.troubles.len()), (1, 1));
}

/// The next event, shortly.
async fn next(events: &mut BoxStream<'static, Event>) -> String {
    let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await;
    match event.expect("an event in time").unwrap() {
        Event::Put(route) => format!("put {}", shown_route(&route)),
        Event::Gone(key) => format!("gone {}", key.name),
        Event::Synced(_) => "synced".to_owned(),
        Event::Trouble(_, Trouble::Unreachable(message)) => message,
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn only_what_changed_is_told() {
    let folder = Folder::new("changes");
    folder.write("a.yml", &router("a", "a.x"));
    folder.write("b.yml", &router("b", "b.x"));
    let mut events = watch(&folder.whole(), "home", Syntax::V3);
    assert_eq!(next(&mut events).await, "put a@file a.x");
    assert_eq!(next(&mut events).await, "put b@file b.x");
    assert_eq!(next(&mut events).await, "synced");
    folder.replace("b.yml", &router("b", "c.x"));
    assert_eq!(next(&mut events).await, "put b@file c.x");
    fs::create_dir(folder.0.join("sub")).unwrap();
    folder.write("sub/d.yml", &router("d", "d.x"));
    assert_eq!(next(&mut events).await, "put d@file d.x");
    folder.replace("a.yml", "a: b\n c: d\n");
    let trouble = next(&mut events).await;
    assert!(trouble.starts_with(&folder.path("a.yml:2:")), "{trouble}");
    fs::remove_file(folder.0.join("sub/d.yml")).unwrap();
    assert_eq!(next(&mut events).await, "gone d@file");
    folder.replace("a.yml", &router("a", "e.x"));
    assert_eq!(next(&mut events).await, "put a@file e.x");
    assert_eq!(next(&mut events).await, "synced");
}

#[tokio::test]
async fn files_that_are_not_watched_are_read_once() {
    let folder = Folder::new("once");
    folder.write("a.yml", &router("a", "a.x"));
    let once = FileProvider { watch: false, ..folder.whole() };
    let mut once = watch(&once, "home", Syntax::V3);
    let mut ever = watch(&folder.whole(), "home", Syntax::V3);
    for events in [&mut once, &mut ever] {
        assert_eq!(next(events).await, "put a@file a.x");
        assert_eq!(next(events).await, "synced");
    }
    folder.replace("a.yml", &router("a", "b.x"));
    assert_eq!(next(&mut ever).await, "put a@file b.x");
    assert!(once.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_directory_that_comes_late_or_is_replaced_is_read() {
    let folder = Folder::new("late");
    let provider = FileProvider { directory: Some(folder.0.join("routes")), ..folder.whole() };
    let mut events = watch(&provider, "home", Syntax::V3);
    let trouble = next(&mut events).await;
    assert!(trouble.contains("routes: cannot be read: "), "{trouble}");
    fs::create_dir(folder.0.join("new")).unwrap();
    folder.write("new/a.yml", &router("a", "a.x"));
    fs::rename(folder.0.join("new"), folder.0.join("routes")).unwrap();
    assert_eq!(next(&mut events).await, "put a@file a.x");
    assert_eq!(next(&mut events).await, "synced");
    fs::create_dir(folder.0.join("new")).unwrap();
    folder.write("new/a.yml", &router("a", "b.x"));
    fs::rename(folder.0.join("routes"), folder.0.join("old")).unwrap();
    fs::rename(folder.0.join("new"), folder.0.join("routes")).unwrap();
    let mut told = next(&mut events).await;
    if told.contains("cannot be read") {
        told = next(&mut events).await;
    }
    assert_eq!(told, "put a@file b.x");
    folder.replace("routes/a.yml", &router("a", "c.x"));
    let mut told = next(&mut events).await;
    if told == "synced" {
        told = next(&mut events).await;
    }
    assert_eq!(told, "put a@file c.x");
}

/// A version of a mounted ConfigMap, put in the place of the one before in one step.
fn mount(folder: &Folder, version: &str, text: &str) {
    fs::create_dir(folder.0.join(version)).unwrap();
    folder.write(&format!("{version}/routes.yml"), text);
    symlink(version, folder.0.join("..data_tmp")).unwrap();
    fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
}

#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    for name in ["mount-file", "mount-folder"] {
        let folder = Folder::new(name);
        mount(&folder, "..1", &router("a", "a.x"));
        symlink("..data/routes.yml", folder.0.join("routes.yml")).unwrap();
        let provider =
            if name == "mount-file" { folder.only("routes.yml") } else { folder.whole() };
        let mut events = watch(&provider, "home", Syntax::V3);
        assert_eq!(next(&mut events).await, "put a@file a.x");
        assert_eq!(next(&mut events).await, "synced");
        for (version, host) in [("..2", "b.x"), ("..3", "c.x"), ("..4", "d.x")] {
            mount(&folder, version, &router("a", host));
            assert_eq!(next(&mut events).await, format!("put a@file {host}"));
        }
    }
}
