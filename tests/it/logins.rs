//! People who sign in, as the binary over real sockets; a test plays the browser, and the person at another one.

use std::time::Duration;

use lakekey_sim::Fleet;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::support::Bench;
use crate::town::{Town, ended};

/// A town whose config has people: one at Databricks, one in Entra by a browser, one by a code.
async fn town() -> Town {
    let mut town = Town::new().await;
    town.served.cloud.configure(|settings| settings.device_interval = Duration::from_secs(1));
    let tenant = town.served.cloud.cast().tenant.clone();
    town.change_config(|config| {
        config["identities"]["me"] = json!({ "auth": "external-browser" });
        config["identities"]["me-entra"] = json!({ "auth": "azure-browser" });
        config["identities"]["me-code"] = json!({ "auth": "azure-device-code", "tenant_id": tenant });
    });
    let folder = town.folder.path().join("sign-ins").display().to_string();
    town.set("LAKEKEY_SIGN_INS", &folder);
    town
}

fn host(town: &Town) -> String {
    town.served.cloud.addresses().databricks[0].clone()
}

/// Status and `Location` of what is at an address, as a browser gets it.
async fn get(url: &str) -> (u16, String) {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_default();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), location.to_owned())
}

/// A sign-in that has begun, and the line that tells the person what to do.
async fn begun(town: &Town, words: &[&str], marker: &str) -> (Child, String) {
    let mut child = town.start(&[&["login"], words].concat());
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let told = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(marker) {
                return Some(line);
            }
        }
        None
    };
    if let Some(line) = tokio::time::timeout(Duration::from_secs(30), told).await.expect("the person is told in time") {
        return (child, line);
    }
    panic!("nobody was told what to do: {:?}", child.wait_with_output().await);
}

/// Signs in with a browser, from beginning to end.
async fn signed_in(town: &Town, identity: &str) -> Value {
    let (child, address) = begun(town, &["--identity", identity, "--no-browser"], "http://").await;
    let (status, back) = get(&address).await;
    assert_eq!(status, 302, "{address}");
    assert_eq!(get(&back).await.0, 200);
    let (status, answer) = ended(child).await;
    assert_eq!(status, 0, "{answer}");
    answer
}

async fn token(town: &Town, identity: &str, words: &[&str]) -> (i32, Value) {
    let host = host(town);
    town.run(&[&["token", "--host", &host, "--identity", identity], words].concat()).await
}

async fn assert_token(town: &Town, identity: &str, words: &[&str]) {
    let (status, answer) = token(town, identity, words).await;
    assert!(status == 0 && answer["access_token"].is_string(), "{answer}");
}

async fn assert_login_needed(town: &Town, identity: &str) {
    let (status, answer) = token(town, identity, &[]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (1, Some("login-needed")), "{answer}");
    let hint = format!("run `lakekey login --identity {identity}`");
    assert_eq!(answer["error"]["hint"].as_str(), Some(hint.as_str()), "{answer}");
}

#[tokio::test]
async fn a_person_signs_in_with_a_browser_once_and_has_tokens_until_they_sign_out() {
    let town = town().await;
    assert_login_needed(&town, "me").await;
    for identity in ["me", "me-entra"] {
        let answer = signed_in(&town, identity).await;
        assert_eq!(answer["user"], "ada@contoso.example", "{answer}");
        // The refresh token works once only at Databricks: each use keeps the next.
        for _ in 0..3 {
            assert_token(&town, identity, &["--force-refresh"]).await;
        }
        assert_token(&town, identity, &[]).await;
    }
    // The SQL connector's names mean the same people.
    town.change_config(|config| {
        config["identities"]["me"]["auth"] = "databricks-oauth".into();
        config["identities"]["me-entra"]["auth"] = "azure-oauth".into();
    });
    for identity in ["me", "me-entra"] {
        assert_token(&town, identity, &[]).await;
    }
    let said = format!("{:?}", town.served.cloud.requests());
    assert!(!said.contains("code_verifier"), "verifiers travel in bodies");
    let (status, answer) = town.run(&["logout"]).await;
    assert_eq!((status, &answer["forgotten"]), (0, &json!(["me", "me-entra"])));
    assert_login_needed(&town, "me").await;
    assert_login_needed(&town, "me-entra").await;
}

#[tokio::test]
async fn a_browser_that_comes_back_from_another_sign_in_signs_nobody_in() {
    let town = town().await;
    let (child, address) = begun(&town, &["--identity", "me", "--no-browser"], "http://").await;
    let (_, back) = get(&address).await;
    let (base, query) = back.split_once('?').unwrap();
    // A page that knows the port, but not what was begun here; then one that knows nothing.
    assert_eq!(get(base).await.0, 400);
    let code = query.split('&').find(|pair| pair.starts_with("code=")).unwrap();
    assert_eq!(get(&format!("{base}?{code}&state=made-up")).await.0, 400);
    let (status, answer) = ended(child).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (1, Some("login-state")), "{answer}");
    assert_login_needed(&town, "me").await;
}

#[tokio::test]
async fn a_person_may_say_no() {
    let town = town().await;
    town.served.cloud.person_declines(true);
    let (child, address) = begun(&town, &["--identity", "me", "--no-browser"], "http://").await;
    let (_, back) = get(&address).await;
    assert_eq!(get(&back).await.0, 200);
    let (status, answer) = ended(child).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (1, Some("login-declined")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("The person said no"), "{answer}");

    let (child, line) = begun(&town, &["--identity", "me-code"], "enter the code").await;
    assert!(town.served.cloud.person_enters_code(line.rsplit(' ').next().unwrap(), false));
    let (status, answer) = ended(child).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (1, Some("login-declined")), "{answer}");
}

#[tokio::test]
async fn a_code_is_entered_elsewhere() {
    let town = town().await;
    let (child, line) = begun(&town, &["--identity", "me-code"], "enter the code").await;
    assert!(line.contains("https://microsoft.com/devicelogin"), "{line}");
    let code = line.rsplit(' ').next().unwrap().to_owned();
    // It is asked about a few times before the person has found their glasses.
    town.until("it was asked about", || pending(&town) > 1).await;
    assert!(town.served.cloud.person_enters_code(&code, true));
    let (status, answer) = ended(child).await;
    assert_eq!((status, answer["identity"].as_str()), (0, Some("me-code")), "{answer}");
    assert_token(&town, "me-code", &[]).await;
    // Databricks has no such sign-in.
    let (status, answer) = town.run(&["login", "--identity", "me", "--device-code"]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (2, Some("no-device-code")), "{answer}");
}

#[tokio::test]
async fn where_nobody_sees_a_browser_there_is_a_code() {
    let town = town().await;
    // No display, no terminal: the identity that would have a browser gets a code.
    let (child, line) = begun(&town, &["--identity", "me-entra"], "enter the code").await;
    assert!(town.served.cloud.person_enters_code(line.rsplit(' ').next().unwrap(), true));
    let (status, answer) = ended(child).await;
    assert_eq!((status, answer["user"].as_str()), (0, Some("ada@contoso.example")), "{answer}");
    assert_token(&town, "me-entra", &[]).await;
}

#[tokio::test]
async fn a_code_that_its_service_has_given_up_is_no_sign_in() {
    let town = town().await;
    let (child, _) = begun(&town, &["--identity", "me-code"], "enter the code").await;
    town.served.cloud.device_codes_expire();
    let (status, answer) = ended(child).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (1, Some("login-timeout")), "{answer}");
    assert_login_needed(&town, "me-code").await;
}

#[tokio::test]
async fn an_application_that_is_registered_as_a_single_page_one_signs_people_in() {
    let town = town().await;
    let application = "5f3c2a1b-0000-4000-8000-0000000005fa";
    town.served.cloud.register_single_page_app(application);
    town.change_config(|config| config["identities"]["me-entra"]["client_id"] = application.into());
    signed_in(&town, "me-entra").await;
    for _ in 0..2 {
        assert_token(&town, "me-entra", &["--force-refresh"]).await;
    }
    let refused = town.served.cloud.requests().into_iter().filter(|seen| seen.path.ends_with("/token") && seen.status == 400);
    assert_eq!(refused.count(), 5, "each is asked without `Origin` first: five are redeemed in all");
}

#[tokio::test]
async fn a_sign_in_at_entra_serves_power_bi_and_fabric_too() {
    let town = town().await;
    signed_in(&town, "me-entra").await;
    town.change_config(|config| config["credentials"]["sales-bi"]["targets"]["identity"] = "me-entra".into());
    let (_, report) = town.run(&["doctor"]).await;
    let checks = report["checks"].as_array().unwrap();
    let of_person =
        |check: &&Value| check["check"] == "sign-in" && check["subject"].as_str().unwrap().starts_with("identity me-entra");
    let sign_ins: Vec<&Value> = checks.iter().filter(of_person).collect();
    assert!(!sign_ins.is_empty(), "{report:#}");
    assert!(sign_ins.iter().all(|check| check["ok"] == true), "{sign_ins:#?}");
}

fn pending(town: &Town) -> usize {
    town.served.cloud.requests().iter().filter(|seen| seen.path.ends_with("/token") && seen.status == 400).count()
}

#[tokio::test(start_paused = true)]
async fn a_code_that_nobody_enters_is_waited_for_until_it_expires() {
    let mut bench = Bench::new(&Fleet::small(1));
    bench.config["identities"]["me"] = json!({ "auth": "azure-device-code" });
    let folder = bench.folder.path().join("sign-ins").display().to_string();
    bench.environment.push(("LAKEKEY_SIGN_INS".to_owned(), folder));
    let (status, answer) = bench.json(&["login", "--identity", "me"]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (1, Some("login-timeout")), "{answer}");
    let asked = bench.cloud.requests().iter().filter(|seen| seen.path.ends_with("/token")).count();
    // 15 minutes, every 5 seconds.
    assert!((170..=180).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_refresh_that_brings_no_refresh_token_leaves_the_old_one() {
    let town = town().await;
    signed_in(&town, "me").await;
    town.served.cloud.configure(|settings| settings.refresh_token_omitted = true);
    for _ in 0..3 {
        assert_token(&town, "me", &["--force-refresh"]).await;
    }
    // One that has ended says how to go on.
    town.served.cloud.person_is_signed_out();
    let (status, answer) = token(&town, "me", &["--force-refresh"]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (1, Some("login-needed")), "{answer}");
}

#[tokio::test]
async fn a_corrupt_cache_costs_a_sign_in_and_nothing_else() {
    let town = town().await;
    for identity in ["me", "me-entra"] {
        signed_in(&town, identity).await;
    }
    let folder = town.folder.path().join("sign-ins");
    let name_of = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        if name_of(&entry).contains("\"me@") {
            std::fs::write(&entry, "{\"version\":1,\"ke").unwrap();
        }
    }
    assert_login_needed(&town, "me").await;
    assert_token(&town, "me-entra", &[]).await;
    signed_in(&town, "me").await;
    assert_token(&town, "me", &[]).await;
}

#[tokio::test]
async fn processes_that_sign_in_or_renew_at_the_same_time_do_not_lose_the_sign_in() {
    let town = town().await;
    let (first, second) = tokio::join!(signed_in(&town, "me"), signed_in(&town, "me"));
    assert_eq!((&first["user"], &second["user"]), (&json!("ada@contoso.example"), &json!("ada@contoso.example")));
    // Each refresh token works once: whoever uses one that another process has used would be signed out.
    let at_once = (0..4).map(|_| assert_token(&town, "me", &["--force-refresh"]));
    futures::future::join_all(at_once).await;
    assert_token(&town, "me", &["--force-refresh"]).await;
}

#[tokio::test]
async fn who_is_meant_must_be_clear() {
    let town = town().await;
    for (words, code) in [
        (vec!["login"], "identity-missing"),
        (vec!["login", "--identity", "nobody"], "unknown-identity"),
        (vec!["login", "--identity", "dbx-admin"], "no-person"),
        (vec!["logout", "--identity", "nobody"], "unknown-identity"),
    ] {
        let (status, answer) = town.run(&words).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (2, Some(code)), "{words:?}: {answer}");
    }
}
