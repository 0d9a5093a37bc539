use std::sync::Arc;

use super::*;
use crate::config::{PrincipalSelector, Securable};
use crate::http::Failure;
use crate::http::testing::{Scripted, WORKSPACE, reply, timed_out};
use crate::ids::{ApplicationId, SecretId, ServicePrincipalId, WarehouseId};
use crate::secret::Secret;

const APP: &str = "2c8e3c1e-8a3c-4f5e-9a7c-1f2e3d4c5b6a";

fn client(script: &Arc<Scripted>) -> Databricks {
    Databricks::new(script.http(), Workspace::parse(WORKSPACE).unwrap(), Signer::fixed(Secret::new("t")))
}

fn app() -> ApplicationId {
    ApplicationId::new(APP)
}

fn principal() -> ServicePrincipalId {
    ServicePrincipalId::new("42")
}

fn warehouse() -> WarehouseId {
    WarehouseId::new("w1")
}

fn listed(id: u32, name: &str) -> String {
    format!(r#"{{"id":"{id}","applicationId":"{}","displayName":"{name}","active":true,"groups":[]}}"#, APP.to_uppercase())
}

#[tokio::test(start_paused = true)]
async fn principals_are_found_by_an_escaped_name_compared_exactly() {
    let name = r#"Bob "the\SP" & co"#;
    let exact = listed(1, r#"Bob \"the\\SP\" & co"#);
    let other = listed(2, r#"bob \"the\\SP\" & co"#);
    let script = Scripted::new()
        .json(200, &format!(r#"{{"totalResults":3,"Resources":[{exact},{other}]}}"#))
        .json(200, &format!(r#"{{"totalResults":3,"Resources":[{exact}, {}]}}"#, listed(3, "x")));
    let found = client(&script).find_service_principals(&PrincipalSelector::DisplayName(name.to_owned())).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id.as_str(), found[0].application_id.as_str()), ("1", APP));
    let filter = "displayName%20eq%20%22Bob%20%5C%22the%5C%5CSP%5C%22%20%26%20co%22";
    assert_eq!(
        script.lines(),
        [1, 3].map(|start| {
            format!("GET {WORKSPACE}/api/2.0/preview/scim/v2/ServicePrincipals?filter={filter}&startIndex={start}&count=100")
        })
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_found_has_no_resources() {
    let script = Scripted::new().json(200, r#"{"totalResults":0,"schemas":[]}"#);
    assert_eq!(client(&script).find_service_principals(&PrincipalSelector::ApplicationId(app())).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ignores_the_start_index_is_noticed() {
    let body = format!(r#"{{"Resources":[{}]}}"#, listed(1, "x"));
    let script = Scripted::new().always(move |_| reply(200, &[], &body));
    let error = client(&script).find_service_principals(&PrincipalSelector::ApplicationId(app())).await.unwrap_err();
    assert_eq!(crate::error::Error::from(error).code(), "unusable-answer");
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_principal_is_made_with_sql_access() {
    let script = Scripted::new().json(201, &listed(7, "n"));
    let made = client(&script).create_service_principal(Some("n"), None, None).await.unwrap();
    assert_eq!(made.id.as_str(), "7");
    assert_eq!(
        script.seen()[0].body,
        r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"],"displayName":"n","active":true,"entitlements":[{"value":"databricks-sql-access"}]}"#
    );
}

#[tokio::test(start_paused = true)]
async fn secrets_are_listed_to_the_last_page() {
    let first = r#"{"secrets":[{"id":"a","create_time":"2026-01-01T00:00:00.000Z","expire_time":"2026-02-01T00:00:00Z","status":"ACTIVE"}],"next_page_token":"p/2"}"#;
    let last = r#"{"secrets":[{"id":"b","create_time":"2026-01-01T00:00:00.000Z","scopes":["sql"]}],"next_page_token":""}"#;
    let script = Scripted::new().json(200, first).json(200, r#"{"next_page_token":"p3"}"#).json(200, last);
    let secrets = client(&script).list_secrets(&principal()).await.unwrap();
    assert_eq!(secrets.iter().map(|secret| secret.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(secrets[0].expires_at, Some("2026-02-01T00:00:00Z".parse().unwrap()));
    assert_eq!((secrets[1].expires_at, secrets[1].scopes.as_slice()), (None, &["sql".to_owned()][..]));
    let base = format!("GET {WORKSPACE}/api/2.0/accounts/servicePrincipals/42/credentials/secrets?page_size=100");
    assert_eq!(script.lines(), [base.clone(), format!("{base}&page_token=p%2F2"), format!("{base}&page_token=p3")]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_goes_round_is_an_error() {
    let script = Scripted::new().always(|_| reply(200, &[], r#"{"secrets":[],"next_page_token":"same"}"#));
    let error = client(&script).list_secrets(&principal()).await.unwrap_err();
    assert_eq!(crate::error::Error::from(error).code(), "unusable-answer");
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_made_once_with_its_lifetime_in_seconds() {
    let body = r#"{"id":"a","secret":"dose123","secret_hash":"x","create_time":"2026-01-01T00:00:00.000Z","expire_time":"2026-02-01T00:00:00.000Z"}"#;
    let script = Scripted::new().json(200, body);
    let minted = client(&script).create_secret(&principal(), 1_209_600, &[], None).await.unwrap();
    assert_eq!((minted.info.id.as_str(), minted.value.reveal()), ("a", "dose123"));
    assert!(!format!("{minted:?}").contains("dose"));
    assert_eq!(script.seen()[0].body, r#"{"lifetime":"1209600s"}"#);
    let script = Scripted::new().then(|_| timed_out());
    assert!(client(&script).create_secret(&principal(), 1, &["sql".to_owned()], None).await.unwrap_err().may_have_taken_effect());
    assert_eq!(script.seen()[0].body, r#"{"lifetime":"1s","scopes":["sql"]}"#);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_mint_is_ambiguous_and_shows_nothing() {
    for body in [
        r#"{"id":"a","secret":{"dose123456":1}}"#,
        r#"{"secret":"dose123456","id":"a","create_time":"dose123456"}"#,
        r#"{"secret":"dose123456""#,
        "",
        "dose123456",
        r#"{"id":"a","secret":"","create_time":"2026-01-01T00:00:00Z"}"#,
    ] {
        let script = Scripted::new().json(200, body);
        let error = client(&script).create_secret(&principal(), 1, &[], None).await.unwrap_err();
        assert!(matches!(error.failure, Failure::Ambiguous(_)) && error.may_have_taken_effect(), "{body}");
        assert!(!format!("{error:?}").contains("dose"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_gone_counts_as_deleted() {
    let script = Scripted::new().json(404, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST"}"#).json(200, "{}").json(403, "{}");
    let client = client(&script);
    let delete = async || client.delete_secret(&principal(), &SecretId::new("a/b"), None).await;
    assert!(delete().await.is_ok() && delete().await.is_ok() && delete().await.is_err());
    assert!(script.lines()[0].starts_with("DELETE ") && script.lines()[0].ends_with("/credentials/secrets/a%2Fb"));
}

#[tokio::test(start_paused = true)]
async fn access_to_a_warehouse_may_be_direct_inherited_or_everybodys() {
    let entry = |key: &str, name: &str, level: &str| {
        format!(
            r#"{{"access_control_list":[{{"{key}":"{name}","all_permissions":[{{"permission_level":"{level}","inherited":true}}]}}]}}"#
        )
    };
    let upper = APP.to_uppercase();
    for (body, access) in [
        (entry("service_principal_name", &upper, "CAN_USE"), Access::CanUse),
        (entry("service_principal_name", APP, "CAN_MANAGE"), Access::CanUse),
        (entry("service_principal_name", APP, "CAN_VIEW"), Access::None),
        (entry("service_principal_name", "other", "CAN_USE"), Access::None),
        (entry("group_name", "users", "CAN_USE"), Access::CanUse),
        (entry("group_name", "admins", "CAN_MANAGE"), Access::None),
        ("{}".to_owned(), Access::None),
    ] {
        let script = Scripted::new().json(200, &body);
        assert_eq!(client(&script).warehouse_access(&warehouse(), &app()).await.unwrap(), access, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn rights_are_only_ever_added() {
    let script = Scripted::new().always(|_| reply(200, &[], "{}"));
    let client = client(&script);
    client.grant_can_use(&warehouse(), &app(), None).await.unwrap();
    client.grant(Securable::Schema, "main.my schema", &app(), &["SELECT".to_owned()], None).await.unwrap();
    let seen = script.seen();
    assert_eq!(seen[0].line, format!("PATCH {WORKSPACE}/api/2.0/permissions/warehouses/w1"));
    assert_eq!(
        seen[0].body,
        format!(r#"{{"access_control_list":[{{"service_principal_name":"{APP}","permission_level":"CAN_USE"}}]}}"#)
    );
    assert_eq!(seen[1].line, format!("PATCH {WORKSPACE}/api/2.1/unity-catalog/permissions/schema/main.my%20schema"));
    assert_eq!(
        seen[1].body,
        format!(r#"{{"changes":[{{"principal":"{APP}","add":["SELECT"]}}],"omit_permissions_in_response":true}}"#)
    );
}

#[tokio::test(start_paused = true)]
async fn privileges_are_read_over_empty_pages() {
    let held = format!(
        r#"{{"privilege_assignments":[{{"principal":"{APP}","privileges":[{{"privilege":"SELECT","inherited_from_type":"CATALOG"}},{{"privilege":"USE SCHEMA"}}]}},{{"principal":"x","privileges":[{{"privilege":"MODIFY"}}]}}]}}"#
    );
    let script = Scripted::new().json(200, r#"{"next_page_token":"2"}"#).json(200, &held);
    let privileges = client(&script).effective_privileges(Securable::Table, "a.b.c", &app()).await.unwrap();
    assert_eq!(privileges, ["SELECT", "USE_SCHEMA"]);
}

#[tokio::test(start_paused = true)]
async fn scopes_say_who_keeps_their_values() {
    let body = r#"{"scopes":[{"name":"a","backend_type":"DATABRICKS"},{"name":"b","backend_type":"AZURE_KEYVAULT"}]}"#;
    let script = Scripted::new().json(200, body).json(200, "{}").json(200, "{}");
    let client = client(&script);
    let backends: Vec<_> = client.secret_scopes().await.unwrap().into_iter().map(|scope| scope.backend).collect();
    assert_eq!(backends, [ScopeBackend::Databricks, ScopeBackend::AzureKeyVault]);
    assert_eq!(client.secret_scopes().await.unwrap(), []);
    client.put_secret("a", "k", &Secret::new("v"), None).await.unwrap();
    assert_eq!(script.seen()[2].body, r#"{"scope":"a","key":"k","string_value":"v"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_statement_waits_for_its_warehouse() {
    let pending = r#"{"statement_id":"s1","status":{"state":"PENDING"}}"#;
    let done = r#"{"statement_id":"s1","status":{"state":"SUCCEEDED"},"result":{"data_array":[["x",null]]}}"#;
    let script = Scripted::new().json(200, pending).json(200, pending).json(200, done);
    let rows = client(&script).run_statement(&warehouse(), "SELECT 1").await.unwrap();
    assert_eq!(rows, [vec![Some("x".to_owned()), None]]);
    assert_eq!(script.lines()[2], format!("GET {WORKSPACE}/api/2.0/sql/statements/s1"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_statement_is_an_error_with_its_own_code() {
    let failed = r#"{"statement_id":"s1","status":{"state":"FAILED","error":{"error_code":"BAD_REQUEST","message":"[TABLE_OR_VIEW_NOT_FOUND] no"}}}"#;
    let script = Scripted::new().json(200, failed);
    let error = client(&script).run_statement(&warehouse(), "SELECT 1").await.unwrap_err();
    assert_eq!(error.code(), Some("BAD_REQUEST"));
    assert_eq!(
        crate::error::Error::from(error).to_string(),
        "run a statement on the SQL warehouse: `BAD_REQUEST`: [TABLE_OR_VIEW_NOT_FOUND] no"
    );
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_never_ends_is_cancelled() {
    let script = Scripted::new().always(|_| reply(200, &[], r#"{"statement_id":"s1","status":{"state":"RUNNING"}}"#));
    let error = client(&script).run_statement(&warehouse(), "SELECT 1").await.unwrap_err();
    assert_eq!(crate::error::Error::from(error).code(), "timeout");
    assert!(script.lines().last().unwrap().ends_with("/s1/cancel"));
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_is_tried_past_every_cache() {
    let script = Scripted::new().always(|_| reply(200, &[], r#"{"access_token":"t","expires_in":3600}"#));
    let (http, workspace) = (script.http(), Workspace::parse(WORKSPACE).unwrap());
    for _ in 0..2 {
        token_of_secret(&http, &workspace, &app(), &Secret::new("s"), &[]).await.unwrap();
    }
    let scoped = token_of_secret(&http, &workspace, &app(), &Secret::new("s"), &["sql".to_owned()]).await;
    assert!(scoped.is_ok());
    assert_eq!(script.seen().len(), 3);
    assert!(script.seen()[2].body.ends_with("scope=sql"));
}

/// The handlers' runtimes move futures between threads.
#[tokio::test(start_paused = true)]
async fn every_call_can_move_between_threads() {
    fn check(_: impl Send) {}
    let (client, id) = (client(&Scripted::new()), principal());
    let selector = PrincipalSelector::ApplicationId(app());
    check(client.find_service_principals(&selector));
    check(client.create_service_principal(None, None, None));
    check(client.list_secrets(&id));
    check(client.create_secret(&id, 1, &[], None));
    check(client.delete_secret(&id, &SecretId::new("a"), None));
    check(client.warehouse_access(&warehouse(), &app()));
    check(client.warehouse(&warehouse()));
    check(client.grant_can_use(&warehouse(), &app(), None));
    check(client.effective_privileges(Securable::Table, "a", &app()));
    check(client.grant(Securable::Table, "a", &app(), &[], None));
    check(client.secret_scopes());
    check(client.put_secret("a", "b", &Secret::new(""), None));
    check(client.get_secret("a", "b"));
    check(client.run_statement(&warehouse(), ""));
    check(client.me());
    check(client.signer.token());
    check(client.signer.known_as());
    check(client.signer.reload(&Secret::new("")));
}
