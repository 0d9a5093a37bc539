//! What a data source connects to. Power BI tells it in two families of keys, as an object or as JSON in a string, and
//! the Databricks connectors put JSON into its path once more; the scanner and Fabric mix the families. All are parsed
//! into one value here, so that nothing is ever compared as text.

use serde_json::{Map, Value};

use crate::ids::{Text, WarehouseId, Workspace};
use crate::targets::SourceKind;

/// A data source of one of the two Databricks connectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabricksSource {
    /// The connector.
    pub kind: SourceKind,
    /// `host[:port]`, lower case.
    pub host: Text,
    /// The HTTP path as the data source spells it.
    pub http_path: Text,
    /// The SQL warehouse that the path names; `None` for a cluster.
    pub warehouse: Option<WarehouseId>,
}

impl DatabricksSource {
    /// Reads connection details; `None` if they are not those of a Databricks connector.
    pub fn parse(details: &Value) -> Option<Self> {
        let details = unwrap(details)?;
        let kind = match text(&details, &["kind", "extensionDataSourceKind", "type"])? {
            "Databricks" => SourceKind::Databricks,
            "DatabricksMultiCloud" => SourceKind::DatabricksMultiCloud,
            _ => return None,
        };
        let path = ["path", "extensionDataSourcePath"].iter().find_map(|key| member(&details, key))?;
        let path = unwrap(path)?;
        let host = Text::new(host(text(&path, &["host"])?)?);
        let http_path = Text::new(text(&path, &["httpPath"]).unwrap_or_default());
        let warehouse = warehouse(&http_path);
        Some(Self { kind, host, http_path, warehouse })
    }

    /// Whether both name the same place: connector, host, and warehouse or else path.
    pub fn same_place(&self, kind: SourceKind, host: &str, warehouse: Option<&WarehouseId>, http_path: &str) -> bool {
        self.kind == kind
            && self.host.eq_ignore_ascii_case(host)
            && self.warehouse.as_ref() == warehouse
            && (warehouse.is_some() || self.http_path.trim_matches('/') == http_path.trim_matches('/'))
    }
}

/// The object in `value`, which may be wrapped in JSON text a few times over.
fn unwrap(value: &Value) -> Option<Map<String, Value>> {
    const LAYERS_MAX: u32 = 4;
    let mut value = value.clone();
    for _ in 0..LAYERS_MAX {
        value = match value {
            Value::Object(object) => return Some(object),
            Value::String(text) => serde_json::from_str(&text).ok()?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return None,
        };
    }
    None
}

/// A member that is there and not null, whatever the case of its key: Power BI's own documents disagree about it.
fn member<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.iter().find(|(name, value)| name.eq_ignore_ascii_case(key) && !value.is_null()).map(|(_, value)| value)
}

fn text<'a>(object: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| member(object, key)?.as_str())
}

/// People paste whole addresses; the config reads them with the same function.
fn host(text: &str) -> Option<String> {
    let workspace = Workspace::parse(text.trim()).ok()?;
    Some(workspace.host().trim_end_matches('.').to_owned())
}

fn warehouse(http_path: &str) -> Option<WarehouseId> {
    let path = http_path.split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<_> = path.split('/').map(str::trim).filter(|part| !part.is_empty()).collect();
    match parts[..] {
        ["sql", "1.0", "warehouses" | "endpoints", id] if id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Some(WarehouseId::new(id.to_ascii_lowercase()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const HOST: &str = "adb-1.7.azuredatabricks.net";

    fn warehouse_source(kind: SourceKind) -> DatabricksSource {
        DatabricksSource {
            kind,
            host: HOST.into(),
            http_path: "/sql/1.0/warehouses/0123456789abcdef".into(),
            warehouse: Some(WarehouseId::new("0123456789abcdef")),
        }
    }

    #[test]
    fn a_real_gateway_answer_with_three_layers_is_read() {
        let body = r#"{"connectionDetails":"{\"extensionDataSourceKind\":\"Databricks\",\"extensionDataSourcePath\":\"{\\\"host\\\":\\\"adb-1.7.azuredatabricks.net\\\",\\\"httpPath\\\":\\\"\\\\/sql\\\\/1.0\\\\/warehouses\\\\/0123456789abcdef\\\"}\"}"}"#;
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(DatabricksSource::parse(&body["connectionDetails"]), Some(warehouse_source(SourceKind::Databricks)));
    }

    #[test]
    fn every_family_and_wrapping_reads_the_same() {
        let path = json!({"host": "ADB-1.7.AzureDatabricks.net", "httpPath": "/sql/1.0/warehouses/0123456789abcdef"});
        let (kind, expected) = ("DatabricksMultiCloud", Some(warehouse_source(SourceKind::DatabricksMultiCloud)));
        for path in [path.clone(), Value::String(path.to_string())] {
            for details in [
                json!({"kind": kind, "path": path}),
                json!({"Kind": kind, "Path": path}),
                json!({"type": kind, "path": path}),
                json!({"extensionDataSourceKind": kind, "extensionDataSourcePath": path, "kind": null}),
            ] {
                assert_eq!(DatabricksSource::parse(&details), expected);
                assert_eq!(DatabricksSource::parse(&Value::String(details.to_string())), expected);
            }
        }
    }

    #[test]
    fn other_connectors_and_half_answers_are_not_ours() {
        let path = json!({"host": HOST, "httpPath": "/sql/1.0/warehouses/1"}).to_string();
        for details in [
            json!(null),
            json!(7),
            json!([]),
            json!("not json"),
            json!({}),
            json!({"server": "sql.contoso.com", "database": "sales"}),
            json!({"path": path}),
            json!({"kind": "databricks", "path": path}),
            json!({"kind": "DatabricksX", "path": path}),
            json!({"kind": "AzureDatabricksWorkspace", "path": path}),
            json!({"kind": "Snowflake", "path": "DB_CONNECT_STRING"}),
            json!({"kind": "Databricks"}),
            json!({"kind": "Databricks", "path": HOST}),
            json!({"kind": "Databricks", "path": {"httpPath": "/sql/1.0/warehouses/1"}}),
            json!({"kind": "Databricks", "path": {"host": "user:pass@adb-1", "httpPath": "/"}}),
        ] {
            assert_eq!(DatabricksSource::parse(&details), None, "{details}");
        }
    }

    #[test]
    fn only_warehouse_paths_name_a_warehouse() {
        for (path, id) in [
            ("/sql/1.0/warehouses/abc1", Some("abc1")),
            ("/sql/1.0/endpoints/abc1", Some("abc1")),
            ("sql/1.0/warehouses/ABC1/", Some("abc1")),
            ("/sql/1.0/warehouses/abc1?o=12", Some("abc1")),
            ("/sql/1.0/warehouses/abc1/extra", None),
            ("/sql/1.0/warehouses/", None),
            ("/sql/1.0/warehouses/..%2f", None),
            ("sql/protocolv1/o/1234/0123-456789-abcdefgh", None),
            ("", None),
        ] {
            assert_eq!(warehouse(path), id.map(WarehouseId::new), "{path}");
        }
    }

    #[test]
    fn hosts_are_read_as_the_config_reads_them() {
        for text in ["adb-1.7.azuredatabricks.net", " https://ADB-1.7.azuredatabricks.net/ ", "adb-1.7.azuredatabricks.net.:443"]
        {
            assert_eq!(host(text).as_deref(), Some(HOST), "{text}");
        }
        assert_eq!(host("127.0.0.1:8443").as_deref(), Some("127.0.0.1:8443"));
    }

    #[test]
    fn a_cluster_is_told_by_its_path_and_a_warehouse_by_its_id() {
        let source = warehouse_source(SourceKind::Databricks);
        let id = WarehouseId::new("0123456789abcdef");
        assert!(source.same_place(SourceKind::Databricks, HOST, Some(&id), "/sql/1.0/endpoints/0123456789abcdef"));
        assert!(!source.same_place(SourceKind::DatabricksMultiCloud, HOST, Some(&id), ""));
        assert!(!source.same_place(SourceKind::Databricks, "other", Some(&id), ""));
        assert!(!source.same_place(SourceKind::Databricks, HOST, None, &source.http_path));
        let cluster = DatabricksSource { http_path: "sql/protocolv1/o/1/a".into(), warehouse: None, ..source };
        assert!(cluster.same_place(SourceKind::Databricks, HOST, None, "/sql/protocolv1/o/1/a"));
        assert!(!cluster.same_place(SourceKind::Databricks, HOST, None, "/sql/protocolv1/o/1/b"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(kind in "Databricks|DatabricksMultiCloud|.*", path in ".*", host in ".*", http_path in ".*") {
            let nested = json!({"host": host, "httpPath": http_path});
            for path in [Value::String(path), nested.clone(), Value::String(nested.to_string())] {
                let details = json!({"kind": kind, "path": path});
                let read = DatabricksSource::parse(&details);
                prop_assert_eq!(&read, &DatabricksSource::parse(&Value::String(details.to_string())));
                if let Some(read) = read {
                    prop_assert_eq!(&read.host, &Text::from(read.host.to_lowercase()));
                    prop_assert!(read.warehouse.is_none_or(|id| !id.as_str().is_empty() && !id.as_str().contains('/')));
                }
            }
            DatabricksSource::parse(&Value::String(kind));
        }
    }
}
