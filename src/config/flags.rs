//! Traefik's flags → tree: `--entryPoints.web.address=:80`, names of any case, one dash or two.

use crate::config::Problem;
use crate::config::near::fold;
use crate::config::schema;
use crate::config::schema::{Shape, Step};
use crate::config::tree::{Node, Place, shorten};
use crate::config::walk::Walk;
use crate::config::words;
use crate::config::words::Words;

const SOURCE: &str = "flags";

/// The file that `--configFile` among the flags names, the last one.
pub(super) fn config_file(flags: &[String]) -> Option<&str> {
    let given = flags.iter().take_while(|word| *word != "--").filter_map(|word| {
        let (name, value) = word.split_once('=')?;
        is_config_file(name).then_some(value)
    });
    given.last()
}

fn is_config_file(flag: &str) -> bool {
    flag.starts_with('-') && fold(flag.trim_start_matches('-')) == "configfile"
}

pub(super) fn parse(flags: &[String], walk: &mut Walk) -> Option<Node> {
    let mut words = Words::default();
    // The program's own name, as containers give it.
    let own = usize::from(flags.first().is_some_and(|word| word == "traefik"));
    let mut rest = (1..).zip(flags).skip(own);
    while let Some((number, word)) = rest.next() {
        if word == "--" {
            if rest.next().is_some() {
                let message = "what follows `--` is left out, as in Traefik";
                walk.warnings.push(Problem::at(&Place::flag("--", number), "", message));
            }
            break;
        }
        if let Err(message) = flag(word, number, &mut words) {
            // A word without a dash may be a value, and secret.
            let name = match word.split('=').next() {
                Some(name) if name.starts_with('-') => shorten(name),
                _ => format!("word {number} of the flags"),
            };
            walk.errors.push(Problem::at(&Place::flag(&name, number), "", message));
        }
    }
    words.tree(SOURCE, walk)
}

fn flag(word: &str, number: usize, words: &mut Words) -> Result<(), String> {
    let (dashed, value) = match word.split_once('=') {
        Some((dashed, value)) => (dashed, Some(value)),
        None => (word, None),
    };
    let name = dashed.strip_prefix("--").or_else(|| dashed.strip_prefix('-'));
    let Some(name) = name.filter(|name| !name.is_empty() && !name.starts_with('-')) else {
        return Err("is no flag; expected `--KEY=VALUE`, a value right behind its `=`".to_owned());
    };
    if is_config_file(dashed) {
        return value.map(drop).ok_or_else(|| "expected `--configFile=FILE`".to_owned());
    }
    let steps = words::checked(steps(name)?, "this flag")?;
    let value = match (value, schema::shape(&steps)) {
        (Some(value), _) => value,
        (
            None,
            Some(
                Shape::Delay
                | Shape::Duration
                | Shape::Integer
                | Shape::Secret
                | Shape::Text
                | Shape::Texts,
            ),
        ) => return Err("has no value; write it behind a `=`".to_owned()),
        (None, _) => "true",
    };
    words.set(&steps, value, Place::flag(&shorten(dashed), number))
}

/// `a.b[0].c`
fn steps(name: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for part in name.split('.') {
        let (key, indexes) = part.split_once('[').map_or((part, None), |(k, i)| (k, Some(i)));
        if key.is_empty() {
            return Err("has an empty part between its dots".to_owned());
        }
        steps.push(Step::Key(key.to_owned()));
        if let Some(index) = indexes {
            let number = index.strip_suffix(']').and_then(|digits| digits.parse().ok());
            let number = number.ok_or("has an index that is no number, such as `[0]`")?;
            steps.push(Step::Index(number));
        }
    }
    Ok(steps)
}
