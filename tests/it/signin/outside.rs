//! Tokens from outside this process: the command lines of Azure and Databricks, run as programs, and the platform's endpoint
//! for managed identities, asked by the real binary.

use std::os::unix::fs::PermissionsExt;

use lakekey_core::error::Error;
use serde_json::{Value, json};

use super::Visitor;
use crate::town::Town;

/// Puts a program onto the `PATH` of the visitor that writes down its arguments and then does this.
fn install(me: &mut Visitor, name: &str, script: &str) {
    let folder = me.bench.folder.path().display().to_string();
    let path = me.file(name, &format!("#!/bin/sh\necho \"$@\" >> {folder}/{name}.log\n{script}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    me.bench.environment.retain(|(name, _)| name != "PATH");
    me.variable("PATH", &format!("{folder}:/usr/bin:/bin"));
}

fn arguments(me: &Visitor, name: &str) -> String {
    std::fs::read_to_string(me.bench.folder.path().join(format!("{name}.log"))).unwrap()
}

/// A token of the Entra application, as another program would have it.
async fn token(me: &mut Visitor) -> String {
    let entra = me.bench.cloud.cast().entra_admin.clone();
    me.variable("ENTRA_SECRET", &entra.client_secret);
    me.set(json!({ "auth": "azure-client-secret", "client_id": entra.client_id, "client_secret": "env:ENTRA_SECRET" }));
    me.signer(&me.databricks()).token().await.unwrap().reveal().to_owned()
}

// Real time: a program that runs is no timer of the runtime.
#[tokio::test]
async fn whoever_signed_in_with_the_azure_cli_signs_in() {
    let mut me = Visitor::new(json!(null));
    let (value, name) = (token(&mut me).await, me.bench.cloud.cast().entra_admin.client_id.clone());
    let expires = me.bench.clock.now().as_second() + 3000;
    let printed = json!({ "accessToken": value, "expires_on": expires, "tokenType": "Bearer" });
    install(&mut me, "az", &format!("echo '{printed}'"));
    me.set(json!({ "auth": "azure-cli", "tenant_id": "contoso.com" }));
    assert_eq!(me.name().await.unwrap(), name);
    let scope = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default";
    assert_eq!(arguments(&me, "az"), format!("account get-access-token --output json --scope {scope} --tenant contoso.com\n"));
}

#[tokio::test]
async fn whoever_signed_in_with_the_databricks_cli_signs_in() {
    let mut me = Visitor::new(json!(null));
    let (value, name) = (token(&mut me).await, me.bench.cloud.cast().entra_admin.client_id.clone());
    let expiry = me.bench.clock.now().saturating_add(jiff::SignedDuration::from_mins(50)).unwrap();
    let printed = json!({ "access_token": value, "token_type": "Bearer", "expiry": expiry.to_string() });
    install(&mut me, "databricks", &format!("echo '{printed}'"));
    me.set(json!({ "auth": "databricks-cli" }));
    assert_eq!(me.name().await.unwrap(), name);
    me.set(json!({ "auth": "databricks-cli", "profile": "PROD" }));
    assert_eq!(me.name().await.unwrap(), name);
    let host = me.bench.cloud.addresses().databricks[0].clone();
    assert_eq!(arguments(&me, "databricks"), format!("auth token --host {host}\nauth token --profile PROD\n"));
}

#[tokio::test]
async fn a_program_that_gives_no_token_says_why_and_shows_none() {
    let mut me = Visitor::new(json!({ "auth": "azure-cli" }));
    me.variable("PATH", "/nonexistent");
    let failed = async |me: &Visitor| -> Error { me.name().await.unwrap_err() };
    let error = failed(&me).await;
    assert_eq!(error.code(), "sign-in-tool");
    assert!(error.problem().message.contains("not installed"), "{error:?}");
    for (script, why) in [
        ("echo 'Please run: az login' >&2; exit 1", "az login"),
        ("echo 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2VjcmV0LXNlY3JldA' >&2; exit 1", "[redacted]"),
        ("echo eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2VjcmV0", "something else than a token"),
        ("echo '{\"accessToken\":\"eyJhbGciOiJIUzI1NiJ9.e30.c2VjcmV0\"}'", "does not say when"),
        // Far more than is read: its pipe is closed, which ends it.
        ("head -c 9999999 /dev/zero", "gave no token"),
    ] {
        install(&mut me, "az", script);
        let error = failed(&me).await;
        assert_eq!(error.code(), "sign-in-tool", "{script}");
        assert!(error.problem().message.contains(why), "{script}: {error:?}");
        assert!(!format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
    }
}

#[tokio::test]
async fn where_nothing_signs_in_to_azure_all_that_was_tried_is_named() {
    let mut me = Visitor::new(json!({ "auth": "azure-default" }));
    install(&mut me, "az", "echo 'Please run: az login' >&2; exit 1");
    let error = me.name().await.unwrap_err();
    assert_eq!(error.code(), "no-azure-sign-in");
    for tried in ["workload identity", "managed identity", "az login"] {
        assert!(error.problem().message.contains(tried), "{tried}: {error:?}");
    }
}

#[tokio::test]
async fn a_function_signs_in_at_the_address_that_its_platform_names() {
    let mut town = Town::new().await;
    let cloud = town.served.cloud.clone();
    let entra = cloud.cast().entra_admin.clone();
    cloud.assign_identity(&entra.client_id, &entra.object_id, true);
    town.change_config(|config| {
        config["identities"]["me"] = json!({ "auth": "azure-msi" });
        config["credentials"]["sales-bi"]["identity"] = "me".into();
    });
    town.set("IDENTITY_ENDPOINT", &format!("{}/msi/token", cloud.addresses().entra));
    town.set("IDENTITY_HEADER", lakekey_sim::IDENTITY_HEADER);
    let (_, report) = town.run(&["doctor"]).await;
    let checks = report["checks"].as_array().unwrap();
    let sign_ins: Vec<&Value> = checks
        .iter()
        .filter(|check| check["check"] == "sign-in" && check["subject"].as_str().unwrap().starts_with("identity me"))
        .collect();
    assert!(!sign_ins.is_empty());
    for check in sign_ins {
        assert!(check["detail"].as_str().unwrap().contains(&entra.client_id), "{check:#}");
    }
}
