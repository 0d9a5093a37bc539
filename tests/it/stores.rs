//! Where values are kept, and where they come from.

use lakekey_sim::{Fleet, Settings};
use serde_json::{Value, json};

use crate::arrange::column;
use crate::support::{Bench, days, hours};

/// One target on a gateway.
fn bench_with(settings: Settings) -> Bench {
    let mut bench = Bench::with(&Fleet { decoys: false, ..Fleet::small(3) }, settings);
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench
}

fn bench() -> Bench {
    bench_with(Settings::default())
}

/// What a copy or the store holds, as JSON.
fn stored(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn store(bench: &Bench) -> Value {
    stored(&std::fs::read(bench.folder.path().join("store/sales-bi.json")).unwrap())
}

/// The value is the principal's, with this secret.
fn assert_is(bench: &Bench, value: &Value, secret_id: &Value) {
    let id = secret_id.as_str().unwrap();
    assert_eq!(value["clientId"], json!(bench.cloud.cast().principal.application_id));
    assert_eq!((&value["oauthSecretId"], &value["clientSecret"]), (secret_id, &json!(bench.cloud.minted_values()[id])));
}

#[tokio::test(start_paused = true)]
async fn copies_get_the_value_that_the_store_has_after_every_rotation() {
    let mut bench = bench();
    bench.credential()["copies"] = json!(["databricks:powerbi/sales-bi", "file:copies/sales-bi.json"]);

    for _ in 0..2 {
        let done = bench.rotated().await;

        assert_is(&bench, &store(&bench), &done["secret_id"]);
        assert_is(&bench, &stored(&bench.cloud.scope_value(0, "powerbi", "sales-bi").unwrap()), &done["secret_id"]);
        let copy = bench.folder.path().join("copies/sales-bi.json");
        assert_is(&bench, &stored(&std::fs::read(copy).unwrap()), &done["secret_id"]);
        bench.pass(days(8));
    }
}

#[tokio::test(start_paused = true)]
async fn no_copy_is_written_before_every_target_has_moved() {
    let mut bench = bench();
    bench.credential()["copies"] = json!(["databricks:powerbi/sales-bi"]);
    let before = bench.mark();

    bench.rotated().await;

    let writes: Vec<_> = bench
        .requests_since(&before)
        .into_iter()
        .filter(|seen| seen.path.contains("secrets/put") || seen.method == "PATCH")
        .map(|seen| seen.service)
        .collect();
    assert_eq!(writes, ["powerbi", "databricks-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_be_written_stops_nothing_but_gates_the_retirement() {
    let mut bench = bench();
    bench.credential()["copies"] = json!(["databricks:powerbi/sales-bi"]);
    let first = bench.rotated().await;
    bench.credential()["copies"] = json!(["databricks:elsewhere/sales-bi", "databricks:powerbi/sales-bi"]);
    bench.pass(days(8));

    let ran = bench.run(&["rotate", "--output", "json"]).await;
    bench.assert_discreet(&ran);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let second = &report["credentials"][0];

    // The targets have moved and the store has the value; a person must make the scope.
    assert_is(&bench, &store(&bench), &second["secret_id"]);
    assert_ne!(second["secret_id"], first["secret_id"]);
    assert_eq!(bench.source(&bench.gateway_source().id).secret_id.as_deref(), second["secret_id"].as_str());
    assert_is(&bench, &stored(&bench.cloud.scope_value(0, "powerbi", "sales-bi").unwrap()), &second["secret_id"]);

    bench.cloud.add_scope(0, "elsewhere");
    bench.pass(hours(1));
    let (status, third) = bench.one(&["rotate"]).await;
    assert_eq!(status, 0, "{third:#}");
    assert_is(&bench, &stored(&bench.cloud.scope_value(0, "elsewhere", "sales-bi").unwrap()), &second["secret_id"]);
    assert!(bench.living().contains(&first["secret_id"].as_str().unwrap().to_owned()), "grace counts from the last copy");
    bench.pass(hours(25));
    let (status, last) = bench.one(&["rotate"]).await;
    assert_eq!((status, &last["retired"]), (0, &json!([first["secret_id"]])), "{last:#}");
}

const ACCOUNT: &str = "7a3a0000-0000-4000-8000-000000000000";

/// A value in the plain shape that other programs keep, of a secret that a person made.
fn moved_from_elsewhere(bench: &Bench) -> String {
    put_by_hand(bench, bench.cloud.person_mints(&bench.cloud.cast().principal.application_id, days(90)).unwrap())
}

fn put_by_hand(bench: &Bench, (id, value): (String, String)) -> String {
    let principal = &bench.cloud.cast().principal;
    let json = json!({
        "clientId": principal.application_id,
        "clientSecret": value,
        "oauthSecretId": id,
        "servicePrincipalId": principal.id.to_string(),
        "accountId": ACCOUNT,
    });
    std::fs::create_dir(bench.folder.path().join("store")).unwrap();
    std::fs::write(bench.folder.path().join("store/sales-bi.json"), json.to_string()).unwrap();
    bench.pass(hours(1));
    id
}

#[tokio::test(start_paused = true)]
async fn a_value_moved_from_elsewhere_becomes_generation_1_and_is_retired_in_its_turn() {
    let bench = bench();
    let adopted = moved_from_elsewhere(&bench);
    let foreign: Vec<String> = bench.living().into_iter().filter(|id| *id != adopted).collect();

    bench.pass(days(8));
    let (_, plan) = bench.one(&["plan"]).await;
    let (status, first) = bench.one(&["rotate"]).await;

    assert!(format!("{}", plan["steps"]).contains(&adopted), "{plan:#}");
    assert_eq!((status, first["outcome"].as_str(), first["generation"].as_u64()), (0, Some("rotated"), Some(2)), "{first:#}");
    assert_eq!(store(&bench)["accountId"], ACCOUNT, "whatever rotates it next may ask for it");
    let (_, now) = bench.one(&["status"]).await;
    let role = |id: &str| now["secrets"].as_array().unwrap().iter().find(|secret| secret["id"] == id).unwrap()["role"].clone();
    assert_eq!((role(&adopted), role(&foreign[0])), (json!("previous"), json!("foreign")), "{now:#}");

    bench.pass(hours(26));
    let (_, last) = bench.one(&["rotate"]).await;
    assert_eq!(column(&now["secrets"], "id").len(), 3);
    assert_eq!(last["retired"], json!([adopted]), "{last:#}");
    assert!(bench.living().contains(&foreign[0]), "nothing foreign is deleted");
}

#[tokio::test(start_paused = true)]
async fn the_scopes_of_an_adopted_secret_are_those_of_every_later_one() {
    let bench = bench();
    let principal = bench.cloud.cast().principal.application_id.clone();
    let adopted = put_by_hand(&bench, bench.cloud.person_mints_scoped(&principal, days(90), &["sql"]).unwrap());
    bench.pass(days(8));

    let second = bench.rotated().await;
    bench.pass(days(8));
    let third = bench.rotated().await;

    assert_eq!((&second["generation"], &third["generation"]), (&json!(2), &json!(3)), "adopted as generation 1");
    let scopes = |id: &str| {
        let found = bench.cloud.secrets(&principal).into_iter().find(|secret| secret.id == id);
        found.unwrap().scopes
    };
    for id in [adopted.as_str(), second["secret_id"].as_str().unwrap(), third["secret_id"].as_str().unwrap()] {
        assert_eq!(scopes(id), ["sql"], "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_moved_value_whose_secret_is_gone_is_not_adopted() {
    let bench = bench();
    let gone = moved_from_elsewhere(&bench);
    bench.cloud.person_deletes_secret(&gone);

    let done = bench.rotated().await;

    assert_eq!(done["generation"], 1, "{done:#}");
    assert_is(&bench, &store(&bench), &done["secret_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_moved_value_that_does_not_sign_in_is_not_adopted_and_its_secret_stays() {
    let bench = bench();
    let listed = moved_from_elsewhere(&bench);
    let path = bench.folder.path().join("store/sales-bi.json");
    let mut value = store(&bench);
    value["clientSecret"] = json!("dose00000000000000000000000000000000");
    std::fs::write(&path, value.to_string()).unwrap();

    let done = bench.rotated().await;
    bench.pass(hours(26));
    bench.one(&["rotate"]).await;

    assert_eq!(done["generation"], 1, "{done:#}");
    assert!(bench.living().contains(&listed), "a secret that is not adopted is foreign");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_names_a_journal_where_there_is_none_quarantines_and_deletes_nothing() {
    let bench = bench();
    let first = bench.rotated().await;
    std::fs::remove_dir_all(bench.folder.path().join("state")).unwrap();
    bench.pass(days(8));
    let before = bench.mark();

    let ran = bench.run(&["rotate", "--output", "json"]).await;
    bench.assert_discreet(&ran);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let refused = &report["credentials"][0];

    assert_eq!((ran.status, refused["error"]["code"].as_str()), (3, Some("journal-missing")), "{report:#}");
    assert_eq!(refused["phase"], "quarantined", "{report:#}");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("--force"), "{report:#}");
    bench.assert_untouched(&before);
    assert!(bench.living().contains(&first["secret_id"].as_str().unwrap().to_owned()));
}

#[tokio::test(start_paused = true)]
async fn plan_and_status_say_that_a_stored_value_names_a_journal_that_is_gone() {
    let bench = bench();
    bench.rotated().await;
    std::fs::remove_dir_all(bench.folder.path().join("state")).unwrap();
    let before = bench.mark();

    let (status, plan) = bench.one(&["plan"]).await;
    let (looked, now) = bench.one(&["status"]).await;

    assert!(column(&plan["problems"], "code").contains("journal-missing"), "{plan:#}");
    assert_eq!((status, plan["phase"].as_str()), (3, Some("quarantined")), "{plan:#}");
    assert_eq!((looked, now["error"]["code"].as_str()), (3, Some("journal-missing")), "{now:#}");
    bench.assert_no_file_changed(&before);
}

/// The Power BI identity's secret lies in a secret scope of the first workspace.
fn refer_to_scope(bench: &mut Bench) {
    let value = bench.cloud.cast().powerbi.client_secret.clone();
    assert!(bench.cloud.put_scope_value(0, "powerbi", "app", value.as_bytes()));
    let host = bench.cloud.addresses().databricks[0].trim_start_matches("https://").to_owned();
    bench.config["identities"]["powerbi"]["client_secret"] = json!(format!("databricks:{host}/powerbi/app?identity=dbx-admin"));
    bench.environment.retain(|(name, _)| name != "POWERBI_SECRET");
}

#[tokio::test(start_paused = true)]
async fn the_power_bi_identity_may_keep_its_secret_in_a_secret_scope() {
    let mut bench = bench();
    refer_to_scope(&mut bench);

    let done = bench.rotated().await;

    assert_eq!(bench.source(&bench.gateway_source().id).secret_id.as_deref(), done["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_read_in_notebooks_only_is_explained() {
    let mut bench = bench_with(Settings { scopes_readable: false, ..Settings::default() });
    refer_to_scope(&mut bench);

    let problem = bench.refused("secret-notebook-only").await;

    assert!(problem["message"].as_str().unwrap().contains("notebook"), "{problem}");
}
