//! What Power BI and Fabric answer here, against Microsoft's own definitions: required properties, types, closed enums,
//! formats, and no property that the definitions don't know.
//!
//! The specs lie beside the repository, or where `LAKEKEY_SPECS` says. Without them the test is skipped, but not in CI.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Value, json};

use lakekey_sim::Scanner;

use crate::client::{Answer, FABRIC, PBI, cloud, dataset_of, fabric, get, minted, powerbi, send, source_url, target};

/// Found in real answers, missing from the definitions.
const BEYOND: [&str; 1] = ["privacyLevel"];

struct Specs {
    root: PathBuf,
    files: RefCell<BTreeMap<PathBuf, Rc<Value>>>,
}

/// A schema and the file that its references are relative to.
#[derive(Clone)]
struct Schema {
    file: PathBuf,
    value: Value,
}

impl Specs {
    fn find() -> Option<Self> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/specs");
        let root = option_env("LAKEKEY_SPECS").map_or(beside, PathBuf::from);
        if root.is_dir() {
            return Some(Self { root, files: RefCell::default() });
        }
        assert!(option_env("CI").is_none(), "the specs are missing at {}", root.display());
        eprintln_skip(&root);
        None
    }

    fn load(&self, file: &Path) -> Rc<Value> {
        if let Some(known) = self.files.borrow().get(file) {
            return Rc::clone(known);
        }
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = Rc::new(serde_json::from_str::<Value>(&text).expect("a spec is JSON"));
        self.files.borrow_mut().insert(file.to_owned(), Rc::clone(&parsed));
        parsed
    }

    /// The schema of an operation's answer.
    fn answer(&self, file: &str, path: &str, method: &str, status: &str) -> Schema {
        let file = self.root.join(file);
        let value = self.load(&file)["paths"][path][method]["responses"][status]["schema"].clone();
        assert!(value.is_object(), "{path} has no schema for {status}");
        Schema { file, value }
    }

    fn definition(&self, file: &str, name: &str) -> Schema {
        let file = self.root.join(file);
        let value = self.load(&file)["definitions"][name].clone();
        assert!(value.is_object(), "no definition {name}");
        Schema { file, value }
    }

    fn follow(&self, schema: &Schema) -> Schema {
        let Some(reference) = schema.value["$ref"].as_str() else { return schema.clone() };
        let (file, pointer) = reference.split_once('#').expect("a reference has a pointer");
        let file = if file.is_empty() { schema.file.clone() } else { schema.file.parent().expect("a folder").join(file) };
        let value = self.load(&file).pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")).clone();
        self.follow(&Schema { file, value })
    }

    /// Everything wrong with a value.
    fn faults(&self, schema: &Schema, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&self.follow(schema), value, "$", &mut faults);
        faults
    }

    fn check(&self, schema: &Schema, value: &Value, at: &str, faults: &mut Vec<String>) {
        let schema = &self.narrowed(schema, value);
        let (properties, required) = self.flat(schema);
        let kind = schema.value["type"].as_str().unwrap_or(if properties.is_empty() { "" } else { "object" });
        let fits = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            _ => true,
        };
        if !fits {
            faults.push(format!("{at}: {value} is no {kind}"));
            return;
        }
        if let Some(text) = value.as_str() {
            check_text(&schema.value, text, at, faults);
        }
        for (place, row) in value.as_array().into_iter().flatten().enumerate() {
            let items = Schema { file: schema.file.clone(), value: schema.value["items"].clone() };
            self.check(&self.follow(&items), row, &format!("{at}[{place}]"), faults);
        }
        let Some(object) = value.as_object() else { return };
        for name in required.iter().filter(|name| !object.contains_key(*name)) {
            faults.push(format!("{at}: {name} is missing"));
        }
        for (name, inner) in object {
            let place = format!("{at}.{name}");
            match properties.get(&name.to_lowercase()) {
                Some(schema) => self.check(&self.follow(schema), inner, &place, faults),
                None if properties.is_empty() || name.starts_with("@odata.") || BEYOND.contains(&name.as_str()) => {}
                None => faults.push(format!("{place} is not in the definitions")),
            }
        }
    }

    /// The derived definition that the discriminator picks.
    fn narrowed(&self, schema: &Schema, value: &Value) -> Schema {
        let picked = schema.value["discriminator"].as_str().and_then(|property| value[property].as_str());
        let Some(picked) = picked else { return schema.clone() };
        let all = self.load(&schema.file);
        let derived = all["definitions"].as_object().into_iter().flat_map(serde_json::Map::values).find(|candidate| {
            let from_here =
                |base: &Value| self.follow(&Schema { file: schema.file.clone(), value: base.clone() }).value == schema.value;
            candidate["x-ms-discriminator-value"] == picked
                && candidate["allOf"].as_array().is_some_and(|bases| bases.iter().any(from_here))
        });
        derived.map_or_else(|| schema.clone(), |value| Schema { file: schema.file.clone(), value: value.clone() })
    }

    /// Properties, by lower-case name because the Power BI definitions mix casings, and required names, with all bases'.
    fn flat(&self, schema: &Schema) -> (BTreeMap<String, Schema>, Vec<String>) {
        let (mut properties, mut required) = (BTreeMap::new(), Vec::new());
        for base in schema.value["allOf"].as_array().into_iter().flatten() {
            let (more, needed) = self.flat(&self.follow(&Schema { file: schema.file.clone(), value: base.clone() }));
            properties.extend(more);
            required.extend(needed);
        }
        for (name, value) in schema.value["properties"].as_object().into_iter().flatten() {
            properties.insert(name.to_lowercase(), Schema { file: schema.file.clone(), value: value.clone() });
        }
        required.extend(
            schema.value["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)),
        );
        (properties, required)
    }
}

fn check_text(schema: &Value, text: &str, at: &str, faults: &mut Vec<String>) {
    let extensible = schema["x-ms-enum"]["modelAsString"] == true || schema["x-ms-enum"]["modelAsExtensible"] == true;
    if let Some(known) = schema["enum"].as_array() {
        // An extensible enum may grow, but what is simulated here should be known today.
        if !known.iter().any(|word| word == text) {
            faults.push(format!("{at}: {text} is not in the {} enum", if extensible { "extensible" } else { "closed" }));
        }
    }
    let fits = match schema["format"].as_str() {
        Some("uuid") => uuid::Uuid::parse_str(text).is_ok(),
        // Refresh details have times without a zone, in the official example too.
        Some("date-time") => text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok(),
        _ => true,
    };
    if !fits {
        faults.push(format!("{at}: {text} has not the format {}", schema["format"]));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn option_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn eprintln_skip(root: &Path) {
    eprintln!("skipped: no specs at {}", root.display());
}

const POWERBI: &str = "powerbi/swagger.json";
const PLATFORM: &str = "fabric/platform/swagger.json";

#[tokio::test(start_paused = true)]
async fn powerbi_answers_as_its_definitions_say() {
    let Some(specs) = Specs::find() else { return };
    let cloud = cloud();
    let token = powerbi(&cloud).await;
    let on_premises = target(&cloud, "OnPremisesGateway", false);
    let (group, dataset) = dataset_of(&cloud, &on_premises);
    let refreshes = format!("/groups/{group}/datasets/{dataset}/refreshes");
    assert_eq!(send(&cloud, "POST", &format!("{PBI}{refreshes}"), &token, None).await.status, 202);
    cloud.advance(std::time::Duration::from_secs(10));
    let check = async |path: &str, of: &str| {
        let answer = get(&cloud, &format!("{PBI}{path}"), &token).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let schema = specs.answer(POWERBI, &format!("/v1.0/myorg{of}"), "get", "200");
        assert_eq!(specs.faults(&schema, &answer.json), Vec::<String>::new(), "{path}");
    };
    check("/groups", "/groups").await;
    let groups = get(&cloud, &format!("{PBI}/groups"), &token).await.json;
    for group in groups["value"].as_array().expect("a list") {
        let id = group["id"].as_str().expect("an id");
        check(&format!("/groups/{id}/datasets"), "/groups/{groupId}/datasets").await;
        let datasets = get(&cloud, &format!("{PBI}/groups/{id}/datasets"), &token).await.json;
        for dataset in datasets["value"].as_array().expect("a list") {
            let path = format!("/groups/{id}/datasets/{}/datasources", dataset["id"].as_str().expect("an id"));
            check(&path, "/groups/{groupId}/datasets/{datasetId}/datasources").await;
        }
    }
    for group in groups["value"].as_array().expect("a list") {
        let id = group["id"].as_str().expect("an id");
        for (kind, key, of) in [("dataflows", "objectId", "dataflowId"), ("reports", "id", "reportId")] {
            check(&format!("/groups/{id}/{kind}"), &format!("/groups/{{groupId}}/{kind}")).await;
            let items = get(&cloud, &format!("{PBI}/groups/{id}/{kind}"), &token).await.json;
            for item in items["value"].as_array().expect("a list") {
                let path = format!("/groups/{id}/{kind}/{}/datasources", item[key].as_str().expect("an id"));
                check(&path, &format!("/groups/{{groupId}}/{kind}/{{{of}}}/datasources")).await;
            }
        }
    }
    check(&refreshes, "/groups/{groupId}/datasets/{datasetId}/refreshes").await;
    let enhanced = send(&cloud, "POST", &format!("{PBI}{refreshes}"), &token, Some(json!({ "type": "Full" }))).await;
    cloud.advance(std::time::Duration::from_secs(10));
    let place = enhanced.headers["location"].to_str().expect("text").replace(PBI, "");
    check(&place, "/groups/{groupId}/datasets/{datasetId}/refreshes/{refreshId}").await;
    check("/gateways", "/gateways").await;
    let gateway = format!("/gateways/{}", on_premises.gateway);
    check(&gateway, "/gateways/{gatewayId}").await;
    check(&format!("{gateway}/datasources"), "/gateways/{gatewayId}/datasources").await;
    let one = source_url(&on_premises).replace(PBI, "");
    check(&one, "/gateways/{gatewayId}/datasources/{datasourceId}").await;
}

#[tokio::test(start_paused = true)]
async fn the_scanner_answers_as_its_definitions_say() {
    let Some(specs) = Specs::find() else { return };
    let cloud = cloud();
    cloud.configure(|settings| settings.scanner = Scanner::Open);
    let token = powerbi(&cloud).await;
    let check = |answer: &Answer, of: &str, method: &str, status: &str| {
        assert_eq!(answer.status.to_string(), status, "{}", answer.text);
        let schema = specs.answer(POWERBI, &format!("/v1.0/myorg/admin/workspaces/{of}"), method, status);
        assert_eq!(specs.faults(&schema, &answer.json), Vec::<String>::new(), "{of}");
    };
    let listed = get(&cloud, &format!("{PBI}/admin/workspaces/modified"), &token).await;
    check(&listed, "modified", "get", "200");
    let ids: Vec<&str> = listed.json.as_array().expect("a list").iter().filter_map(|row| row["id"].as_str()).collect();
    let start = format!("{PBI}/admin/workspaces/getInfo?lineage=True&datasourceDetails=True");
    let started = send(&cloud, "POST", &start, &token, Some(json!({ "workspaces": ids }))).await;
    check(&started, "getInfo", "post", "202");
    let scan = started.json["id"].as_str().expect("an id");
    let status = format!("{PBI}/admin/workspaces/scanStatus/{scan}");
    check(&get(&cloud, &status, &token).await, "scanStatus/{scanId}", "get", "200");
    let result = format!("{PBI}/admin/workspaces/scanResult/{scan}");
    assert_eq!(get(&cloud, &result, &token).await.status, 404, "it has not ended");
    cloud.advance(std::time::Duration::from_secs(10));
    let result = get(&cloud, &result, &token).await;
    check(&result, "scanResult/{scanId}", "get", "200");
    assert!(result.json["datasourceInstances"].as_array().is_some_and(|instances| instances.len() > 8), "{}", result.text);
}

#[tokio::test(start_paused = true)]
async fn the_scanner_takes_what_its_reference_says_and_no_more() {
    let cloud = cloud();
    let token = powerbi(&cloud).await;
    let modified = format!("{PBI}/admin/workspaces/modified");
    assert_eq!(get(&cloud, &modified, &token).await.status, 401);
    cloud.configure(|settings| settings.scanner = Scanner::Open);
    let info = format!("{PBI}/admin/workspaces/getInfo");
    let id = |number: usize| format!("00000000-0000-4000-8000-{number:012}");
    let ids = |count: usize| json!({ "workspaces": (0..count).map(id).collect::<Vec<_>>() });
    for body in [ids(0), ids(101), json!({}), json!({ "workspaces": ["x"] }), json!({ "workspaces": [id(1), id(1)] })] {
        assert_eq!(send(&cloud, "POST", &info, &token, Some(body)).await.status, 400);
    }
    for query in ["colour=True", "lineage=maybe"] {
        assert_eq!(send(&cloud, "POST", &format!("{info}?{query}"), &token, Some(ids(1))).await.status, 400);
    }
    for _ in 0..16 {
        assert_eq!(send(&cloud, "POST", &info, &token, Some(ids(100))).await.status, 202);
    }
    assert_eq!(send(&cloud, "POST", &info, &token, Some(ids(1))).await.status, 429, "sixteen at once");
    for _ in 0..30 {
        assert_eq!(get(&cloud, &modified, &token).await.status, 200);
    }
    let refused = get(&cloud, &modified, &token).await;
    assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (429, true));
    cloud.advance(std::time::Duration::from_secs(3_601));
    let token = powerbi(&cloud).await;
    assert_eq!(get(&cloud, &modified, &token).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn fabric_answers_as_its_definitions_say() {
    let Some(specs) = Specs::find() else { return };
    let cloud = cloud();
    cloud.configure(|settings| settings.page = 100);
    let token = fabric(&cloud).await;
    let check = async |method: &str, path: &str, of: &str, body: Option<Value>| {
        let answer = send(&cloud, method, &format!("{FABRIC}{path}"), &token, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let schema = specs.answer(PLATFORM, of, &method.to_lowercase(), "200");
        assert_eq!(specs.faults(&schema, &answer.json), Vec::<String>::new(), "{path}");
        answer.json
    };
    let connections = check("GET", "/connections", "/connections", None).await;
    for connection in connections["value"].as_array().expect("a list") {
        let path = format!("/connections/{}", connection["id"].as_str().expect("an id"));
        check("GET", &path, "/connections/{connectionId}", None).await;
        check("POST", &format!("{path}/testConnection"), "/connections/{connectionId}/testConnection", None).await;
    }
    let gateways = check("GET", "/gateways", "/gateways", None).await;
    for gateway in gateways["value"].as_array().expect("a list") {
        let path = format!("/gateways/{}", gateway["id"].as_str().expect("an id"));
        check("GET", &path, "/gateways/{gatewayId}", None).await;
        if gateway["type"] == "OnPremises" {
            check("GET", &format!("{path}/members"), "/gateways/{gatewayId}/members", None).await;
        }
    }
    let (_, value) = minted(&cloud).await;
    let network = target(&cloud, "VirtualNetworkGateway", false);
    let credentials = json!({ "credentialType": "Basic", "username": cloud.cast().principal.application_id, "password": value });
    let body = json!({ "connectivityType": "VirtualNetworkGateway", "credentialDetails": { "credentials": credentials } });
    let request = specs.definition("fabric/platform/definitions/connections.json", "UpdateConnectionRequest");
    assert_eq!(specs.faults(&request, &body), Vec::<String>::new(), "the tests' own request is as the spec has it");
    check("PATCH", &format!("/connections/{}", network.id), "/connections/{connectionId}", Some(body)).await;

    cloud.configure(|settings| settings.connection_test_time = std::time::Duration::from_secs(5));
    let test = format!("{FABRIC}/connections/{}/testConnection", network.id);
    let started = send(&cloud, "POST", &test, &token, None).await;
    let operation = format!("/operations/{}", started.headers["x-ms-operation-id"].to_str().expect("text"));
    check("GET", &operation, "/operations/{operationId}", None).await;

    let refused = get(&cloud, &format!("{FABRIC}/connections/nothing"), &token).await.json;
    let error = specs.definition("fabric/common/definitions.json", "ErrorResponse");
    assert_eq!(specs.faults(&error, &refused), Vec::<String>::new());
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let Some(specs) = Specs::find() else { return };
    let gateway = specs.definition(POWERBI, "Gateway");
    let connection = specs.definition("fabric/platform/definitions/connections.json", "Connection");
    let refresh = specs.definition(POWERBI, "Refresh");
    let id = "6952a7b2-aea3-414f-9d85-6c0fe5d34539";
    let with = |kind: &str, more: Value| {
        let mut body = json!({ "id": id, "connectivityType": kind, "connectionDetails": { "type": "SQL", "path": "a;b" } });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    for (schema, value, complaint) in [
        (&gateway, json!({ "name": "x" }), "id is missing"),
        (&gateway, json!({ "id": "x" }), "has not the format"),
        (&gateway, json!({ "id": id, "publicKey": { "modulus": 1 } }), "is no string"),
        (&gateway, json!({ "id": id, "color": "red" }), "color is not in the definitions"),
        (&gateway, json!([]), "is no object"),
        (&refresh, json!({ "startTime": "yesterday" }), "has not the format"),
        (&refresh, json!({ "refreshType": "Wished" }), "is not in the extensible enum"),
        (&connection, with("Nowhere", json!({})), "is not in the extensible enum"),
        (&connection, json!({ "id": id, "connectivityType": "None" }), "connectionDetails is missing"),
        (&connection, with("PersonalCloud", json!({ "allowUsageInUserControlledCode": true })), "is not in the definitions"),
        (&connection, with("ShareableCloud", json!({ "connectionDetails": { "type": "SQL" } })), "path is missing"),
    ] {
        let faults = specs.faults(schema, &value);
        assert!(faults.iter().any(|fault| fault.contains(complaint)), "{value}: {faults:?}");
    }
    assert_eq!(
        specs.faults(&connection, &with("ShareableCloud", json!({ "allowUsageInUserControlledCode": true }))),
        Vec::<String>::new()
    );
}
