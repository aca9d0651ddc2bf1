//! Imports point downward: a module may name only modules of a lower layer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up. Modules of one layer do not name one another.
const LAYERS: &[&[&str]] = &[
    &["name", "metrics", "provider"],
    &["rule", "cert"],
    &["resolver"],
    &["http"],
    &["api", "config", "challenge", "dns"],
    &["route", "order", "cluster"],
    &["source", "world", "budget", "acme", "store"],
    &["plan", "issue"],
    &["controller", "proxy"],
    &["admin"],
    &["cli"],
];

/// The same inside the modules that are large enough to have layers of their own.
const INNER: &[(&str, &[&[&str]])] = &[
    (
        "controller",
        &[
            &["copies", "journal", "lease", "publish"],
            &["records", "resolvers"],
            &["leader"],
            &["adopt", "gc", "poll", "queue", "verdict"],
            &["decide"],
            &["run"],
        ],
    ),
    (
        "proxy",
        &[
            &["challenges", "drain", "headers", "hello", "listen", "local", "route"],
            &["certs", "upstream"],
            &["reply", "tls"],
            &["alpn"],
            &["serve"],
            &["worker"],
        ],
    ),
];

/// Modules that decide or describe, and never act.
const PURE: &[&str] = &[
    "name",
    "provider",
    "rule",
    "cert",
    "resolver",
    "api",
    "config",
    "challenge",
    "route",
    "order",
    "world",
    "budget",
    "plan",
];

const EFFECTS: &[&str] =
    &["async ", ".await", "tokio", "hyper", "kube::Client", "std::fs", "std::env", "std::net::Tcp"];

#[test]
fn imports_point_downward() {
    let mut broken = Vec::new();
    for file in code_files(&src()) {
        let from = modules(&file)[0].clone();
        if !["lib", "main"].contains(&from.as_str()) {
            let text = fs::read_to_string(&file).unwrap();
            broken.extend(upward(&file, LAYERS, &from, &named_modules(&text, "crate::")));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn imports_inside_controller_and_proxy_point_downward() {
    let mut broken = Vec::new();
    for (outer, layers) in INNER {
        for file in code_files(&src().join(outer)) {
            let from = modules(&file)[1].clone();
            let text = fs::read_to_string(&file).unwrap();
            let mut named = named_modules(&text, &format!("crate::{outer}::"));
            // in a file directly under the module, `super` is the module
            if modules(&file).len() == 2 {
                named.extend(named_modules(&text, "super::"));
            }
            // types of the outer module itself are above no layer
            named.retain(|name| name.starts_with(char::is_lowercase));
            broken.extend(upward(&file, layers, &from, &named));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The one door by which a pure module looks out.
const DOORS: &[(&str, &str)] = &[("src/config.rs", "std::fs")];

#[test]
fn pure_modules_have_no_effects() {
    let mut broken = Vec::new();
    for file in code_files(&src()) {
        if !PURE.contains(&modules(&file)[0].as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in (1..).zip(code(&text)) {
            let found = EFFECTS.iter().find(|effect| {
                line.contains(**effect) && !DOORS.contains(&(shown(&file).as_str(), effect))
            });
            broken.extend(found.map(|e| format!("{}:{number}: {e}", shown(&file))));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The names in `named` that are not below `from`.
fn upward(file: &Path, layers: &[&[&str]], from: &str, named: &[String]) -> Vec<String> {
    let layer: BTreeMap<&str, usize> = layers
        .iter()
        .enumerate()
        .flat_map(|(depth, names)| names.iter().map(move |name| (*name, depth)))
        .collect();
    let Some(&depth) = layer.get(from) else {
        return vec![format!("{}: {from} has no layer in tests/it/layers.rs", shown(file))];
    };
    let lower = |name: &str| layer.get(name).is_some_and(|&other| other < depth);
    named
        .iter()
        .filter(|name| *name != from && !lower(name))
        .map(|name| format!("{}: {from} -> {name}", shown(file)))
        .collect()
}

/// The first segment after every `prefix` in the code of `text`. Grouped imports give an empty
/// one, which is in no layer: one line per module is asked for.
fn named_modules(text: &str, prefix: &str) -> Vec<String> {
    code(text)
        .flat_map(|line| line.split(prefix).skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

/// The lines above the tests in the file, comments left empty.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
}

/// `src/proxy/tls.rs` → `proxy`, `tls`.
fn modules(file: &Path) -> Vec<String> {
    let path = file.strip_prefix(src()).unwrap().with_extension("");
    path.iter().map(|part| part.to_string_lossy().into_owned()).collect()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().display().to_string()
}

pub(crate) fn root() -> &'static Path {
    crate::parts::tools::clone_root()
}

fn src() -> PathBuf {
    root().join("src")
}

/// Those that are no tests.
fn code_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = rust_files(folder);
    files.retain(|file| modules(file).iter().all(|name| name != "tests"));
    files
}

/// All of them under `folder`, sorted, without what was built there; none if it does not exist.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.ends_with("target") {
            continue;
        }
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
