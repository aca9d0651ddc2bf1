//! `VAR_FILE` in place of `VAR`: what of a file counts, and what is said of one that cannot be read.

use std::sync::Arc;

use crate::dns::tests::{Folder, pairs};
use crate::dns::{Error, Variables};

fn read(values: &[(&str, &str)]) -> Result<Option<String>, Error> {
    let values = pairs(values.iter().copied());
    Variables::of_process(Arc::new(values)).of("httpreq").text("A")
}

#[test]
fn of_a_file_everything_counts_but_the_line_ends_at_its_end() {
    let folder = Folder::new();
    for (content, value) in [
        ("secret", Some("secret")),
        ("secret\n", Some("secret")),
        ("secret\r\n", Some("secret")),
        ("secret\n\n", Some("secret")),
        (" secret ", Some(" secret ")),
        ("\tsecret \n", Some("\tsecret ")),
        ("one\ntwo\n", Some("one\ntwo")),
        ("\nsecret", Some("\nsecret")),
        ("\u{fc}\n", Some("\u{fc}")),
        ("", None),
        ("\n", None),
    ] {
        let path = folder.file("a", content);
        let found = read(&[("A_FILE", &path)]).unwrap();
        assert_eq!(found.as_deref(), value, "{content:?}");
    }
}

#[test]
fn a_variable_goes_before_its_file_and_an_empty_one_is_none() {
    let folder = Folder::new();
    let path = folder.file("a", "of the file\n");
    for (values, value) in [
        (&[("A", "set"), ("A_FILE", path.as_str())][..], Some("set")),
        (&[("A", "set"), ("A_FILE", "/nowhere")], Some("set")),
        (&[("A", ""), ("A_FILE", &path)], Some("of the file")),
        (&[("A_FILE", &path)], Some("of the file")),
        (&[("A_FILE", "")], None),
        (&[("a", "other"), ("A_FILES", &path)], None),
    ] {
        assert_eq!(read(values).unwrap().as_deref(), value, "{values:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_its_content_is_not() {
    let folder = Folder::new();
    let path = folder.0.display().to_string();
    let bytes = folder.0.join("bytes");
    std::fs::write(&bytes, b"secret\xff\xfe").unwrap();
    let long = folder.file("long", &"secret".repeat(20_000));
    for path in ["/nowhere/a", &path, bytes.to_str().unwrap(), &long] {
        let error = read(&[("A_FILE", path)]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Settings { .. }), "{text}");
        assert!(text.starts_with("httpreq: A_FILE: ") && text.contains(path), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
