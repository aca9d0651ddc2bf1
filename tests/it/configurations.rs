//! `configurations.jsonl`: 232 static configurations with the answers of Traefik's own loaders.
//!
//! A line is `{"name","form","text","expect"}`; where we are stricter on purpose it says so. What is
//! compared, and how, is told at [`judge`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use routecert::config::{self, Reading, Sources};
use serde_json::{Map, Value, json};

use crate::layers::root;

/// Names of resolver fields that a reason to be stricter leaves as written.
const FAULTY: &[(&str, &str)] =
    &[("keyType", "keyType"), ("dnsChallenge.provider", "provider"), ("caServer", "caServer")];

#[test]
fn every_configuration_comes_to_what_traefik_makes_of_it() {
    let cases = fs::read_to_string(root().join("tests/data/configurations.jsonl")).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("configurations");
    fs::create_dir_all(&folder).unwrap();
    let mut wrong = Vec::new();
    for (number, line) in cases.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let found = judge(&case, &ask(&case, &folder, number));
        if !found.is_empty() {
            wrong.push(format!("{} ({}): {}", case["name"], case["form"], found.join("; ")));
        }
    }
    assert_eq!(cases.lines().count(), 232);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn ask(case: &Value, folder: &Path, number: usize) -> Reading {
    let form = case["form"].as_str().unwrap();
    let mut environment = BTreeMap::new();
    if form == "yaml" || form == "toml" {
        let path = folder.join(format!("{number}.{form}"));
        fs::write(&path, case["text"].as_str().unwrap()).unwrap();
        let file = Some(path.as_path());
        return config::read(&Sources { file, environment: &environment, flags: &[] });
    }
    let words = match &case["text"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        words => words.clone(),
    };
    let words: Vec<String> = serde_json::from_value(words).unwrap();
    if form == "flags" {
        return config::read(&Sources { file: None, environment: &environment, flags: &words });
    }
    let pairs = words.iter().map(|word| word.split_once('=').unwrap());
    environment.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    config::read(&Sources { file: None, environment: &environment, flags: &[] })
}

/// What differs. `quirk`: an error or a warning is as right as Traefik's meaning. `oneOf`: any of
/// them. `starts` false: to refuse is right too. `stricter`: must be refused, and the rest is
/// compared all the same.
fn judge(case: &Value, reading: &Reading) -> Vec<String> {
    let (expect, errors) = (&case["expect"], reading.errors());
    let strict: Vec<String> = serde_json::from_value(case["stricter"].clone()).unwrap_or_default();
    if case["quirk"] == true && !(errors.is_empty() && reading.warnings.is_empty()) {
        return Vec::new();
    }
    let got = |part| reading.effective.as_ref().map_or(Value::Null, |all| all.part(part));
    let parts = ["entryPoints", "certificatesResolvers"];
    let got: Map<String, Value> =
        parts.map(|part| (part.to_owned(), got(part))).into_iter().collect();
    let faulty = FAULTY.iter().filter(|(reason, _)| strict.iter().any(|it| it == reason));
    let skipped: BTreeSet<&str> = faulty.map(|(_, field)| *field).collect();
    let compare = |want: &Value| {
        let mut found = Vec::new();
        for (part, got) in &got {
            differences(&want[part], got, part, &skipped, &mut found);
        }
        found
    };
    if let Some(any) = expect["oneOf"].as_array() {
        return any.iter().map(compare).min_by_key(Vec::len).unwrap();
    }
    let accepted = errors.is_empty();
    match (expect["ok"] == true, accepted) {
        (false, true) => return vec!["Traefik refuses this, it was accepted".to_owned()],
        (false, false) => return Vec::new(),
        (true, false) if expect["starts"] == false => return Vec::new(),
        (true, _) => {}
    }
    let mut found = compare(expect);
    if accepted && !strict.is_empty() {
        found.push(format!("must be refused: {}", strict.join(", ")));
    }
    if !accepted && strict.is_empty() {
        found.push(format!("refused: {}", errors[0]));
    }
    found
}

/// What `got` lacks of `want`: null, an empty list and a missing key are the same, numbers are
/// compared to 1e-9, a secret is `***`. Names that only we have count, fields that only we have
/// do not.
fn differences(
    want: &Value,
    got: &Value,
    path: &str,
    skipped: &BTreeSet<&str>,
    found: &mut Vec<String>,
) {
    let last = path.rsplit('.').next().unwrap_or_default();
    if skipped.contains(last) || (got == "***" && last == "hmacEncoded" && !is_empty(want)) {
        return;
    }
    let nothing = Map::new();
    if let Value::Object(wanted) = want {
        let got = got.as_object().unwrap_or(&nothing);
        let names = path.matches('.').count() == 0;
        let extra = got.keys().filter(|key| names && !wanted.contains_key(*key));
        for key in wanted.keys().chain(extra) {
            let (want, got) = (wanted.get(key).unwrap_or(&Value::Null), got.get(key));
            let path = format!("{path}.{key}");
            differences(want, got.unwrap_or(&Value::Null), &path, skipped, found);
        }
        return;
    }
    let same = match (want.as_f64(), got.as_f64()) {
        (Some(a), Some(b)) if want.is_f64() || got.is_f64() => (a - b).abs() < 1e-9,
        _ => want == got || (is_empty(want) && is_empty(got)),
    };
    if !same {
        found.push(format!("{path}: want {want}, got {got}"));
    }
}

fn is_empty(value: &Value) -> bool {
    [json!(null), json!(""), json!([]), json!({})].contains(value)
}
