use std::time::Duration;

use lakekey_sim::{CapAnswer, DATABRICKS_AUDIENCE, Level, POWERBI_AUDIENCE};
use serde_json::{Value, json};

use crate::client::{DBX, DBX_2, admin, cloud, cloud_with, entra, get, minted, powerbi, secrets_url, send, sign_in, token_of};

const SCIM: &str = "/api/2.0/preview/scim/v2/ServicePrincipals";

fn found(json: &Value) -> Vec<&str> {
    json["Resources"].as_array().into_iter().flatten().filter_map(|row| row["displayName"].as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_filter_must_be_quoted_and_ignores_case() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    let ask = async |filter: &str| {
        let query: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        get(&cloud, &format!("{DBX}{SCIM}?filter={query}"), &token).await
    };
    assert_eq!(found(&ask("displayName eq \"pbi-sales\"").await.json), ["PBI-SALES", "pbi-sales"]);
    assert_eq!(found(&ask(r#"displayName eq "pbi \"quoted\" \\ name""#).await.json), [r#"pbi "quoted" \ name"#]);
    let bare = ask("displayName eq pbi-sales").await;
    assert_eq!((bare.status, bare.json["status"].as_str()), (400, Some("400")));
    let none = ask("displayName eq \"nobody\"").await;
    assert_eq!((none.status, none.json.get("Resources")), (200, None), "an empty list has no key at all");
}

#[tokio::test(start_paused = true)]
async fn principals_come_in_pages_counted_from_one() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    let (mut names, mut start) = (Vec::new(), 1);
    loop {
        let page = get(&cloud, &format!("{DBX}{SCIM}?startIndex={start}&count=10000"), &token).await.json;
        let rows = found(&page).len();
        if rows == 0 {
            break;
        }
        assert!(rows <= 3);
        names.extend(found(&page).into_iter().map(str::to_owned));
        start += rows;
    }
    assert_eq!(names.len(), 7);
    assert_eq!(get(&cloud, &format!("{DBX}{SCIM}?startIndex=0"), &token).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_principal_is_created_once_and_then_a_conflict() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"],
        "applicationId": "0d6f7c3e-0000-4000-8000-000000000001",
        "displayName": "new",
        "entitlements": [{ "value": "databricks-sql-access" }],
    });
    assert_eq!(send(&cloud, "POST", &format!("{DBX}{SCIM}"), &token, Some(body.clone())).await.status, 201);
    let again = send(&cloud, "POST", &format!("{DBX}{SCIM}"), &token, Some(body.clone())).await;
    assert_eq!(again.status, 409);
    let text = "Service principal with application ID 0d6f7c3e-0000-4000-8000-000000000001 already exists.";
    assert_eq!(again.json["detail"], text);
    body["entitlements"] = json!([{ "value": "nonsense" }]);
    assert_eq!(send(&cloud, "POST", &format!("{DBX}{SCIM}"), &token, Some(body)).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_secret_shows_its_value_once() {
    let cloud = cloud();
    let (id, value) = minted(&cloud).await;
    let listed = get(&cloud, &secrets_url(&cloud), &admin(&cloud, DBX).await).await;
    assert!(listed.text.contains(&id) && !listed.text.contains(&value));
}

#[tokio::test(start_paused = true)]
async fn lifetimes_are_duration_texts_of_at_most_730_days() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    for refused in [json!(604_800), json!("604800"), json!("7d"), json!("63072001s"), json!("0s"), json!("")] {
        let answer = send(&cloud, "POST", &secrets_url(&cloud), &token, Some(json!({ "lifetime": refused }))).await;
        assert_eq!(answer.status, 400, "{refused}");
    }
    let default = send(&cloud, "POST", &secrets_url(&cloud), &token, None).await.json;
    let time = |key: &str| default[key].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()).expect("a time");
    assert_eq!(time("expire_time").as_second() - time("create_time").as_second(), 63_072_000);
}

#[tokio::test(start_paused = true)]
async fn the_sixth_secret_is_refused_and_expired_ones_count() {
    for (setting, status, code) in
        [(CapAnswer::LimitExceeded, 400, "RESOURCE_LIMIT_EXCEEDED"), (CapAnswer::Exhausted, 429, "RESOURCE_EXHAUSTED")]
    {
        let cloud = cloud_with(|settings| settings.cap_answer = setting);
        let token = admin(&cloud, DBX).await;
        let create = async || send(&cloud, "POST", &secrets_url(&cloud), &token, Some(json!({ "lifetime": "60s" }))).await;
        for _ in 0..4 {
            assert_eq!(create().await.status, 200);
        }
        cloud.advance(Duration::from_secs(120));
        let refused = create().await;
        assert_eq!((refused.status, refused.json["error_code"].as_str()), (status, Some(code)));
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_are_paged_by_token_whatever_size_was_asked() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    for _ in 0..4 {
        minted(&cloud).await;
    }
    let first = get(&cloud, &format!("{}?page_size=100", secrets_url(&cloud)), &token).await.json;
    let next = first["next_page_token"].as_str().expect("there is more");
    let second = get(&cloud, &format!("{}?page_token={next}", secrets_url(&cloud)), &token).await.json;
    let count = |page: &Value| page["secrets"].as_array().map_or(0, Vec::len);
    assert_eq!((count(&first), count(&second), second.get("next_page_token")), (3, 2, None));
}

#[tokio::test(start_paused = true)]
async fn lists_may_lag_behind() {
    let cloud = cloud_with(|settings| settings.list_lag = Duration::from_secs(30));
    let token = admin(&cloud, DBX).await;
    let (id, _) = minted(&cloud).await;
    let listed = async || get(&cloud, &secrets_url(&cloud), &token).await.text.contains(&id);
    assert!(!listed().await, "a new secret is not listed yet");
    cloud.advance(Duration::from_secs(30));
    assert!(listed().await);
    assert_eq!(send(&cloud, "DELETE", &format!("{}/{id}", secrets_url(&cloud)), &token, None).await.status, 200);
    assert!(listed().await, "a deleted one still is");
    cloud.advance(Duration::from_secs(30));
    assert!(!listed().await);
    assert_eq!(send(&cloud, "DELETE", &format!("{}/{id}", secrets_url(&cloud)), &token, None).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn secrets_are_for_admins_and_numeric_ids() {
    let cloud = cloud();
    let (_, value) = minted(&cloud).await;
    let principal = &cloud.cast().principal;
    let token = token_of(&sign_in(&cloud, DBX, &principal.application_id, &value, "all-apis").await);
    let answer = get(&cloud, &secrets_url(&cloud), &token).await;
    assert_eq!((answer.status, answer.json["error_code"].as_str()), (403, Some("PERMISSION_DENIED")));
    let by_uuid = secrets_url(&cloud).replace(&principal.id.to_string(), &principal.application_id);
    assert_eq!(get(&cloud, &by_uuid, &admin(&cloud, DBX).await).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_is_refused_for_a_moment_and_a_deleted_one_for_good() {
    let cloud = cloud();
    let admin = admin(&cloud, DBX).await;
    let new = send(&cloud, "POST", &secrets_url(&cloud), &admin, None).await.json;
    let (id, value) = (new["id"].as_str().expect("an id"), new["secret"].as_str().expect("a value"));
    let principal = cloud.cast().principal.application_id.clone();
    let try_it = async || sign_in(&cloud, DBX, &principal, value, "all-apis").await;
    let early = try_it().await;
    assert_eq!((early.status, early.json["error"].as_str()), (401, Some("invalid_client")));
    cloud.advance(Duration::from_secs(1));
    let token = token_of(&try_it().await);
    send(&cloud, "DELETE", &format!("{}/{id}", secrets_url(&cloud)), &admin, None).await;
    assert_eq!(try_it().await.status, 401);
    let me = get(&cloud, &format!("{DBX}/api/2.0/preview/scim/v2/Me"), &token).await;
    assert_eq!((me.status, me.json["userName"].as_str()), (200, Some(principal.as_str())), "its token lives on");
}

#[tokio::test(start_paused = true)]
async fn tokens_end_and_are_refused_half_a_minute_earlier() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    let ask = async || get(&cloud, &format!("{DBX}/api/2.0/preview/scim/v2/Me"), &token).await;
    cloud.advance(Duration::from_secs(3_569));
    assert_eq!(ask().await.status, 200);
    cloud.advance(Duration::from_secs(1));
    let near = ask().await;
    assert_eq!((near.status, near.json["message"].as_str()), (403, Some("Token is expiring within 30 seconds. (token expired)")));
    cloud.advance(Duration::from_secs(30));
    assert_eq!(ask().await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_good_only_where_they_are_meant_for() {
    let cloud = cloud();
    let url = |base: &str| format!("{base}/api/2.0/preview/scim/v2/Me");
    let here = admin(&cloud, DBX).await;
    assert_eq!(get(&cloud, &url(DBX), &here).await.status, 200);
    assert_ne!(get(&cloud, &url(DBX_2), &here).await.status, 200);
    let wrong = get(&cloud, &url(DBX), &powerbi(&cloud).await).await;
    assert!(wrong.status == 400 && wrong.text.contains("IncorrectClaimException"));
    assert_eq!(get(&cloud, &url(DBX), "made.up.token").await.status, 401);
    assert_eq!(get(&cloud, &url(DBX), "").await.status, 401);
    let cast = cloud.cast();
    let entra_token = token_of(&entra(&cloud, &cast.tenant, &cast.entra_admin, &format!("{DATABRICKS_AUDIENCE}/.default")).await);
    assert_eq!(get(&cloud, &url(DBX_2), &entra_token).await.status, 200);
    assert_eq!(get(&cloud, &url(DBX), &cast.personal_token).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn entra_answers_in_its_own_words() {
    let cloud = cloud();
    let cast = cloud.cast().clone();
    let scope = format!("{POWERBI_AUDIENCE}/.default");
    let mut wrong = cast.powerbi.clone();
    wrong.client_secret = "nonsense".to_owned();
    let mut unknown = cast.powerbi.clone();
    unknown.client_id = "nobody".to_owned();
    for (tenant, login, scope, code) in [
        (cast.tenant.as_str(), &wrong, scope.as_str(), "AADSTS7000215"),
        (cast.tenant.as_str(), &unknown, scope.as_str(), "AADSTS700016"),
        ("elsewhere", &cast.powerbi, scope.as_str(), "AADSTS90002"),
        (cast.tenant.as_str(), &cast.powerbi, "https://graph.microsoft.com/.default", "AADSTS70011"),
        (cast.tenant.as_str(), &cast.powerbi, POWERBI_AUDIENCE, "AADSTS70011"),
    ] {
        let answer = entra(&cloud, tenant, login, scope).await;
        assert!(answer.status >= 400);
        assert!(answer.json["error_description"].as_str().is_some_and(|text| text.starts_with(code)), "{}", answer.text);
    }
    assert!(cloud.truth().tokens.is_empty());
    powerbi(&cloud).await;
    assert_eq!(cloud.truth().tokens.values().sum::<u64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn scoped_secrets_give_scoped_tokens() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    let new = send(&cloud, "POST", &secrets_url(&cloud), &token, Some(json!({ "scopes": ["sql"] }))).await.json;
    cloud.advance(Duration::from_secs(1));
    let principal = cloud.cast().principal.application_id.clone();
    let value = new["secret"].as_str().expect("a value");
    assert_eq!(sign_in(&cloud, DBX, &principal, value, "all-apis").await.json["error"], "invalid_scope");
    let token = token_of(&sign_in(&cloud, DBX, &principal, value, "sql").await);
    assert_eq!(get(&cloud, &format!("{DBX}/api/2.0/sql/warehouses"), &token).await.status, 200);
    assert_eq!(get(&cloud, &format!("{DBX}/api/2.0/preview/scim/v2/Me"), &token).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn put_replaces_what_patch_merges() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    let warehouse = cloud.cast().warehouses[0][0].clone();
    let url = format!("{DBX}/api/2.0/permissions/warehouses/{warehouse}");
    let principal = cloud.cast().admin.client_id.clone();
    let body = json!({ "access_control_list": [{ "service_principal_name": principal, "permission_level": "CAN_USE" }] });
    let direct = || cloud.truth().warehouses.into_iter().find(|found| found.id == warehouse).expect("it is there").permissions;
    let before = direct();
    let merged = send(&cloud, "PATCH", &url, &token, Some(body.clone())).await.json;
    assert_eq!(direct().len(), before.len() + 1);
    assert!(merged["access_control_list"][0]["all_permissions"][0]["permission_level"].is_string());
    send(&cloud, "PUT", &url, &token, Some(body)).await;
    assert_eq!(direct().into_iter().collect::<Vec<_>>(), [(format!("principal {principal}"), Level::CanUse)]);
    let unknown = json!({ "access_control_list": [{ "service_principal_name": "nobody", "permission_level": "CAN_USE" }] });
    assert_eq!(send(&cloud, "PATCH", &url, &token, Some(unknown)).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_statement_waits_for_its_warehouse_and_asks_for_rights() {
    let cloud = cloud_with(|settings| settings.warehouse_start = Duration::from_secs(20));
    let (_, value) = minted(&cloud).await;
    let principal = cloud.cast().principal.application_id.clone();
    let warehouse = cloud.cast().warehouses[0][0].clone();
    let token = token_of(&sign_in(&cloud, DBX, &principal, &value, "all-apis").await);
    let url = format!("{DBX}/api/2.0/sql/statements");
    let run = async |sql: &str, wait: &str| {
        let body = json!({ "warehouse_id": warehouse, "statement": sql, "wait_timeout": wait });
        send(&cloud, "POST", &url, &token, Some(body)).await
    };
    let pending = run("SELECT current_user()", "5s").await.json;
    assert_eq!(pending["status"]["state"], "PENDING");
    cloud.advance(Duration::from_secs(20));
    let done = get(&cloud, &format!("{url}/{}", pending["statement_id"].as_str().expect("an id")), &token).await.json;
    assert_eq!(done["result"]["data_array"], json!([[principal]]));
    assert_eq!(run("SELECT 1", "3s").await.status, 400, "between nothing and five seconds");

    let table = "SELECT 1 FROM `main`.`sales`.`odd ``name``` LIMIT 0";
    let refused = run(table, "10s").await;
    assert_eq!((refused.status, refused.json["status"]["state"].as_str()), (200, Some("FAILED")));
    let admin = admin(&cloud, DBX).await;
    for (kind, name, privilege) in
        [("catalog", "main", "USE CATALOG"), ("schema", "main.sales", "USE_SCHEMA"), ("schema", "main.sales", "SELECT")]
    {
        let url = format!("{DBX}/api/2.1/unity-catalog/permissions/{kind}/{name}");
        let body = json!({ "changes": [{ "principal": principal, "add": [privilege] }] });
        assert_eq!(send(&cloud, "PATCH", &url, &admin, Some(body)).await.status, 200);
    }
    assert_eq!(run(table, "10s").await.json["status"]["state"], "SUCCEEDED");
    let effective = format!("{DBX}/api/2.1/unity-catalog/effective-permissions/table/main.sales.orders?principal={principal}");
    let effective = get(&cloud, &effective, &admin).await.json;
    assert_eq!(effective["privilege_assignments"][0]["privileges"].as_array().map(Vec::len), Some(3));

    cloud.set_warehouse_level(&warehouse, &principal, None);
    assert_eq!(run("SELECT 1", "10s").await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn a_statement_is_answered_before_its_result_or_canceled_on_request() {
    let cloud = cloud_with(|settings| settings.warehouse_start = Duration::from_secs(60));
    let token = admin(&cloud, DBX).await;
    let url = format!("{DBX}/api/2.0/sql/statements");
    let run = async |wait: &str, then: &str| {
        let warehouse = &cloud.cast().warehouses[0][0];
        let body = json!({ "warehouse_id": warehouse, "statement": "SELECT 1", "wait_timeout": wait, "on_wait_timeout": then });
        send(&cloud, "POST", &url, &token, Some(body)).await.json
    };
    assert_eq!(run("50s", "CANCEL").await["status"]["state"], "CANCELED");
    cloud.advance(Duration::from_secs(60));
    let at_once = run("0s", "CANCEL").await;
    assert_eq!(at_once["status"]["state"], "PENDING", "even on a warm warehouse");
    let polled = get(&cloud, &format!("{url}/{}", at_once["statement_id"].as_str().expect("an id")), &token).await.json;
    assert_eq!(polled["result"]["data_array"], json!([["1"]]));
    assert_eq!(run("5s", "EXPLODE").await["error_code"], "INVALID_PARAMETER_VALUE");
}

#[tokio::test(start_paused = true)]
async fn secret_scopes_keep_bytes_and_may_refuse_to_give_them() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    let url = |path: &str| format!("{DBX}/api/2.0/secrets/{path}");
    let put = json!({ "scope": "powerbi", "key": "sales-bi", "string_value": "héllo" });
    assert_eq!(send(&cloud, "POST", &url("put"), &token, Some(put)).await.status, 200);
    let read = async || get(&cloud, &url("get?scope=powerbi&key=sales-bi"), &token).await;
    assert_eq!(read().await.json["value"], "aMOpbGxv");
    cloud.configure(|settings| settings.scopes_readable = false);
    let refused = read().await.json;
    assert_eq!(refused["message"], "This operation is not allowed outside databricks notebooks.");
    let again = send(&cloud, "POST", &url("scopes/create"), &token, Some(json!({ "scope": "powerbi" }))).await;
    assert_eq!(again.json["error_code"], "RESOURCE_ALREADY_EXISTS");
}

#[tokio::test(start_paused = true)]
async fn the_tenant_is_found_by_a_redirect() {
    let cloud = cloud();
    let answer = get(&cloud, &format!("{DBX}/aad/auth"), "").await;
    let place = answer.headers["location"].to_str().expect("text");
    assert_eq!(answer.status, 302);
    assert!(place.starts_with(&format!("https://login.microsoftonline.com/{}/oauth2/authorize", cloud.cast().tenant)));
}
