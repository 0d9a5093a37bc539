//! `lakekey doctor`: everything that a rotation needs is looked at, what is missing is named with the way to get it, and
//! nothing is changed by looking.

use lakekey_sim::{Action, Fleet, Rule};
use serde_json::{Value, json};

use crate::support::{Bench, days};

/// One target on a gateway, everything in order, a copy and grants.
fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(3) });
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench.credential()["copies"] = json!(["databricks:powerbi/sales-bi", "file:copy.json"]);
    bench.credential()["grants"] = json!([{ "securable": "schema", "name": "main.sales", "privileges": ["USE_SCHEMA"] }]);
    bench
}

/// The answer, after it was seen that nothing was changed and no secret shown.
async fn doctor(bench: &Bench) -> (u8, Vec<Value>) {
    let before = bench.mark();
    let ran = bench.run(&["doctor", "--output", "json"]).await;
    bench.assert_discreet(&ran);
    bench.assert_only_read(&before);
    bench.assert_untouched(&before);
    bench.assert_no_file_changed(&before);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    (ran.status, report["checks"].as_array().unwrap().clone())
}

/// The one failed check of this kind, which must say what to do.
async fn failing(bench: &Bench, check: &str) -> Value {
    let (status, checks) = doctor(bench).await;
    assert_eq!(status, 1, "{checks:#?}");
    let failed: Vec<&Value> = checks.iter().filter(|found| found["ok"] == false).collect();
    assert!(failed.iter().all(|found| found["fix"].as_str().is_some_and(|fix| !fix.is_empty())), "{failed:#?}");
    let found = failed.iter().find(|found| found["check"] == check);
    (*found.unwrap_or_else(|| panic!("no failed check `{check}` in {failed:#?}"))).clone()
}

fn text<'a>(check: &'a Value, field: &str) -> &'a str {
    check[field].as_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_in_order_passes_before_the_first_rotation_and_after_it() {
    let bench = bench();
    let (status, first) = doctor(&bench).await;
    assert_eq!(status, 0, "{first:#?}");

    bench.rotated().await;
    let (status, checks) = doctor(&bench).await;

    assert_eq!(status, 0, "{checks:#?}");
    assert!(checks.iter().all(|check| check["ok"] == true && check["fix"].is_null()), "{checks:#?}");
    let kinds: std::collections::BTreeSet<&str> = checks.iter().map(|check| text(check, "check")).collect();
    let expected = [
        "copy",
        "gateway",
        "grant",
        "journal",
        "manage-secrets",
        "own-secret",
        "principal",
        "sign-in",
        "slots",
        "state",
        "store",
        "targets",
        "warehouse",
        "workspace",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
    let grant = |checks: &[Value]| checks.iter().find(|check| check["check"] == "grant").unwrap()["detail"].clone();
    assert!(grant(&first).as_str().unwrap().contains("lacks it"));
    assert_eq!(grant(&checks), "the principal has it");
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_no_admin_is_told_who_may_manage_secrets() {
    let bench = bench();
    bench.cloud.set_admin(&bench.cloud.cast().admin.client_id, false);

    let found = failing(&bench, "manage-secrets").await;
    assert!(text(&found, "fix").contains("admin of the workspace") && text(&found, "fix").contains("`account`"), "{found}");

    let warehouse = failing(&bench, "warehouse").await;
    let admin = &bench.cloud.cast().admin.client_id;
    assert!(text(&warehouse, "fix").contains("CAN_MANAGE") && text(&warehouse, "fix").contains(admin), "{warehouse}");
}

#[tokio::test(start_paused = true)]
async fn an_account_admin_may_do_without_the_workspace() {
    let mut bench = bench();
    let cast = bench.cloud.cast().clone();
    bench.without_targets();
    bench.credential().as_object_mut().unwrap().remove("copies");
    bench.credential().as_object_mut().unwrap().remove("grants");
    bench.credential()["account"] = json!({ "host": bench.cloud.addresses().account, "id": cast.account });
    bench.cloud.set_admin(&cast.admin.client_id, false);
    bench.cloud.set_account_admin(&cast.admin.client_id, true);
    bench.cloud.leave_workspace(1, &cast.principal.application_id);

    let (status, checks) = doctor(&bench).await;

    assert_eq!(status, 0, "{checks:#?}");
    let of =
        |kind: &str| checks.iter().filter(|check| check["check"] == kind).map(|check| text(check, "detail")).collect::<Vec<_>>();
    assert!(of("manage-secrets")[0].contains("at the account"), "{checks:#?}");
    assert!(of("workspace").iter().any(|detail| detail.contains("`rotate` assigns it")), "{checks:#?}");
}

#[tokio::test(start_paused = true)]
async fn private_link_an_ip_access_list_and_a_missing_right_are_told_apart() {
    let bench = bench();
    let blocked =
        r#"{"error_code":403,"message":"Source IP address: 203.0.113.9 is blocked by Databricks IP ACL for workspace: 1234"}"#;
    let denied = Action::Status { status: 403, retry_after: None, body: Some(blocked.to_owned()), after_effect: false };
    let link = Action::Redirect { location: "/login.html?error=private-link-validation-error:1".to_owned() };
    for (action, words) in [(denied, "IP access list"), (link, "Private Link")] {
        bench.cloud.set_faults(vec![Rule::always(action).service("databricks-0").path("/api/")]);
        let found = failing(&bench, "sign-in").await;
        assert!(text(&found, "fix").contains(words), "{found}");
        let principal = failing(&bench, "principal").await;
        assert!(text(&principal, "fix").contains(words), "{principal}");
    }
    bench.cloud.set_faults(Vec::new());
    bench.cloud.leave_workspace(1, &bench.cloud.cast().admin.client_id);
    let found = failing(&bench, "sign-in").await;
    assert!(text(&found, "fix").contains("Add service principal"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_missing_or_wrong_is_told_for_each_place_where_it_signs_in() {
    for wrong in [None, Some("no longer this")] {
        let mut bench = bench();
        bench.environment.retain(|(name, _)| name != "POWERBI_SECRET");
        bench.environment.extend(wrong.map(|value| ("POWERBI_SECRET".to_owned(), value.to_owned())));

        let (status, checks) = doctor(&bench).await;

        let failed: Vec<&Value> = checks.iter().filter(|check| check["ok"] == false).collect();
        let sign_ins = failed.iter().filter(|check| check["check"] == "sign-in").count();
        assert_eq!((status, sign_ins), (1, 2), "Power BI and Fabric: {failed:#?}");
        assert!(checks.iter().any(|check| check["check"] == "manage-secrets" && check["ok"] == true), "the rest is looked at");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_signs_in_for_local_programs_is_looked_at_too() {
    let mut bench = bench();
    let (mine, host) = (bench.cloud.cast().principal.clone(), bench.cloud.addresses().databricks[0].clone());
    bench.config["identities"]["programs"] =
        json!({ "auth": "oauth-m2m", "client_id": mine.application_id, "client_secret": "env:PROGRAMS_SECRET" });
    bench.config["broker"] = json!([{ "host": host, "identity": "programs" }]);
    let missing = failing(&bench, "sign-in").await;
    assert!(text(&missing, "subject").contains("identity programs"), "{missing}");
    assert!(text(&missing, "detail").contains("PROGRAMS_SECRET"), "{missing}");

    let (_, value) = bench.cloud.person_mints(&mine.application_id, days(90)).unwrap();
    bench.environment.push(("PROGRAMS_SECRET".to_owned(), value));
    // A new secret may take a moment to be known.
    bench.pass(days(1));
    let (status, checks) = doctor(&bench).await;
    assert_eq!(status, 0, "{checks:#?}");
    let of = |check: &&Value| text(check, "subject").starts_with("identity programs");
    let kinds: Vec<&str> = checks.iter().filter(of).map(|check| text(check, "check")).collect();
    assert_eq!(kinds, ["sign-in", "own-secret"], "{checks:#?}");
}

#[tokio::test(start_paused = true)]
async fn keys_of_the_api_that_this_machine_lacks_are_a_warning() {
    let mut bench = bench();
    bench.config["api"] =
        json!({ "keys": { "reader": "env:READER_KEY", "operator": "env:OPERATOR_KEY" }, "webhook_secret": "env:HOOK_KEY" });
    bench.environment.push(("READER_KEY".to_owned(), "0123456789abcdef0123456789abcdef".to_owned()));

    let (status, checks) = doctor(&bench).await;

    let keys: Vec<(&str, bool)> = checks
        .iter()
        .filter(|check| check["check"] == "api-key")
        .map(|check| (text(check, "subject"), check["fix"].is_null()))
        .collect();
    assert_eq!(keys, [("api: reader", true), ("api: operator", false), ("api: webhook_secret", false)], "{checks:#?}");
    assert_eq!(status, 0, "no rotation needs them");
}

#[tokio::test(start_paused = true)]
async fn rights_in_power_bi_are_named_with_the_way_to_give_them() {
    let bench = bench();
    let (me, source) = (bench.me(), bench.gateway_source());
    bench.cloud.set_gateway_admin(&source.gateway, &me, false);
    let gateway = failing(&bench, "gateway").await;
    assert!(text(&gateway, "fix").contains("administrator of the gateway"), "{gateway}");

    bench.cloud.set_gateway_admin(&source.gateway, &me, true);
    for dataset in bench.cloud.truth().datasets {
        bench.cloud.leave_group(&dataset.group, &me);
    }
    failing(&bench, "targets").await;

    let closed = Action::Status { status: 403, retry_after: None, body: None, after_effect: false };
    bench.cloud.set_faults(vec![Rule::always(closed).service("powerbi")]);
    let tenant = failing(&bench, "targets").await;
    assert!(text(&tenant, "fix").contains("Tenant settings"), "{tenant}");
}

#[tokio::test(start_paused = true)]
async fn a_dataset_of_somebody_else_needs_a_take_over() {
    let mut bench = bench();
    let source = bench.persons_source();
    bench.select_source(&source);
    bench.credential()["targets"]["take_over"] = json!(false);

    let found = failing(&bench, "dataset-owner").await;
    assert!(text(&found, "fix").contains("take_over"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn places_that_cannot_be_written_are_told_without_writing() {
    let mut bench = bench();
    // A file where a folder is needed: root may write everything else.
    std::fs::write(bench.folder.path().join("blocked"), "x").unwrap();
    bench.credential()["store"] = json!("file:blocked/sales-bi.json");
    failing(&bench, "store").await;

    bench.credential()["store"] = json!("file:store/sales-bi.json");
    bench.credential()["copies"] = json!(["databricks:nowhere/sales-bi"]);
    let copy = failing(&bench, "copy").await;
    assert!(text(&copy, "fix").contains("create the scope"), "{copy}");

    bench.config["state"] = json!({ "url": "file:blocked/state", "key": "env:NO_KEY" });
    failing(&bench, "state").await;
    failing(&bench, "state-key").await;
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_credential_and_full_slots_are_told() {
    let bench = bench();
    bench.rotated().await;
    std::fs::rename(bench.folder.path().join("state"), bench.folder.path().join("moved")).unwrap();
    let journal = failing(&bench, "journal").await;
    assert!(text(&journal, "detail").contains("journal"), "{journal}");

    let principal = bench.cloud.cast().principal.application_id.clone();
    for _ in 0..3 {
        bench.cloud.person_mints(&principal, days(9));
    }
    failing(&bench, "slots").await;
}

#[tokio::test(start_paused = true)]
async fn a_principal_that_entra_manages_is_warned_of() {
    let mut bench = bench();
    let entra = bench.cloud.cast().entra_admin.client_id.clone();
    bench.credential()["service_principal"] = json!({ "application_id": entra });

    let (status, checks) = doctor(&bench).await;

    let kind = checks.iter().find(|check| check["check"] == "principal-kind").unwrap();
    assert_eq!((status, &kind["ok"]), (0, &json!(true)), "{checks:#?}");
    assert!(text(kind, "detail").contains("an hour") && text(kind, "fix").contains("Databricks manages"), "{kind}");
}

#[tokio::test(start_paused = true)]
async fn the_expiry_of_the_identity_s_own_secret_is_shown_and_warned_of() {
    let bench = bench();
    let own = |checks: &[Value]| {
        let admin = |check: &&Value| check["check"] == "own-secret" && text(check, "subject").contains("dbx-admin");
        checks.iter().find(admin).unwrap().clone()
    };
    let (_, checks) = doctor(&bench).await;
    assert!(text(&own(&checks), "detail").contains("2027-"), "{}", own(&checks));
    assert!(own(&checks)["fix"].is_null());

    bench.pass(days(590));
    let (status, checks) = doctor(&bench).await;
    assert_eq!(status, 0, "{checks:#?}");
    assert!(text(&own(&checks), "fix").contains("make a new secret"), "{}", own(&checks));
}

#[tokio::test(start_paused = true)]
async fn people_get_a_table_and_what_to_do_below_it() {
    let bench = bench();
    bench.cloud.set_gateway_admin(&bench.gateway_source().gateway, &bench.me(), false);

    let ran = bench.run(&["doctor"]).await;

    let first = ran.stdout.lines().next().unwrap();
    assert!(first.starts_with("RESULT") && first.ends_with("FOUND"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nerror: sales-bi: ") && ran.stdout.contains("\nhint: "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("checks failed\n"), "{}", ran.stdout);
    assert_eq!(ran.status, 1);
}
