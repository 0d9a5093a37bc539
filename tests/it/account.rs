//! Principals of the account: assigned to workspaces that lack them, and managed at the account where the workspace refuses.

use lakekey_sim::{Fleet, Level, PrincipalTruth, Seen};
use serde_json::{Value, json};

use crate::arrange::Before;
use crate::support::{Bench, days};

/// A credential without targets, whose identity is no workspace admin but an account admin, and manages the one warehouse.
fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(1) });
    let cast = bench.cloud.cast().clone();
    let warehouse = cast.warehouses[0][0].clone();
    bench.without_targets();
    bench.credential()["warehouses"] = json!([warehouse]);
    bench.credential()["verify"] = json!({ "warehouse": warehouse });
    bench.credential()["account"] = json!({ "host": bench.cloud.addresses().account, "id": cast.account });
    bench.cloud.set_admin(&cast.admin.client_id, false);
    bench.cloud.set_account_admin(&cast.admin.client_id, true);
    bench.cloud.set_warehouse_level(&warehouse, &cast.admin.client_id, Some(Level::CanManage));
    bench
}

fn principal(bench: &Bench) -> PrincipalTruth {
    let id = bench.cloud.cast().principal.application_id.clone();
    bench.cloud.truth().principals.into_iter().find(|principal| principal.application_id == id).unwrap()
}

/// `service method status` of every request that manages secrets.
fn secret_requests(bench: &Bench, before: &Before) -> Vec<String> {
    let requests = bench.requests_since(before).into_iter().filter(|seen| seen.path.contains("/credentials/secrets"));
    requests.map(|seen| format!("{} {} {}", seen.service, seen.method, seen.status)).collect()
}

fn grants(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap().iter().filter(|step| step["action"] == "grant");
    steps.map(|step| step["subject"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn secrets_are_managed_at_the_account_where_the_workspace_refuses() {
    let bench = bench();
    let before = bench.mark();

    let done = bench.rotated().await;
    bench.pass(days(8));
    bench.rotated().await;
    bench.pass(days(2));
    let (status, drained) = bench.one(&["rotate"]).await;

    let sent = secret_requests(&bench, &before);
    let at_workspace: Vec<_> = sent.iter().filter(|request| request.starts_with("databricks")).collect();
    assert!(at_workspace.iter().all(|request| *request == "databricks-0 GET 403"), "{sent:?}");
    assert_eq!(sent.iter().filter(|request| *request == "account POST 200").count(), 2, "{sent:?}");
    assert_eq!(sent.iter().filter(|request| *request == "account DELETE 200").count(), 1, "{sent:?}");
    assert_eq!((status, &drained["retired"]), (0, &json!([done["secret_id"]])), "{drained:#}");
    let stored: Value = serde_json::from_slice(&bench.files("store")[0].1).unwrap();
    assert_eq!(stored["accountId"], json!(bench.cloud.cast().account));
}

#[tokio::test(start_paused = true)]
async fn without_an_account_in_the_config_the_refusal_stands() {
    let mut bench = bench();
    bench.credential().as_object_mut().unwrap().remove("account");

    let problem = bench.refused("forbidden").await;

    assert!(problem["hint"].as_str().unwrap().contains("`account`"), "{problem}");
    assert!(bench.cloud.requests().iter().all(|seen| seen.service != "account"));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_refuses_too_says_so_before_anything_is_made() {
    let bench = bench();
    bench.cloud.set_account_admin(&bench.cloud.cast().admin.client_id, false);

    let problem = bench.refused("forbidden").await;

    assert!(problem["message"].as_str().unwrap().contains("account"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_one_workspace_cannot_be_taken_to_the_account() {
    let mut bench = bench();
    bench.config["identities"]["dbx-admin"] = json!({ "auth": "pat", "token": "env:ADMIN_SECRET" });

    let (status, failure) = bench.json(&["plan"]).await;

    assert_eq!((status, &failure["problems"][0]["code"]), (2, &json!("wrong-identity")), "{failure:#}");
}

#[tokio::test(start_paused = true)]
async fn a_principal_that_only_the_account_knows_is_assigned_and_rotated() {
    let bench = bench();
    let id = bench.cloud.cast().principal.application_id.clone();
    for index in 0..2 {
        bench.cloud.leave_workspace(index, &id);
    }
    let before = bench.mark();

    let (status, plan) = bench.one(&["plan"]).await;
    assert_eq!((status, grants(&plan).len()), (0, 2), "{plan:#}");
    assert!(grants(&plan).iter().all(|subject| subject.starts_with("use of workspace ")), "{plan:#}");
    bench.assert_only_read(&before);

    let done = bench.rotated().await;

    assert_eq!(principal(&bench).workspaces, [0, 1]);
    assert!(bench.living().contains(&done["secret_id"].as_str().unwrap().to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_missing_principal_is_made_at_the_account_and_assigned() {
    let mut bench = bench();
    bench.credential()["service_principal"] = json!("pbi-new");
    bench.credential()["create_service_principal"] = json!(true);

    let done = bench.rotated().await;

    let made: Vec<_> = bench.cloud.truth().principals.into_iter().filter(|found| found.display_name == "pbi-new").collect();
    assert_eq!((made.len(), made[0].workspaces.as_slice()), (1, &[0, 1][..]));
    assert_eq!(Some(made[0].secrets[0].id.as_str()), done["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn the_principal_is_assigned_to_further_workspaces_by_their_own_admins() {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(1) });
    let cast = bench.cloud.cast().clone();
    let south = cast.warehouses[1][0].clone();
    bench.without_targets();
    bench.credential()["warehouses"] = json!([south]);
    bench.cloud.leave_workspace(1, &cast.principal.application_id);
    bench.cloud.set_warehouse_level(&south, &cast.principal.application_id, None);
    let before = bench.mark();

    bench.rotated().await;
    let first = bench.requests_since(&before);
    bench.pass(days(8));
    let between = bench.mark();
    bench.rotated().await;

    assert_eq!(principal(&bench).workspaces, [0, 1]);
    let writes = |seen: &&Seen| seen.method == "PUT" || seen.method == "PATCH";
    let written: Vec<_> = first.iter().filter(writes).map(|seen| (seen.service.as_str(), seen.method.as_str())).collect();
    assert_eq!(written, [("databricks-1", "PUT"), ("databricks-1", "PATCH")], "a member first, then CAN_USE");
    assert_eq!(bench.requests_since(&between).iter().filter(writes).count(), 0, "nothing is set again");
}
