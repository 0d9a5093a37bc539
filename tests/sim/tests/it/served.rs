//! Over real sockets: addresses, cut connections, the control API and the config.

use std::io;
use std::net::SocketAddr;

use lakekey_sim::{Action, Fleet, Rule, Served, Settings, serve, sim_line};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn served() -> Served {
    serve(&Fleet::small(1), Settings::default()).await.expect("free ports")
}

/// One request by hand; the raw answer, empty when the connection was cut.
async fn raw(base: &str, method: &str, path: &str, body: &str) -> io::Result<String> {
    let host = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host.parse::<SocketAddr>().expect("an address")).await?;
    let kind = if body.starts_with(['{', '[']) { "application/json" } else { "text/plain" };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: {kind}\r\n");
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn json_of(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or(Value::Null)
}

#[tokio::test]
async fn every_service_has_its_port_and_the_workspaces_name_theirs() {
    let served = served().await;
    let addresses = served.cloud.addresses().clone();
    let metadata =
        raw(&addresses.databricks[1], "GET", "/oidc/.well-known/oauth-authorization-server", "").await.expect("an answer");
    assert_eq!(json_of(&metadata)["token_endpoint"], format!("{}/oidc/v1/token", addresses.databricks[1]));
    assert!(raw(&addresses.powerbi, "GET", "/v1.0/myorg/groups", "").await.expect("an answer").starts_with("HTTP/1.1 401"));
    assert!(raw(&addresses.fabric, "GET", "/v1/connections", "").await.expect("an answer").starts_with("HTTP/1.1 401"));
    let host = addresses.databricks[0].trim_start_matches("http://");
    assert!(served.cloud.sources().iter().any(|source| source.target && source.host == host));
}

#[tokio::test]
async fn a_lost_answer_is_a_cut_connection() {
    let served = served().await;
    let base = served.cloud.addresses().databricks[0].clone();
    for action in [Action::DropBefore, Action::DropAfter, Action::Refuse] {
        served.cloud.set_faults(vec![Rule::always(action)]);
        let cut = raw(&base, "GET", "/.well-known/databricks-config", "").await;
        assert!(cut.as_ref().map_or(true, String::is_empty), "{cut:?}");
    }
}

#[tokio::test]
async fn the_control_api_shows_and_moves_the_cloud() {
    let served = served().await;
    let control = served.control.clone();
    let call = async |method: &str, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        raw(&control, method, path, &body).await.expect("an answer")
    };
    let before = served.cloud.now();
    call("POST", "/advance", json!({ "seconds": 3600 })).await;
    assert!(served.cloud.now().duration_since(before).as_hours() >= 1);

    let minted = json_of(&call("POST", "/person/mint", json!({})).await);
    let (id, value) = (minted["id"].as_str().expect("an id"), minted["value"].as_str().expect("a value"));
    let truth = call("GET", "/truth", Value::Null).await;
    assert!(truth.contains(id) && !truth.contains(value));
    assert!(call("GET", "/truth?values=true", Value::Null).await.contains(value));
    assert!(call("POST", "/person/delete-secret", json!({ "id": id })).await.starts_with("HTTP/1.1 200"));
    assert!(call("POST", "/person/delete-secret", json!({ "id": id })).await.starts_with("HTTP/1.1 404"));
    assert!(call("POST", "/person/delete-secret", json!({})).await.starts_with("HTTP/1.1 400"));
    assert!(call("POST", "/person/scanner", json!({ "on": true })).await.starts_with("HTTP/1.1 200"));
    let scan = call("POST", "/person/scanner", json!({ "on": "yes" })).await;
    assert!(scan.starts_with("HTTP/1.1 400"), "{scan}");

    assert!(call("POST", "/faults", json!([{ "service": "entra", "action": "html" }])).await.starts_with("HTTP/1.1 204"));
    let page = raw(&served.cloud.addresses().entra, "GET", "/", "").await.expect("an answer");
    assert!(page.contains("<html>"));
    assert!(raw(&control, "POST", "/faults", "do=nothing").await.expect("an answer").starts_with("HTTP/1.1 400"));
    call("DELETE", "/faults", Value::Null).await;
    let seen = json_of(&call("GET", "/requests", Value::Null).await);
    assert_eq!(seen[0]["fault"], "html");
}

#[tokio::test]
async fn the_line_names_a_config_that_fits() {
    let served = served().await;
    let folder = std::env::temp_dir().join(format!("lakekey-sim-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let line = sim_line(&served, &folder).expect("it can be written");
    let text = std::fs::read_to_string(line["config"].as_str().expect("a path")).expect("the file");
    let config: Value = serde_saphyr::from_str(&text).expect("YAML");
    std::fs::remove_dir_all(&folder).expect("it is there");
    assert_eq!(config["credentials"]["sales-bi"]["workspace"], line["databricks"][0]);
    for identity in ["dbx-admin", "powerbi"] {
        let reference = config["identities"][identity]["client_secret"].as_str().expect("a reference");
        let name = reference.strip_prefix("env:").expect("from the environment");
        assert!(line["env"][name].is_string());
    }
    for key in ["entra", "powerbi", "fabric", "control"] {
        assert!(line[key].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{key}");
    }
}

#[tokio::test]
async fn one_router_can_serve_all_hosts() {
    let cloud = Fleet::small(1).build(Settings::default());
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = port.local_addr().expect("an address");
    let router = cloud.router();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(port, router).await });
    for (host, status) in [("adb-2.2.azuredatabricks.net", "200"), ("api.powerbi.com", "401"), ("example.com", "421")] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET /.well-known/databricks-config HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
    }
}

#[tokio::test]
async fn dropping_it_closes_the_ports() {
    let served = served().await;
    let base = served.cloud.addresses().entra.clone();
    drop(served);
    tokio::task::yield_now().await;
    assert!(raw(&base, "GET", "/", "").await.is_err());
}
