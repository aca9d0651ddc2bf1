//! Variables → tree: `TRAEFIK_ENTRYPOINTS_WEB_ADDRESS`, and the same with `ROUTECERT_`.

use std::collections::BTreeMap;

use crate::config::Problem;
use crate::config::near::{fold, nearest};
use crate::config::schema;
use crate::config::schema::{Shape, Step};
use crate::config::tree::{Node, Place, shorten};
use crate::config::walk::Walk;
use crate::config::words;
use crate::config::words::Words;

/// Only variables that begin with `prefix` and, in capitals, a key of the root are meant for us,
/// as in Traefik; what follows may be in letters of any case.
pub(super) fn parse(
    environment: &BTreeMap<String, String>,
    prefix: &str,
    walk: &mut Walk,
) -> Option<Node> {
    let mut found = Words::default();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        if injected(name, value) {
            continue;
        }
        let place = Place::variable(&shorten(name));
        let Some(steps) = steps(rest) else {
            not_ours(rest, &place, walk);
            continue;
        };
        let set = steps.and_then(|steps| found.set(&steps, value, place.clone()));
        if let Err(message) = set {
            walk.errors.push(Problem::at(&place, "", message));
        }
    }
    found.tree(prefix, walk)
}

/// `None`: some other variable that happens to have the prefix.
fn steps(rest: &str) -> Option<Result<Vec<Step>, String>> {
    let roots = schema::ROOT.iter().map(|field| field.key);
    let meant =
        roots.filter(|key| rest.starts_with(&key.to_uppercase())).max_by_key(|k| k.len())?;
    let behind = rest.get(meant.len()..)?;
    let mut parts = behind.split('_').map(fold);
    let mut steps = vec![Step::Key(meant.to_owned() + &parts.next().unwrap_or_default())];
    for part in parts {
        if part.is_empty() {
            return Some(Err("has an empty part between its `_`".to_owned()));
        }
        let listed = matches!(schema::shape(&steps), Some(Shape::List(_) | Shape::Texts));
        steps.push(match part.parse() {
            Ok(index) if listed => Step::Index(index),
            _ => Step::Key(part),
        });
    }
    Some(words::checked(steps, "this variable"))
}

fn not_ours(rest: &str, place: &Place, walk: &mut Walk) {
    let first = rest.split('_').next().unwrap_or_default();
    if fold(first) == "configfile" {
        let message = "is not read; give the file with --configfile";
        walk.warnings.push(Problem::at(place, "", message));
    } else if let Some(key) = nearest(first, schema::ROOT.iter().map(|field| field.key)) {
        let message =
            format!("is not read: variables begin with a key such as {}", key.to_uppercase());
        walk.warnings.push(Problem::at(place, "", message));
    }
}

/// What Kubernetes puts into containers about a Service that has the program's name.
fn injected(name: &str, value: &str) -> bool {
    let parts: Vec<&str> = name.split('_').collect();
    match parts.as_slice() {
        [.., "SERVICE", "HOST" | "PORT"] | [.., "SERVICE", "PORT", _] => true,
        [.., "PORT", number, "TCP" | "UDP" | "SCTP"]
        | [.., "PORT", number, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"] => {
            number.bytes().all(|b| b.is_ascii_digit())
        }
        [.., "PORT"] => ["tcp://", "udp://", "sctp://"].iter().any(|it| value.starts_with(it)),
        _ => false,
    }
}
