//! v2's texts with `{name}` and `{name:regexp}` in them → regular expressions.

use crate::rule::pattern::{Budget, Pattern};

/// What a template is for: that decides what a bare `{name}` stands for, and where it must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Host,
    Path,
    PathPrefix,
    Query,
    Sni,
}

impl Place {
    fn default_pattern(self) -> &'static str {
        match self {
            Self::Host | Self::Sni => "[^.]+",
            Self::Path | Self::PathPrefix => "[^/]+",
            Self::Query => ".*",
        }
    }
}

/// A template compiled.
#[derive(Debug)]
pub(super) struct Template<'t> {
    pub(super) pattern: Pattern,
    /// Those in its braces.
    pub(super) names: Vec<&'t str>,
}

/// `Err` says what is wrong with the template, which it does not repeat.
pub(super) fn compile<'t>(
    text: &'t str,
    place: Place,
    budget: &mut Budget,
) -> Result<Template<'t>, String> {
    let mut names = Vec::new();
    let ignore_case = matches!(place, Place::Host | Place::Sni);
    let mut whole = if ignore_case { "(?i)^" } else { "^" }.to_owned();
    for piece in pieces(text)? {
        match piece {
            Piece::Plain(plain) => quote(plain, &mut whole),
            Piece::Variable(inside) => {
                let (name, given) = match inside.split_once(':') {
                    Some((name, given)) => (name, given),
                    None => (inside, place.default_pattern()),
                };
                if name.is_empty() || given.is_empty() {
                    return Err("has braces without a name or with nothing behind `:`".to_owned());
                }
                // Each must be right alone, so that none can close the group put around it.
                if place != Place::Sni {
                    Pattern::check(&format!("^{given}$"))?;
                }
                names.push(name);
                whole.extend(["(", given, ")"]);
            }
        }
    }
    if place == Place::Query && text.split_once('=').is_some_and(|(_, value)| value.is_empty()) {
        whole.push_str(place.default_pattern());
    }
    if place != Place::PathPrefix {
        whole.push('$');
    }
    Ok(Template { pattern: Pattern::new(&whole, budget)?, names })
}

enum Piece<'t> {
    Plain(&'t str),
    /// What stands between the braces.
    Variable(&'t str),
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let unbalanced = || "has braces that do not pair up".to_owned();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let mut pieces = Vec::new();
    let (mut level, mut start) = (0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => {
                if level == 0 {
                    pieces.push(Piece::Plain(part(start, at)));
                    start = at + 1;
                }
                level += 1;
            }
            '}' => {
                level = level.checked_sub(1).ok_or_else(unbalanced)?;
                if level == 0 {
                    pieces.push(Piece::Variable(part(start, at)));
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    if level > 0 {
        return Err(unbalanced());
    }
    pieces.push(Piece::Plain(part(start, text.len())));
    Ok(pieces)
}

fn quote(plain: &str, into: &mut String) {
    for c in plain.chars() {
        if c.is_ascii_punctuation() {
            into.push('\\');
        }
        into.push(c);
    }
}
