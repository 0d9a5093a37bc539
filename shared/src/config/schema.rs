//! The JSON Schema of the document. `shape.rs` checks every config against this very text, so what editors accept and what
//! lakekey accepts can't drift apart. It is made from the types that read the document, by the test below, and kept in
//! `schema.json`: making it takes longer than all else that is done with a config, and every process has to start.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

const TEXT: &str = include_str!("schema.json");

/// The JSON Schema (draft 2020-12) of `lakekey.yaml`.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(TEXT).expect("a test has made it"));
    &SCHEMA
}

/// The same for `shape.rs`: a fraction of the work, which every start does.
pub(super) fn root() -> &'static Schema {
    static ROOT: LazyLock<Schema> = LazyLock::new(|| serde_json::from_str(TEXT).expect("a test has made it"));
    &ROOT
}

/// A schema with the keywords that `schema.json` uses.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Schema {
    /// Another schema: `#/$defs/NAME`.
    #[serde(rename = "$ref")]
    pub(super) reference: Option<&'static str>,
    #[serde(rename = "$defs")]
    definitions: Named,
    #[serde(rename = "type", deserialize_with = "one_or_more")]
    pub(super) types: Vec<&'static str>,
    pub(super) properties: Named,
    /// What a key without a property must be; `None` where there may be none, or anything.
    #[serde(rename = "additionalProperties", deserialize_with = "unless_flag")]
    pub(super) others: Option<Box<Self>>,
    pub(super) required: Vec<&'static str>,
    pub(super) items: Option<Box<Self>>,
    #[serde(rename = "enum")]
    words: Vec<&'static str>,
    #[serde(rename = "oneOf")]
    documented_words: Vec<Self>,
    #[serde(rename = "const")]
    word: Option<&'static str>,
    #[serde(rename = "anyOf")]
    pub(super) branches: Vec<Self>,
    pub(super) minimum: Option<u64>,
    pub(super) maximum: Option<u64>,
    #[serde(borrow)]
    pub(super) description: Cow<'static, str>,
}

impl Schema {
    /// The words of an enumeration, documented (`oneOf` of `const`) or not (`enum`).
    pub(super) fn choices(&self) -> Vec<&'static str> {
        self.words.iter().copied().chain(self.documented_words.iter().filter_map(|branch| branch.word)).collect()
    }

    /// The schema that a reference in this one, which is a root, means.
    pub(super) fn definition(&self, reference: &str) -> Option<&Self> {
        self.definitions.get(reference.strip_prefix("#/$defs/")?)
    }

    /// Whether a value may be of this type.
    pub(super) fn may_be(&self, name: &str) -> bool {
        self.types.contains(&name)
    }
}

/// Schemas by name.
#[derive(Debug, Default)]
pub(super) struct Named(Vec<(&'static str, Schema)>);

impl Named {
    pub(super) fn get(&self, name: &str) -> Option<&Schema> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, schema)| schema)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }
}

impl Deserialize<'static> for Named {
    fn deserialize<D: Deserializer<'static>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor)
    }
}

struct NamedVisitor;

impl Visitor<'static> for NamedVisitor {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("schemas by name")
    }

    fn visit_map<A: MapAccess<'static>>(self, mut map: A) -> Result<Named, A::Error> {
        let mut named = Vec::new();
        while let Some(entry) = map.next_entry()? {
            named.push(entry);
        }
        Ok(Named(named))
    }
}

fn one_or_more<D: Deserializer<'static>>(deserializer: D) -> Result<Vec<&'static str>, D::Error> {
    struct OneOrMore;

    impl Visitor<'static> for OneOrMore {
        type Value = Vec<&'static str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a type or some")
        }

        fn visit_borrowed_str<E>(self, name: &'static str) -> Result<Self::Value, E> {
            Ok(vec![name])
        }

        fn visit_seq<A: SeqAccess<'static>>(self, names: A) -> Result<Self::Value, A::Error> {
            Deserialize::deserialize(SeqAccessDeserializer::new(names))
        }
    }

    deserializer.deserialize_any(OneOrMore)
}

fn unless_flag<D: Deserializer<'static>>(deserializer: D) -> Result<Option<Box<Schema>>, D::Error> {
    struct UnlessFlag;

    impl Visitor<'static> for UnlessFlag {
        type Value = Option<Box<Schema>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a schema or a flag")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'static>>(self, schema: A) -> Result<Self::Value, A::Error> {
            Deserialize::deserialize(MapAccessDeserializer::new(schema)).map(Some)
        }
    }

    deserializer.deserialize_any(UnlessFlag)
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;
    use schemars::transform::{RecursiveTransform, Transform};
    use schemars::{Schema, SchemaGenerator};
    use serde_json::{Value, json};

    use crate::config::document::Document;

    #[test]
    fn the_schema_is_that_of_the_types() {
        let made = serde_json::to_string_pretty(&made()).unwrap() + "\n";
        if made != include_str!("schema.json") {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/schema.json"), made).unwrap();
            panic!("`schema.json` was not that of the types; it is written anew: review and commit it");
        }
    }

    fn made() -> Value {
        let generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
        let mut schema = generator.into_root_schema_for::<Document>();
        RecursiveTransform(without_null).transform(&mut schema);
        schema.insert("examples".to_owned(), json!([example()]));
        schema.to_value()
    }

    /// A key is left out rather than set to nothing: `Option` in the types must not allow `null` in the document.
    fn without_null(schema: &mut Schema) {
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(values)) = object.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
        if let Some(Value::Array(branches)) = object.get_mut("anyOf") {
            branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
            if let [Value::Object(only)] = branches.as_slice() {
                let only = only.clone();
                object.remove("anyOf");
                for (key, value) in only {
                    object.entry(key).or_insert(value);
                }
            }
        }
    }

    fn example() -> Value {
        json!({
            "version": 1,
            "state": "file:.lakekey",
            "identities": {
                "dbx-admin": { "auth": "oauth-m2m", "client_id": "2c8e0000-0000-4000-8000-000000000001", "client_secret": "env:DBX_ADMIN_SECRET" },
                "powerbi": {
                    "auth": "azure-client-secret",
                    "tenant_id": "63ed0000-0000-4000-8000-000000000002",
                    "client_id": "725c0000-0000-4000-8000-000000000003",
                    "client_secret": "env:POWERBI_SECRET",
                },
            },
            "credentials": {
                "sales-bi": {
                    "workspace": "https://adb-1234567890123456.7.azuredatabricks.net",
                    "identity": "dbx-admin",
                    "service_principal": "pbi-sales",
                    "store": "file:secrets/sales-bi.json",
                    "targets": { "identity": "powerbi", "select": [{ "workspace": "Sales", "dataset": "Orders" }] },
                },
            },
        })
    }
}
