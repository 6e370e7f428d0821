//! The table of keys as a JSON Schema (draft 2020-12).

use handover_model::config::{Absent, Entry, LANGUAGE, Shape, Table, Text};
use serde_json::{Map, Value, json};

const DURATION: &str = "^[0-9]+(ms|s|m|h)$";
const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB|TiB)$";
const PERCENT: &str = "^[0-9]+%$";
const FRACTION: &str = r"^[0-9]{1,5}(\.[0-9]{1,4})?%$";

/// The schema of a whole manifest.
pub(super) fn schema() -> Value {
    let mut schema = object(LANGUAGE);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("handover.toml"));
    Value::Object(schema)
}

fn object(table: &Table) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let of_kinds: Vec<&str> = table.kinds().into_iter().flat_map(|(_, keys)| keys).copied().collect();
    for entry in table.entries() {
        // What only some kinds have is required by those kinds.
        if matches!(entry.absent, Absent::Required(_)) && !of_kinds.contains(&entry.name) {
            required.push(entry.name);
        }
        properties.insert(entry.name.to_owned(), property(&entry));
    }
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("description".to_owned(), json!(table.meaning));
    object.insert("properties".to_owned(), Value::Object(properties));
    object.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    let conditions: Vec<Value> =
        table.kinds().into_iter().map(|(kind, keys)| condition(table, kind, keys, &of_kinds)).collect();
    if !conditions.is_empty() {
        object.insert("allOf".to_owned(), Value::Array(conditions));
    }
    object
}

/// With this kind: the keys of other kinds must not be there, and what this one requires must.
fn condition(table: &Table, kind: &str, keys: &[&str], of_kinds: &[&str]) -> Value {
    let others = of_kinds.iter().filter(|key| !keys.contains(key));
    let forbidden: Map<String, Value> = others.map(|key| ((*key).to_owned(), json!(false))).collect();
    let required: Vec<&str> = table
        .entries()
        .filter(|entry| keys.contains(&entry.name) && matches!(entry.absent, Absent::Required(_)))
        .map(|entry| entry.name)
        .collect();
    json!({
        "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
        "then": {"properties": forbidden, "required": required},
    })
}

fn property(entry: &Entry) -> Value {
    let mut value = shape(&entry.shape);
    if let Value::Object(object) = &mut value {
        let mut words = String::new();
        if let Shape::Words(meanings) = &entry.shape {
            words = meanings.iter().map(|(word, meaning)| format!("\n{word}: {meaning}")).collect();
        }
        object.insert("description".to_owned(), json!(format!("{}{words}", entry.meaning)));
        if let Absent::Default(default) = entry.absent
            && let Some(default) = default_value(default)
        {
            object.insert("default".to_owned(), default);
        }
    }
    value
}

/// A default, which stands in the table as TOML.
fn default_value(default: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {default}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn shape(shape_of: &Shape) -> Value {
    match shape_of {
        Shape::Text(of) => text(of),
        Shape::Duration(..) => json!({"type": "string", "pattern": DURATION}),
        Shape::Integer(from, to) => json!({"type": "integer", "minimum": from, "maximum": to}),
        Shape::Size(from, to) => json!({"anyOf": [
            {"type": "integer", "minimum": from, "maximum": to},
            {"type": "string", "pattern": SIZE},
        ]}),
        Shape::Percent(..) => json!({"type": "string", "pattern": PERCENT}),
        Shape::Fraction(..) => json!({"type": "string", "pattern": FRACTION}),
        Shape::List(member, most) => {
            json!({"type": "array", "items": shape(member), "minItems": 1, "maxItems": most})
        }
        Shape::Words(words) => json!({"enum": words.iter().map(|(word, _)| *word).collect::<Vec<_>>()}),
        Shape::Texts(of, most) => {
            json!({"type": "array", "items": text(of), "minItems": 1, "maxItems": most})
        }
        Shape::Range(from, to) => json!({
            "type": "array", "minItems": 2, "maxItems": 2,
            "items": {"type": "integer", "minimum": from, "maximum": to},
        }),
        Shape::Table(table) => Value::Object(object(table)),
        Shape::Members(keys, member, most) => json!({
            "type": "object", "maxProperties": most,
            "propertyNames": {"pattern": keys.pattern},
            "additionalProperties": shape(member),
        }),
        Shape::Either(shapes) => json!({"anyOf": shapes.iter().map(shape).collect::<Vec<_>>()}),
    }
}

fn text(of: &Text) -> Value {
    json!({"type": "string", "pattern": of.pattern})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the schema along a table: every key is there with its type and its words, and no other.
    fn agrees(table: &Table, schema: &Value) {
        let properties = schema["properties"].as_object().unwrap();
        let names: Vec<&str> = table.entries().map(|entry| entry.name).collect();
        let mut found: Vec<&str> = properties.keys().map(String::as_str).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, sorted, "[{}]", table.name);
        assert_eq!(schema["additionalProperties"], false, "[{}]", table.name);
        for entry in table.entries() {
            let property = &properties[entry.name];
            assert!(property["description"].as_str().unwrap().starts_with(entry.meaning), "{}", entry.name);
            if let Absent::Default(_) = entry.absent {
                assert!(!property["default"].is_null(), "{} has no default", entry.name);
            }
            shape_agrees(entry.name, &entry.shape, property);
        }
    }

    fn shape_agrees(name: &str, shape: &Shape, schema: &Value) {
        match shape {
            Shape::Text(_) | Shape::Duration(..) | Shape::Percent(..) | Shape::Fraction(..) => {
                assert_eq!(schema["type"], "string", "{name}");
            }
            Shape::Integer(from, to) => {
                let found = (&schema["type"], schema["minimum"].as_u64(), schema["maximum"].as_u64());
                assert_eq!(found, (&json!("integer"), Some(*from), Some(*to)), "{name}");
            }
            Shape::Size(..) => assert_eq!(schema["anyOf"].as_array().unwrap().len(), 2, "{name}"),
            Shape::Words(words) => {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                assert_eq!(schema["enum"], json!(words), "{name}");
            }
            Shape::Texts(..) | Shape::Range(..) => assert_eq!(schema["type"], "array", "{name}"),
            Shape::List(member, _) => shape_agrees(name, member, &schema["items"]),
            Shape::Table(table) => agrees(table, schema),
            Shape::Members(_, member, _) => shape_agrees(name, member, &schema["additionalProperties"]),
            Shape::Either(shapes) => {
                for (shape, schema) in shapes.iter().zip(schema["anyOf"].as_array().unwrap()) {
                    shape_agrees(name, shape, schema);
                }
            }
        }
    }

    #[test]
    fn every_key_of_the_reader_stands_in_the_schema_with_its_type_and_no_other_does() {
        agrees(LANGUAGE, &schema());
    }
}
