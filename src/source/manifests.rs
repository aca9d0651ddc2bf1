//! Manifests as people keep them in files → the same events as from a cluster.

mod documents;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;
use serde_json::Value;

use crate::api;
use crate::api::Object;
use crate::config::Config;
use crate::route::Kind;
use crate::rule::Syntax;
use crate::source;
use crate::source::{Event, What, labels};

/// Of one file, and of standard input.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{file}: cannot be read: {cause}")]
    Unreadable { file: String, cause: String },
    #[error("{file}: is larger than 256 MiB")]
    TooLarge { file: String },
    #[error("{file}: no YAML or JSON: {cause}")]
    Invalid { file: String, cause: String },
    #[error("{file}:{line}: no YAML or JSON that can be read: {cause}")]
    Unfit { file: String, line: usize, cause: String },
    #[error("{key}: {cause}")]
    Selector { key: String, cause: String },
    #[error("{directory}: holds no .yaml, .yml or .json file")]
    Empty { directory: String },
}

/// What manifests hold of what a configuration reads.
#[derive(Debug)]
pub struct Manifests {
    syntax: Syntax,
    /// `labelSelector` of the providers.
    custom: Selector,
    ingresses: Selector,
    pub events: Vec<Event>,
    /// Objects of Traefik's old group, which nothing reads.
    pub old: Vec<String>,
    /// Whether IngressClasses are among them.
    pub has_classes: bool,
    /// What people may not expect: documents that are no objects, objects that stand there twice.
    pub warnings: Vec<String>,
    /// Where each object stood last.
    places: BTreeMap<(What, String, String), Place>,
}

/// Where a document stands.
#[derive(Debug, Clone)]
struct Place {
    file: Arc<str>,
    /// Of all of the file, from 1.
    document: usize,
    line: usize,
    /// Of a list, from 1.
    item: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} (document {}", self.file, self.line, self.document)?;
        match self.item {
            Some(item) => write!(f, ", item {item})"),
            None => f.write_str(")"),
        }
    }
}

impl Manifests {
    /// Nothing yet. `Err`: a `labelSelector` cannot be read.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let selector = |kind: Kind| {
            let text = source::label_selector(config, What::Routes(kind)).unwrap_or_default();
            labels::selector(&text).map_err(|cause| {
                let provider = if kind == Kind::Ingress { "Ingress" } else { "CRD" };
                Error::Selector {
                    key: format!("providers.kubernetes{provider}.labelSelector"),
                    cause,
                }
            })
        };
        Ok(Self {
            syntax: config.default_rule_syntax,
            custom: selector(Kind::OwnHttp)?,
            ingresses: selector(Kind::Ingress)?,
            events: Vec::new(),
            old: Vec::new(),
            has_classes: false,
            warnings: Vec::new(),
            places: BTreeMap::new(),
        })
    }

    fn selects(&self, what: What, object: &Value) -> bool {
        let selector = match what {
            What::Routes(Kind::Ingress) => &self.ingresses,
            What::Routes(_) => &self.custom,
            _ => return true,
        };
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let labels =
            labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        selector.matches(&labels.collect())
    }
}

/// Reads a file, a directory with all below it, or standard input (`-`).
pub fn read(path: &Path, into: &mut Manifests) -> Result<(), Error> {
    if path == Path::new("-") {
        return take("standard input", std::io::stdin().lock(), into);
    }
    let shown = path.display().to_string();
    let failed = |error: std::io::Error| unreadable(&shown, &error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return take(&shown, fs::File::open(path).map_err(failed)?, into);
    }
    let mut files = Vec::new();
    find(path, &mut files)?;
    if files.is_empty() {
        return Err(Error::Empty { directory: shown });
    }
    files.sort();
    for file in files {
        read(&file, into)?;
    }
    Ok(())
}

fn unreadable(file: &str, error: &std::io::Error) -> Error {
    Error::Unreadable { file: file.to_owned(), cause: error.to_string() }
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |error: std::io::Error| unreadable(&directory.display().to_string(), &error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // A link is not followed: it may lead in a circle.
        if entry.file_type().map_err(failed)?.is_dir() {
            find(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|it| ["yaml", "yml", "json"].iter().any(|one| it == *one))
        {
            files.push(path);
        }
    }
    Ok(())
}

fn take(file: &str, from: impl Read, into: &mut Manifests) -> Result<(), Error> {
    let mut text = String::new();
    let length = from.take(MAX_BYTES + 1).read_to_string(&mut text);
    let length = length.map_err(|error| unreadable(file, &error))?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_BYTES) {
        return Err(Error::TooLarge { file: file.to_owned() });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let unfit = |it: documents::Fault| Error::Unfit {
        file: file.to_owned(),
        line: it.line,
        cause: it.cause,
    };
    let mut lines = documents::lines(text).map_err(unfit)?.into_iter();
    let file = Arc::<str>::from(file);
    for (number, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let line = lines.next().unwrap_or_default();
        let value = Value::deserialize(document)
            .map_err(|error| Error::Invalid { file: file.to_string(), cause: error.to_string() })?;
        let place = Place { file: Arc::clone(&file), document: number + 1, line, item: None };
        // Nothing between two lines `---`.
        if !value.is_null() {
            object(value, &place, into);
        }
    }
    Ok(())
}

fn object(mut value: Value, place: &Place, into: &mut Manifests) {
    let text = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (version, kind) = (text(&value, "/apiVersion"), text(&value, "/kind"));
    if version.is_empty() || kind.is_empty() {
        let message = "no Kubernetes object, for want of apiVersion and kind; not read";
        into.warnings.push(format!("{place}: {message}"));
        return;
    }
    if let Some(Value::Array(items)) = value.get_mut("items").filter(|_| kind.ends_with("List")) {
        for (number, item) in std::mem::take(items).into_iter().enumerate() {
            let place = Place { item: Some(number + 1), ..place.clone() };
            object(item, &place, into);
        }
        return;
    }
    let name = text(&value, "/metadata/name");
    // As `kubectl` has it.
    let namespace = Some(text(&value, "/metadata/namespace")).filter(|text| !text.is_empty());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    if version.starts_with(&format!("{}/", api::TRAEFIK_OLD_GROUP)) {
        into.old.push(format!("{kind} {namespace}/{name}"));
        return;
    }
    let Some(what) = what(&version, &kind).filter(|what| into.selects(*what, &value)) else {
        return;
    };
    into.has_classes |= what == What::Classes;
    let is_global = matches!(what, What::Classes | What::Resolvers);
    let namespace = if is_global { String::new() } else { namespace };
    into.note((what, namespace.clone(), name.clone()), place);
    let spec = value.get_mut("spec").map(Value::take).map(without_nulls);
    let created = text(&value, "/metadata/creationTimestamp").parse::<Timestamp>().ok();
    let annotations = value.pointer("/metadata/annotations").and_then(Value::as_object);
    let annotations = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let annotations = annotations.collect();
    let object = Object { namespace, name, created, annotations, spec, ..Object::default() };
    into.events.push(source::put(what, into.syntax, object));
}

impl Manifests {
    /// Of an object that is given twice, the last counts, as when `kubectl` applies them.
    fn note(&mut self, object: (What, String, String), place: &Place) {
        let (what, namespace, name) = &object;
        let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let shown = format!("{} {namespace}{name}", what.as_str());
        if let Some(earlier) = self.places.insert(object, place.clone()) {
            self.warnings.push(format!(
                "{shown} stands at {earlier} and again at {place}: the last one counts"
            ));
        }
    }
}

fn what(version: &str, kind: &str) -> Option<What> {
    let known = [What::Services, What::Classes, What::Resolvers].into_iter();
    let is_it = |what: &What| {
        let resource = what.resource();
        resource.is_some_and(|it| it.api_version == version && it.kind == kind)
    };
    Kind::of(version, kind).map(What::Routes).or_else(|| known.into_iter().find(is_it))
}

/// A key without a value is as none, as for the API server.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let filled = fields.into_iter().filter(|(_, value)| !value.is_null());
            filled.map(|(key, value)| (key, without_nulls(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
