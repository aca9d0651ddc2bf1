//! `labelSelector` for objects that no API server selects: the language of
//! `kubectl get --selector`.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector};

/// Reads a selector; an empty one selects everything. `Err` says what is wrong with it.
pub(super) fn selector(text: &str) -> Result<Selector, String> {
    if text.trim().is_empty() {
        return Ok(Selector::default());
    }
    requirements(text).map(expression).collect()
}

/// Split at commas that stand in no parentheses.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    text.split(move |letter| {
        match letter {
            '(' => is_inside = true,
            ')' => is_inside = false,
            _ => {}
        }
        letter == ',' && !is_inside
    })
}

fn expression(text: &str) -> Result<Expression, String> {
    let text = text.trim();
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(key_of(key)?));
    }
    if let Some((head, rest)) = text.split_once('(') {
        return set(text, head, rest);
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Expression::NotEqual(key_of(key)?, value_of(value)?));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Expression::Equal(key_of(key)?, value_of(value)?));
    }
    Ok(Expression::Exists(key_of(text)?))
}

/// `KEY in (A, B)` and `KEY notin (A, B)`.
fn set(text: &str, head: &str, rest: &str) -> Result<Expression, String> {
    let values = rest.trim_end().strip_suffix(')').ok_or_else(|| wrong(text))?;
    let values: BTreeSet<String> = values.split(',').map(value_of).collect::<Result<_, _>>()?;
    let words: Vec<&str> = head.split_whitespace().collect();
    match words.as_slice() {
        [key, "in"] => Ok(Expression::In(key_of(key)?, values)),
        [key, "notin"] => Ok(Expression::NotIn(key_of(key)?, values)),
        _ => Err(wrong(text)),
    }
}

fn key_of(text: &str) -> Result<String, String> {
    let key = value_of(text)?;
    if key.is_empty() { Err(wrong(text)) } else { Ok(key) }
}

fn value_of(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    if text.chars().all(fits) { Ok(text.to_owned()) } else { Err(wrong(text)) }
}

fn wrong(text: &str) -> String {
    format!(
        "`{text}` is no part of a label selector; expected `key=value`, `key!=value`, `key in (a, b)`, \
         `key notin (a, b)`, `key` or `!key`, with commas between them"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::core::SelectorExt;

    use super::*;

    #[track_caller]
    fn check(text: &str, selected: &[&str], passed_over: &[&str]) {
        let selector = selector(text).unwrap();
        let matches = |labels: &&str| {
            let pairs = labels.split(' ').filter_map(|pair| pair.split_once('='));
            let labels: BTreeMap<String, String> =
                pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            selector.matches(&labels)
        };
        assert!(selected.iter().all(matches), "{text}");
        assert!(!passed_over.iter().any(matches), "{text}");
    }

    #[test]
    fn selectors_select_as_the_api_server_does() {
        check("", &["", "a=b"], &[]);
        check("app=web", &["app=web", "app=web x=y"], &["", "app=api"]);
        check(
            " app == web , tier!=back ",
            &["app=web", "app=web tier=front"],
            &["app=web tier=back"],
        );
        check("app", &["app=", "app=x"], &["", "x=app"]);
        check("!app", &["", "x=y"], &["app="]);
        check("app in (web, api),x", &["app=api x="], &["app=db x=", "app=api", "x="]);
        check("app notin(web,api)", &["", "app=db"], &["app=web"]);
        check("app=", &["app="], &["", "app=x"]);
        check("example.com/team=a_b.c-d", &["example.com/team=a_b.c-d"], &[""]);
    }

    #[test]
    fn what_is_no_selector_is_told() {
        for text in
            ["a,,b", "a=b,", "=b", "!", "a in b", "a in (b", "a is (b)", "a=b=c", "a>1", "ä=b"]
        {
            assert!(selector(text).unwrap_err().contains("expected"), "{text}");
        }
    }
}
