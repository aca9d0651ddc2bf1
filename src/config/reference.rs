//! The schema for people (a table in Markdown) and for editors (JSON Schema).

use serde_json::{Map, Value, json};

use crate::config::schema::{Field, Meaning, ROOT, Shape};
use crate::config::value;
use crate::provider;

/// Tables of all keys, one a part of the configuration.
pub fn markdown() -> String {
    let mut out = String::new();
    for field in ROOT.iter().filter(|field| !field.about.is_empty()) {
        out.extend(["### `", field.key, "`\n\n", field.about, "\n\n"]);
        out.push_str("| key | value | default | |\n|---|---|---|---|\n");
        match &field.shape {
            Shape::Named(inner) => rows(inner, &format!("{}.<name>", field.key), &mut out),
            shape => rows(shape, field.key, &mut out),
        }
        out.push('\n');
    }
    out.push_str("### Known and left out\n\n");
    let mut foreign = Vec::new();
    unused(ROOT, "", &mut foreign);
    out.push_str(&foreign.join(", "));
    out.push_str(".\n\n");
    providers(&mut out);
    out
}

fn providers(out: &mut String) {
    out.push_str("### DNS providers\n\n");
    out.push_str("Codes are read in any case; each variable may be replaced by one with `_FILE` behind its name, the path of a file that holds the value.\n\n");
    out.push_str("| code | name | variables |\n|---|---|---|\n");
    for provider in provider::all() {
        let codes: Vec<String> = provider.codes().map(|code| format!("`{code}`")).collect();
        let gone = if provider.gone { " (shut down)" } else { "" };
        out.extend([
            "| ",
            &codes.join(", "),
            " | ",
            provider.name,
            gone,
            " | ",
            &provider.needs(),
            " |\n",
        ]);
    }
}

fn rows(shape: &Shape, path: &str, out: &mut String) {
    let (Shape::Section(fields) | Shape::Switch(fields)) = shape else { return };
    for field in *fields {
        let path = format!("{path}.{}", field.key);
        let (about, default) = match field.meaning {
            Meaning::Foreign => continue,
            Meaning::Honoured => (field.about.to_owned(), shown_default(field)),
            Meaning::NotYet => {
                (format!("*Without effect in this version.* {}", field.about), shown_default(field))
            }
            Meaning::Refused(why) => (format!("*Refused:* {why}."), String::new()),
        };
        let kind = kind(&field.shape);
        out.extend(["| `", &path, "` | ", kind, " | ", &default, " | ", &about, " |\n"]);
        match &field.shape {
            Shape::List(inner) => rows(inner, &format!("{path}[n]"), out),
            Shape::Named(inner) => rows(inner, &format!("{path}.<name>"), out),
            shape => rows(shape, &path, out),
        }
    }
}

fn shown_default(field: &Field) -> String {
    match (&field.shape, field.default) {
        (Shape::Bool, "") => "`false`".to_owned(),
        (_, "" | "{}") => String::new(),
        (_, default) => format!("`{default}`"),
    }
}

fn kind(shape: &Shape) -> &'static str {
    match shape {
        Shape::Anything => "",
        Shape::Bool => "true or false",
        Shape::Delay | Shape::Duration => "duration",
        Shape::Integer => "number",
        Shape::List(_) => "list",
        Shape::Named(_) => "names",
        Shape::Secret => "text, secret",
        Shape::Section(_) => "section",
        Shape::Switch(_) => "section or `true`",
        Shape::Text => "text",
        Shape::Texts => "list of texts",
    }
}

fn unused(fields: &[Field], path: &str, out: &mut Vec<String>) {
    for field in fields {
        let path =
            if path.is_empty() { field.key.to_owned() } else { format!("{path}.{}", field.key) };
        if matches!(field.meaning, Meaning::Foreign) {
            out.push(format!("`{path}`"));
        } else if let Shape::Section(inner) | Shape::Switch(inner) = field.shape {
            unused(inner, &path, out);
        }
    }
}

/// JSON Schema (2020-12) of the file. Keys are given in their usual spelling; any case is read.
pub fn json_schema() -> Value {
    let mut root = object(ROOT);
    if let Some(root) = root.as_object_mut() {
        root.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        root.insert("title".to_owned(), "The static configuration of routecert".into());
        // Unknown root keys are a warning only.
        root.remove("additionalProperties");
    }
    root
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .filter(|field| !matches!(field.meaning, Meaning::Refused(_)))
        .map(|field| (field.key.to_owned(), property(field)))
        .collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn property(field: &Field) -> Value {
    let mut schema = of(&field.shape);
    let Some(entries) = schema.as_object_mut() else { return schema };
    if !field.about.is_empty() {
        entries.insert("description".to_owned(), field.about.into());
    }
    let default = match field.shape {
        Shape::Bool => Some((field.default == "true").into()),
        Shape::Integer => value::integer(field.default).ok().map(Into::into),
        Shape::Delay | Shape::Duration | Shape::Text => Some(field.default.into()),
        _ => None,
    };
    if let Some(default) = default.filter(|default: &Value| default.as_str() != Some("")) {
        entries.insert("default".to_owned(), default);
    }
    schema
}

fn of(shape: &Shape) -> Value {
    match shape {
        Shape::Anything => json!({}),
        Shape::Bool => json!({"type": ["boolean", "string"]}),
        Shape::Delay | Shape::Duration | Shape::Integer => json!({"type": ["integer", "string"]}),
        Shape::List(inner) => json!({"type": "array", "items": of(inner)}),
        Shape::Named(inner) => json!({"type": "object", "additionalProperties": of(inner)}),
        Shape::Secret | Shape::Text => json!({"type": "string"}),
        Shape::Section(fields) => object(fields),
        Shape::Switch(fields) => json!({"anyOf": [{"type": "boolean"}, object(fields)]}),
        Shape::Texts => {
            json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
        }
    }
}
