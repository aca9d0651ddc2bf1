//! What every source file keeps to, whoever writes it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::layers::{root, rust_files};

const LONGEST: usize = 600;

fn check(complaint: impl Fn(&Path, &str) -> Option<String>) {
    let files: Vec<PathBuf> =
        ["src", "tests"].iter().flat_map(|folder| rust_files(&root().join(folder))).collect();
    assert!(!files.is_empty());
    let broken: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            Some(format!("{}: {}", file.display(), complaint(file, &text)?))
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_opens_with_its_duty() {
    check(|_, text| (!text.starts_with("//!")).then(|| "does not start with //!".to_owned()));
}

#[test]
fn no_file_is_too_long() {
    check(|_, text| {
        let lines = text.lines().count();
        (lines > LONGEST).then(|| format!("{lines} lines, at most {LONGEST}"))
    });
}

#[test]
fn no_file_reaches_up_twice_or_is_a_mod_rs() {
    let twice = ["super", "super"].join("::");
    check(|file, text| {
        let found = text.contains(&twice) || file.ends_with("mod.rs");
        found.then(|| format!("{twice} or mod.rs"))
    });
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let places = ["home", "root", "tmp", "work", "Users"].map(|top| format!("\"/{top}/"));
    check(|_, text| {
        places.iter().find(|place| text.contains(place.as_str())).map(|p| format!("names {p}"))
    });
}
