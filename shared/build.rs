//! The config's schema as tables that `src/config/schema.rs` takes in: every start checks a config against it, and would spend
//! longer on reading the text than on everything else.

use std::error::Error;
use std::path::Path;

use serde_json::{Map, Value};

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script in its environment where to write")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(SCHEMA)?)?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("schema.rs"), format!("pub(super) static ROOT: Schema = {};\n", table(&schema)))?;
    Ok(())
}

/// A schema as an expression of type `Schema`.
fn table(schema: &Value) -> String {
    let fields = [
        ("reference", optional(schema["$ref"].as_str().map(|name| format!("{:?}", name.trim_start_matches("#/$defs/"))))),
        ("definitions", named(schema["$defs"].as_object())),
        ("types", texts(schema["type"].as_str().into_iter().chain(items(&schema["type"]).filter_map(Value::as_str)))),
        ("properties", named(schema["properties"].as_object())),
        ("others", optional(Some(&schema["additionalProperties"]).filter(|others| others.is_object()).map(referred))),
        ("required", texts(items(&schema["required"]).filter_map(Value::as_str))),
        ("items", optional(schema.get("items").map(referred))),
        ("choices", texts(choices(schema))),
        ("branches", format!("&[{}]", items(&schema["anyOf"]).map(table).collect::<Vec<_>>().join(","))),
        ("minimum", optional(schema["minimum"].as_u64().map(|least| least.to_string()))),
        ("maximum", optional(schema["maximum"].as_u64().map(|most| most.to_string()))),
        ("description", format!("{:?}", schema["description"].as_str().unwrap_or_default())),
    ];
    let fields = fields.iter().map(|(name, value)| format!("{name}:{value}"));
    format!("Schema{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// The words of an enumeration, documented (`oneOf` of `const`) or not (`enum`).
fn choices(schema: &Value) -> impl Iterator<Item = &str> {
    let documented = items(&schema["oneOf"]).map(|branch| &branch["const"]);
    items(&schema["enum"]).chain(documented).filter_map(Value::as_str)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn referred(schema: &Value) -> String {
    format!("&{}", table(schema))
}

fn named(schemas: Option<&Map<String, Value>>) -> String {
    let entries = schemas.into_iter().flatten().map(|(name, schema)| format!("({name:?},{})", table(schema)));
    format!("Named(&[{}])", entries.collect::<Vec<_>>().join(","))
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    format!("&[{}]", texts.map(|text| format!("{text:?}")).collect::<Vec<_>>().join(","))
}

fn optional(value: Option<String>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| format!("Some({value})"))
}

const SCHEMA: &str = "src/config/schema.json";
