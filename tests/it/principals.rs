//! Which service principal a credential is: exactly one, found, made, or an error.

use lakekey_sim::{Action, Fleet, PrincipalTruth, Rule};
use serde_json::{Value, json};

use crate::arrange::hints;
use crate::support::{Bench, days};

/// A credential without targets: only the principal matters here.
fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(1) });
    bench.without_targets();
    bench
}

fn principals(bench: &Bench, name: &str) -> Vec<PrincipalTruth> {
    bench.cloud.truth().principals.into_iter().filter(|principal| principal.display_name == name).collect()
}

fn creates(bench: &Bench) -> usize {
    let is_create = |seen: &&lakekey_sim::Seen| seen.method == "POST" && seen.path.contains("/ServicePrincipals");
    bench.cloud.requests().iter().filter(is_create).count()
}

#[tokio::test(start_paused = true)]
async fn a_principal_that_is_not_there_is_named() {
    let mut bench = bench();
    bench.credential()["service_principal"] = json!("pbi-nobody");

    let problem = bench.refused("principal-not-found").await;

    assert!(problem["message"].as_str().unwrap().contains("`pbi-nobody`"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn two_principals_of_one_name_are_an_error_that_lists_their_ids() {
    let bench = bench();
    let second = bench.cloud.add_principal("pbi-sales");

    let problem = bench.refused("principal-ambiguous").await;

    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains(&second) && hint.contains(&bench.cloud.cast().principal.application_id), "{hint}");
}

#[tokio::test(start_paused = true)]
async fn an_application_id_says_which_of_two_principals_of_one_name_is_meant() {
    let mut bench = bench();
    bench.cloud.add_principal("pbi-sales");
    let wanted = bench.cloud.cast().principal.application_id.clone();
    bench.credential()["service_principal"] = json!({ "application_id": wanted.to_uppercase() });

    let done = bench.rotated().await;

    assert!(bench.living().contains(&done["secret_id"].as_str().unwrap().to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_name_with_quotes_and_backslashes_is_found_exactly() {
    let mut bench = bench();
    let name = "pbi \"quoted\" \\ name";
    bench.credential()["service_principal"] = json!(name);

    let done = bench.rotated().await;

    let found = principals(&bench, name);
    assert_eq!(found[0].secrets.len(), 1);
    assert_eq!(Some(found[0].secrets[0].id.as_str()), done["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn a_deactivated_principal_is_an_error_before_anything_is_made() {
    let bench = bench();
    bench.cloud.set_active(&bench.cloud.cast().principal.application_id, false);

    bench.refused("principal-inactive").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_principal_is_planned_without_being_made_and_then_made_once() {
    let mut bench = bench();
    bench.credential()["service_principal"] = json!("pbi \"new\" Köln");
    bench.credential()["create_service_principal"] = json!(true);

    let before = bench.mark();
    let (status, plan) = bench.one(&["plan"]).await;
    assert_eq!((status, plan["service_principal"]["exists"].as_bool()), (0, Some(false)), "{plan:#}");
    assert_eq!(plan["steps"][0]["action"], "create-service-principal", "{plan:#}");
    bench.assert_untouched(&before);
    bench.assert_only_read(&before);
    bench.assert_no_file_changed(&before);

    let done = bench.rotated().await;
    let (status, again) = bench.one(&["rotate"]).await;
    assert_eq!((status, again["outcome"].as_str()), (0, Some("unchanged")), "{again:#}");

    let made = principals(&bench, "pbi \"new\" Köln");
    assert_eq!((made.len(), creates(&bench)), (1, 1));
    assert_eq!((made[0].entra_managed, made[0].entitlements.as_slice()), (false, &["databricks-sql-access".to_owned()][..]));
    assert_eq!(Some(made[0].secrets[0].id.as_str()), done["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn a_principal_made_with_an_application_id_is_managed_by_entra() {
    let mut bench = bench();
    let id = "2c8e7f0a-1111-4222-8333-444455556666";
    bench.credential()["service_principal"] = json!({ "application_id": id });
    bench.credential()["create_service_principal"] = json!(true);

    bench.rotated().await;

    let truth = bench.cloud.truth();
    let made: Vec<_> = truth.principals.iter().filter(|principal| principal.application_id == id).collect();
    assert_eq!((made.len(), made[0].entra_managed, made[0].secrets.len()), (1, true, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_create_of_a_principal_makes_no_second_one() {
    let mut bench = bench();
    bench.credential()["service_principal"] = json!("pbi-new");
    bench.credential()["create_service_principal"] = json!(true);
    bench.cloud.set_faults(vec![Rule::always(Action::DropAfter).method("POST").path("/ServicePrincipals").times(1)]);

    let done = bench.rotated().await;

    let made = principals(&bench, "pbi-new");
    assert_eq!((made.len(), creates(&bench)), (1, 1));
    assert_eq!(Some(made[0].secrets[0].id.as_str()), done["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn no_principal_is_made_while_another_problem_keeps_the_rotation_from_starting() {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(1) });
    bench.credential()["service_principal"] = json!("pbi-new");
    bench.credential()["create_service_principal"] = json!(true);
    bench.select(json!([{ "workspace": "Sales", "dataset": "no such dataset" }]));

    bench.refused("dataset-not-found").await;

    assert_eq!(principals(&bench, "pbi-new").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn reapply_makes_no_principal() {
    let mut bench = bench();
    bench.credential()["service_principal"] = json!("pbi-new");
    bench.credential()["create_service_principal"] = json!(true);
    let before = bench.mark();

    let (status, report) = bench.one(&["reapply"]).await;

    assert_eq!((status, report["outcome"].as_str()), (1, Some("failed")), "{report:#}");
    assert!(hints(&report["error"]), "{report:#}");
    bench.assert_untouched(&before);
}

/// A second credential that means the same principal by its id.
fn with_twin(bench: &mut Bench) {
    let mut twin = bench.credential().clone();
    twin["service_principal"] = json!({ "application_id": bench.cloud.cast().principal.application_id });
    twin["store"] = json!("file:store/twin.json");
    bench.config["credentials"]["twin"] = twin;
}

#[tokio::test(start_paused = true)]
async fn two_credentials_that_are_one_principal_are_an_error_on_both() {
    let mut bench = bench();
    with_twin(&mut bench);
    let before = bench.mark();

    let (planned, plan) = bench.json(&["plan"]).await;
    let (rotated, report) = bench.json(&["rotate"]).await;

    assert_eq!((planned, rotated), (1, 1), "{plan:#}\n{report:#}");
    for at in 0..2 {
        let problem = &plan["credentials"][at]["problems"][0];
        let error = &report["credentials"][at]["error"];
        assert_eq!((&problem["code"], &error["code"]), (&json!("principal-shared"), &json!("principal-shared")));
        assert!(hints(problem) && hints(error), "{problem} {error}");
    }
    bench.assert_untouched(&before);
}

#[tokio::test(start_paused = true)]
async fn a_credential_named_alone_is_refused_the_principal_that_another_one_keeps() {
    let mut bench = bench();
    with_twin(&mut bench);
    let (status, first) = bench.one(&["rotate", "sales-bi"]).await;
    assert_eq!((status, first["outcome"].as_str()), (0, Some("rotated")), "{first:#}");
    let before = bench.mark();

    let (status, second) = bench.one(&["rotate", "twin"]).await;

    assert_eq!((status, second["error"]["code"].as_str()), (1, Some("principal-shared")), "{second:#}");
    bench.assert_untouched(&before);
}

/// The credential's report among those of several.
fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["credentials"].as_array().unwrap().iter().find(|credential| credential["name"] == name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_credential_that_cannot_be_found_does_not_keep_the_others() {
    let mut bench = bench();
    let mut other = bench.credential().clone();
    other["service_principal"] = json!("pbi-nobody");
    other["store"] = json!("file:store/other.json");
    bench.config["credentials"]["other"] = other;

    let (status, report) = bench.json(&["rotate"]).await;

    assert_eq!(status, 1, "{report:#}");
    assert_eq!(of(&report, "other")["error"]["code"], "principal-not-found");
    assert_eq!(of(&report, "sales-bi")["outcome"], "rotated", "{report:#}");
}

#[tokio::test(start_paused = true)]
async fn status_and_history_follow_a_credential_to_its_new_principal() {
    // Both ways round, so that the order of their ids does not matter.
    for (old, new) in [("pbi-sales", "pbi-sales-test"), ("pbi-sales-test", "pbi-sales")] {
        let mut bench = bench();
        bench.credential()["service_principal"] = json!(old);
        bench.rotated().await;
        bench.credential()["service_principal"] = json!(new);
        bench.credential()["store"] = json!("file:store/new.json");
        bench.pass(days(1));

        let done = bench.rotated().await;
        let (_, status) = bench.one(&["status"]).await;
        let (_, history) = bench.one(&["history"]).await;

        assert_eq!(status["secret_id"], done["secret_id"], "{status:#}");
        assert!(history.to_string().contains(done["secret_id"].as_str().unwrap()), "{history:#}");
    }
}
