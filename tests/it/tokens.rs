//! Tokens for programs on this machine: `token`, `exec` and the metadata service, as the binary over real sockets.

use std::process::Output;
use std::time::Duration;

use jiff::Timestamp;
use lakekey_core::clock::Clock;
use lakekey_core::ids::Workspace;
use lakekey_sim::{Fleet, Settings};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::support::Bench;
use crate::town::{Town, ended, interrupt, terminate};

/// What a program gets at an address.
struct Got {
    status: u16,
    body: Value,
}

/// Asks as a Databricks SDK does, with these headers in place of its own.
async fn ask(url: &str, headers: &[(&str, &str)]) -> Got {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let mut head = format!("GET /{path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str(&format!("host: {authority}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("cache-control: no-store"), "{head}");
    Got { status: head.split(' ').nth(1).unwrap().parse().unwrap(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
}

/// `lakekey serve`, and where it hands out tokens.
async fn serving(town: &Town) -> (Child, String) {
    let mut child = town.start(&["serve", "--listen", "127.0.0.1:0"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    (child, ready["metadata_service_url"].as_str().unwrap_or_default().to_owned())
}

fn host(town: &Town, index: usize) -> String {
    town.served.cloud.addresses().databricks[index].clone()
}

/// Runs a command under `exec`.
async fn exec(town: &Town, words: &[&str]) -> Output {
    let child = town.start_plainly(&[&["exec", "--"], words].concat());
    tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap()
}

/// A command that is not even started.
async fn refused(town: &Town, words: &[&str]) -> (i32, Value) {
    ended(town.start_plainly(&[&["--output", "json", "exec"], words].concat())).await
}

/// Whether a token opens the workspace.
async fn opens(town: &Town, token: &str) -> bool {
    let url = format!("{}/api/2.0/preview/scim/v2/Me", host(town, 0));
    let authority = url.strip_prefix("http://").unwrap().split_once('/').unwrap().0.to_owned();
    let mut stream = TcpStream::connect(&authority).await.unwrap();
    let request = format!(
        "GET /api/2.0/preview/scim/v2/Me HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn a_token_is_printed_as_the_databricks_cli_prints_one() {
    let town = Town::new().await;
    let workspace = host(&town, 0);
    let before = Clock::wall().now();
    for words in [
        vec!["token", "--host", &workspace],
        vec!["token", "--host", &workspace, "--identity", "dbx-admin"],
        // As SDKs call the Databricks CLI.
        vec!["auth", "token", "--host", &workspace],
        vec!["auth", "token", "--host", &workspace, "--force-refresh"],
    ] {
        let (status, answer) = town.run(&words).await;
        assert_eq!((status, answer["token_type"].as_str()), (0, Some("Bearer")), "{words:?}: {answer}");
        assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");
        assert!(opens(&town, answer["access_token"].as_str().unwrap()).await);
        let expiry: Timestamp = answer["expiry"].as_str().unwrap().parse().unwrap();
        let left = expiry.duration_since(before).as_secs();
        assert!((3_500..=3_660).contains(&left), "{answer}");
    }
    let (status, version) = town.run(&["version"]).await;
    assert_eq!((status, &version["Minor"]), (0, &json!(296)), "{version}");
}

#[tokio::test]
async fn a_profile_names_the_workspace() {
    let mut town = Town::new().await;
    let file = town.folder.path().join("profiles");
    std::fs::write(&file, format!("[sales]\nhost = {}\n", host(&town, 0))).unwrap();
    town.set("DATABRICKS_CONFIG_FILE", file.to_str().unwrap());
    assert_eq!(town.run(&["auth", "token", "--profile", "sales"]).await.0, 0);
    let (status, answer) = town.run(&["auth", "token", "--profile", "other"]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (2, Some("unknown-profile")), "{answer}");
}

#[tokio::test]
async fn nobody_is_signed_in_where_the_config_does_not_say_so() {
    let town = Town::new().await;
    let (first, second) = (host(&town, 0), host(&town, 1));
    for (words, code) in [
        (vec!["token"], "host-missing"),
        (vec!["token", "--host", "not a host"], "bad-host"),
        (vec!["token", "--host", &second], "host-not-brokered"),
        (vec!["token", "--host", &first, "--identity", "nobody"], "unknown-identity"),
    ] {
        let (status, answer) = town.run(&words).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (2, Some(code)), "{words:?}: {answer}");
    }
    let (status, answer) = refused(&town, &["--host", &second, "--", "true"]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (2, Some("host-not-brokered")), "{answer}");
    // A host that credentials may not go to is refused before anything is sent.
    let (status, answer) = town.run(&["token", "--host", "https://example.com", "--identity", "dbx-admin"]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (2, Some("forbidden-host")), "{answer}");
    town.change_config(|config| drop(config.as_object_mut().unwrap().remove("broker")));
    let (status, answer) = refused(&town, &["true"]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (2, Some("broker-off")), "{answer}");
    assert_eq!(serving(&town).await.1, "", "no broker, no address");
}

#[tokio::test]
async fn the_metadata_service_answers_programs_on_this_machine_and_nobody_else() {
    let town = Town::new().await;
    let (mut process, url) = serving(&town).await;
    let workspace = host(&town, 0);
    let version = ("x-databricks-metadata-version", "1");
    let asked = ("x-databricks-host", workspace.as_str());

    let got = ask(&url, &[version, asked]).await;
    assert_eq!((got.status, got.body["token_type"].as_str()), (200, Some("Bearer")), "{}", got.body);
    assert!(opens(&town, got.body["access_token"].as_str().unwrap()).await);
    let left = got.body["expires_on"].as_i64().unwrap() - Clock::wall().now().as_second();
    assert!((3_500..=3_660).contains(&left), "{}", got.body);
    // However a program writes the workspace, and whatever it calls this machine.
    let with_slash = format!("{workspace}/");
    assert_eq!(ask(&url, &[version, ("x-databricks-host", &with_slash)]).await.status, 200);
    let port = url.split(['/', ':']).nth(4).unwrap();
    let (localhost, other_port) = (format!("localhost:{port}"), "127.0.0.1:1");
    assert_eq!(ask(&url, &[version, asked, ("host", &localhost)]).await.status, 200);

    let other = host(&town, 1);
    for (headers, status, code) in [
        (vec![asked], 400, "metadata-version"),
        (vec![("x-databricks-metadata-version", "2"), asked], 400, "metadata-version"),
        (vec![version], 400, "metadata-host"),
        (vec![version, ("x-databricks-host", "")], 400, "metadata-host"),
        (vec![version, ("x-databricks-host", &other)], 404, "host-not-brokered"),
        (vec![version, ("x-databricks-host", "https://example.com")], 404, "host-not-brokered"),
        (vec![version, asked, ("host", "evil.example")], 403, "foreign-host"),
        (vec![version, asked, ("host", other_port)], 403, "foreign-host"),
        (vec![version, asked, ("origin", "https://evil.example")], 403, "foreign-origin"),
        (vec![version, asked, ("origin", "null")], 403, "foreign-origin"),
        (vec![version, asked, ("sec-fetch-site", "cross-site")], 403, "foreign-origin"),
        (vec![version, asked, ("x-forwarded-for", "10.0.0.1")], 403, "foreign-origin"),
    ] {
        let got = ask(&url, &headers).await;
        assert_eq!((got.status, got.body["code"].as_str()), (status, Some(code)), "{headers:?}: {}", got.body);
        assert!(!got.body.to_string().contains("eyJ"), "{}", got.body);
    }
    // Without its segment, or with another of the same length, there is no such call.
    let (base, segment) = url.rsplit_once('/').unwrap();
    assert!(segment.len() >= 32, "{segment}");
    for path in [base.to_owned(), format!("{base}/"), format!("{base}/{}", "0".repeat(segment.len()))] {
        let got = ask(&path, &[version, asked]).await;
        assert_eq!((got.status, got.body["code"].as_str()), (404, Some("no-such-call")), "{}", got.body);
        assert!(!got.body.to_string().contains(segment));
    }
    terminate(&process).await;
    assert!(process.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_server_that_others_can_reach_hands_out_no_tokens() {
    let town = Town::new().await;
    for words in [&["serve", "--listen", "127.0.0.1:0", "--behind-tls"], &["serve", "--listen", "0.0.0.0:0", "--behind-tls"]] {
        let mut child = town.start(words);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        assert!(!line.contains("metadata_service_url"), "{line}");
        assert!(line.contains("address"), "{line}");
    }
}

#[tokio::test]
async fn a_command_finds_its_way_to_tokens_in_its_environment_and_no_other_sign_in() {
    let mut town = Town::new().await;
    town.set("DATABRICKS_TOKEN", "dapi-of-somebody");
    town.set("DATABRICKS_CLIENT_SECRET", "dose-of-somebody");
    town.set("DATABRICKS_CONFIG_PROFILE", "somebody");
    let output = exec(&town, &["/usr/bin/env"]).await;
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned);
    assert_eq!(value("DATABRICKS_HOST"), Some(host(&town, 0)));
    assert_eq!(value("DATABRICKS_AUTH_TYPE").as_deref(), Some("metadata-service"));
    let url = value("DATABRICKS_METADATA_SERVICE_URL").unwrap();
    assert!(url.starts_with("http://127.0.0.1:") && url.len() > 60, "{url}");
    assert!(!said.contains("somebody"), "{said}");
    // The address is gone with the command.
    assert!(TcpStream::connect(url.strip_prefix("http://").unwrap().split('/').next().unwrap()).await.is_err());
    // And another run has another.
    let again = String::from_utf8(exec(&town, &["/usr/bin/env"]).await.stdout).unwrap();
    assert!(!again.contains(url.rsplit('/').next().unwrap()));
}

#[tokio::test]
async fn a_command_does_not_inherit_what_lakekey_signs_in_with() {
    let mut town = Town::new().await;
    town.set("MY_OIDC", "foreign-token");
    town.set("AZURE_CLIENT_SECRET", "of-another-program");
    town.change_config(|config| config["identities"]["ci"] = json!({ "auth": "env-oidc", "oidc_token_env": "MY_OIDC" }));
    let secrets = town.environment().to_vec();
    let output = exec(&town, &["/usr/bin/env"]).await;
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let config = std::fs::read_to_string(town.folder.path().join("lakekey.yaml")).unwrap();
    let referred = |name: &str| config.contains(&format!("env:{name}")) || name == "MY_OIDC";
    assert!(secrets.iter().filter(|(name, _)| referred(name)).count() >= 3, "{config}");
    for (name, value) in secrets.iter().filter(|(name, _)| referred(name)) {
        assert!(!said.contains(name) && !said.contains(value), "{name}: {said}");
    }
    // What is nobody's but the command's own is left to it.
    assert!(said.contains("AZURE_CLIENT_SECRET=of-another-program"), "{said}");
}

#[tokio::test]
async fn a_token_is_kept_for_the_next_call_and_a_corrupt_one_costs_a_fetch() {
    let mut town = Town::new().await;
    let folder = town.folder.path().join("kept");
    town.set("LAKEKEY_SIGN_INS", folder.to_str().unwrap());
    let workspace = host(&town, 0);
    let asked = |town: &Town| town.served.cloud.requests().len();
    let token = async |words: &[&str]| {
        let (status, answer) = town.run(&[&["token", "--host", &workspace], words].concat()).await;
        assert_eq!(status, 0, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let first = token(&[]).await;
    assert_eq!((token(&[]).await, asked(&town)), (first.clone(), 1), "the second call sends nothing");
    assert_ne!(token(&["--force-refresh"]).await, first);
    for bytes in [&b"{\"version\":1,\"ke"[..], b"", b"\xff\xfe"] {
        let before = asked(&town);
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::write(entry, bytes).unwrap();
        }
        assert!(opens(&town, &token(&[]).await).await);
        assert!(asked(&town) > before, "{bytes:?}");
        token(&[]).await;
    }
}

#[tokio::test]
async fn the_exit_status_of_a_command_is_that_of_exec() {
    let town = Town::new().await;
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 128 + 15)] {
        assert_eq!(exec(&town, &["sh", "-c", script]).await.status.code(), Some(code), "{script}");
    }
    let (status, answer) = refused(&town, &["--", "/nonexistent/program"]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (2, Some("command-unusable")), "{answer}");
    // Nothing is started for somebody who can't be signed in.
    let marker = town.folder.path().join("started");
    town.change_config(|config| config["identities"]["dbx-admin"]["client_secret"] = json!("env:NOT_SET"));
    let (status, answer) = refused(&town, &["--", "touch", marker.to_str().unwrap()]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (1, Some("secret-missing")), "{answer}");
    assert!(!marker.exists());
}

#[tokio::test]
async fn signals_are_passed_on_and_the_command_ends_first() {
    let town = Town::new().await;
    for (by_person, name) in [(true, "INT"), (false, "TERM")] {
        let script = format!("trap 'echo caught {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done");
        let mut child = town.start_plainly(&["exec", "--", "sh", "-c", &script]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
        if by_person {
            interrupt(&child).await
        } else {
            terminate(&child).await
        }
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(format!("caught {name}").as_str()));
        assert_eq!(child.wait().await.unwrap().code(), Some(9));
    }
}

#[tokio::test]
async fn no_token_is_in_a_process_list_a_log_or_an_error() {
    let town = Town::new().await;
    // The command looks at every process while it runs, its parent's environment and arguments among them.
    let script = "ps -eo args > args.txt; cat /proc/$PPID/cmdline > parent.txt; env > env.txt; sleep 0.2";
    let child = town.start_plainly(&["-vvv", "exec", "--", "sh", "-c", script]);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |name: &str| std::fs::read_to_string(town.folder.path().join(name)).unwrap();
    let env = read("env.txt");
    let url = env.lines().find_map(|line| line.strip_prefix("DATABRICKS_METADATA_SERVICE_URL=")).unwrap();
    let segment = url.rsplit('/').next().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("get a token"), "the log has something to hide: {log}");
    for (what, text) in [("arguments", read("args.txt")), ("parent", read("parent.txt")), ("log", log)] {
        assert!(!text.contains(segment) && !text.contains("eyJ"), "{what}: {text}");
    }
    assert!(!env.contains("eyJ"), "{env}");
    // Of the token that is printed, nothing is logged.
    let printed = town.start_plainly(&["-vvv", "token", "--host", &host(&town, 0)]).wait_with_output().await.unwrap();
    assert!(String::from_utf8(printed.stdout).unwrap().contains("eyJ"));
    assert!(!String::from_utf8(printed.stderr).unwrap().contains("eyJ"));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_programs_that_miss_at_once_make_one_request() {
    let mut bench = Bench::with(&Fleet::small(1), Settings { latency: Duration::from_millis(50), ..Settings::default() });
    let workspace = bench.cloud.addresses().databricks[0].clone();
    bench.config["broker"] = json!([{ "host": workspace, "identity": "dbx-admin" }]);
    let (broker, workspace) = (bench.app().broker(), Workspace::parse(&workspace).unwrap());
    let handouts = futures::future::join_all((0..10_000).map(|_| broker.token(&workspace))).await;
    let first = handouts[0].as_ref().unwrap().token.reveal();
    assert!(handouts.iter().all(|handout| handout.as_ref().unwrap().token.reveal() == first));
    assert_eq!(bench.cloud.requests().len(), 1, "{:?}", bench.cloud.requests());
}
