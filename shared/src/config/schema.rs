//! The JSON Schema of the document. `shape.rs` checks every config against it, so what editors accept and what lakekey accepts
//! can't drift apart. It is made from the types that read the document, by the test below, and kept in `schema.json`: making it
//! takes longer than all else that is done with a config, and every process has to start.

use std::sync::LazyLock;

use serde_json::Value;

/// The JSON Schema (draft 2020-12) of `lakekey.yaml`.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("schema.json")).expect("a test has made it"));
    &SCHEMA
}

// `ROOT`, the same for `shape.rs`: `build.rs` makes it.
include!(concat!(env!("OUT_DIR"), "/schema.rs"));

/// A schema with the keywords that `schema.json` uses.
#[derive(Debug)]
pub(super) struct Schema {
    /// The name of another schema, which this one is.
    pub(super) reference: Option<&'static str>,
    definitions: Named,
    pub(super) types: &'static [&'static str],
    pub(super) properties: Named,
    /// What a key without a property must be; `None` where there may be none, or anything.
    pub(super) others: Option<&'static Self>,
    pub(super) required: &'static [&'static str],
    pub(super) items: Option<&'static Self>,
    /// The words of an enumeration.
    pub(super) choices: &'static [&'static str],
    pub(super) branches: &'static [Self],
    pub(super) minimum: Option<u64>,
    pub(super) maximum: Option<u64>,
    pub(super) description: &'static str,
}

impl Schema {
    /// The schema that a reference in this one, which is the root, means.
    pub(super) fn definition(&self, reference: &str) -> Option<&Self> {
        self.definitions.get(reference)
    }

    /// Whether a value may be of this type.
    pub(super) fn may_be(&self, name: &str) -> bool {
        self.types.contains(&name)
    }
}

/// Schemas by name.
#[derive(Debug)]
pub(super) struct Named(&'static [(&'static str, Schema)]);

impl Named {
    pub(super) fn get(&self, name: &str) -> Option<&'static Schema> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, schema)| schema)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }
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
