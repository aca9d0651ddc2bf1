//! A file of Traefik's that is no static configuration → JSON, for whoever knows what is in it.

use serde_json::Value as Json;

use crate::config::tree::{Node, Place, Value};
use crate::config::{MAX_BYTES, Problem, TOO_LARGE, is_toml, toml, yaml};

/// TOML if `file_name` ends in `.toml`, else YAML; every single value is a text, `Null` is an empty
/// file too. `Err`: all that is wrong, each with its place.
pub(crate) fn plain(file_name: &str, text: &str) -> Result<Json, Vec<Problem>> {
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(vec![Problem::at(&Place::whole(file_name), "", TOO_LARGE)]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parse = if is_toml(file_name) { toml::parse } else { yaml::parse_foreign };
    let mut problems = Vec::new();
    let tree = parse(file_name, text, &mut problems);
    if problems.is_empty() { Ok(tree.map_or(Json::Null, json)) } else { Err(problems) }
}

/// The parsers bound the depth.
fn json(node: Node) -> Json {
    match node.value {
        Value::Null => Json::Null,
        Value::Scalar(text) => Json::String(text),
        Value::List(items) => items.into_iter().map(json).collect(),
        Value::Map(entries) => {
            Json::Object(entries.into_iter().map(|one| (one.key, json(one.node))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::plain;

    #[test]
    fn yaml_and_toml_come_to_the_same() {
        let expected =
            json!({"http": {"routers": {"web": {"priority": "10", "entryPoints": ["a"]}}}});
        let yaml = "http: {routers: {web: {priority: 10, entryPoints: [a]}}}";
        assert_eq!(plain("r.yml", yaml).unwrap(), expected);
        let toml = "[http.routers.web]\npriority = 10\nentryPoints = [\"a\"]";
        assert_eq!(plain("r.TOML", toml).unwrap(), expected);
        assert_eq!(plain("r.yml", "# nothing\n").unwrap(), json!(null));
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let wrong = |name: &str, text: &str| plain(name, text).unwrap_err()[0].to_string();
        assert!(
            wrong("r.yml", "a: b\n c: d").starts_with("r.yml:2:"),
            "{}",
            wrong("r.yml", "a: b\n c: d")
        );
        assert!(wrong("r.yml", "a: 1\na: 2").contains("r.yml:2:1: a: the key stands twice"));
        assert!(wrong("r.toml", "a = 1\nb =").starts_with("r.toml:2:"));
        assert!(wrong("r.yml", &" ".repeat(1_048_577)).contains("larger than 1 MiB"));
    }

    #[test]
    fn what_is_for_somebody_else_is_left_as_it_is() {
        let tree = plain("r.yml", "{since: 2026-01-01, mode: 0644}").unwrap();
        assert_eq!(tree, json!({"since": "2026-01-01", "mode": "0644"}));
    }
}
