//! Data sources that are written through Fabric: on virtual networks, and connections that a row names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_sim::{Cloud, Fleet, Role, Settings, SourceTruth};
use serde_json::{Value, json};

use crate::arrange::{column, hints};
use crate::support::{Bench, InProcess, days, minutes};

fn bench() -> Bench {
    with(Settings::default())
}

fn with(settings: Settings) -> Bench {
    let mut bench = Bench::with(&Fleet { decoys: false, ..Fleet::new(8, 2) }, settings);
    bench.list_all_warehouses();
    bench
}

fn on_network(bench: &Bench) -> SourceTruth {
    bench.target(|source| source.connectivity == "VirtualNetworkGateway")
}

/// On the gateway of two members, one of them disabled.
fn on_cluster(bench: &Bench) -> SourceTruth {
    bench.target(|source| bench.cloud.gateway_name(&source.gateway).as_deref() == Some("Cluster \"Nord\" 1"))
}

fn select_connection(bench: &mut Bench, source: &SourceTruth) {
    bench.select(json!([{ "connection": source.id.to_uppercase() }]));
}

/// The only target of a plan.
async fn planned(bench: &Bench) -> Value {
    let (status, plan) = bench.one(&["plan"]).await;
    assert_eq!((status, plan["targets"].as_array().map(Vec::len)), (0, Some(1)), "{plan:#}");
    plan["targets"][0].clone()
}

/// `rotate` ends with its one target failed for this reason, which says what to do.
async fn fails_with(bench: &Bench, code: &str) -> Value {
    let ran = bench.run(&["rotate", "--force", "--output", "json"]).await;
    bench.assert_discreet(&ran);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let target = report["credentials"][0]["targets"][0].clone();
    assert_eq!((ran.status, target["error"]["code"].as_str()), (3, Some(code)), "{report:#}");
    assert!(hints(&target["error"]), "{target:#}");
    target["error"].clone()
}

#[tokio::test(start_paused = true)]
async fn doctor_names_what_is_written_through_fabric_and_the_role_that_only_a_rotation_shows() {
    for (row, check) in [("gateway", "gateway"), ("connection", "connection")] {
        let mut bench = bench();
        let source = if row == "gateway" { on_network(&bench) } else { bench.persons_source() };
        bench.cloud.share_source(&source.id, &bench.me());
        bench.own_everything();
        bench.select(match row {
            "gateway" => json!([{ "gateway": "vnet-gw", "datasource": source.name }]),
            _ => json!([{ "connection": source.id }]),
        });
        let ran = bench.run(&["doctor", "--output", "json"]).await;
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let told = report["checks"].as_array().unwrap().iter().find(|found| found["check"] == check);
        let told = told.unwrap_or_else(|| panic!("{row}: {report:#}"));
        assert!(told["ok"] == true && told["detail"].as_str().is_some_and(|detail| detail.contains("Owner role")), "{told:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_virtual_network_source_is_moved_whichever_row_selects_it() {
    for row in ["dataset", "warehouse", "gateway", "connection"] {
        let mut bench = bench();
        let source = on_network(&bench);
        bench.own_everything();
        bench.select(match row {
            "dataset" => json!([bench.row(&bench.dataset_of(&source))]),
            "warehouse" => json!([{ "warehouse": source.warehouse }]),
            "gateway" => json!([{ "gateway": "vnet-gw", "datasource": source.name }]),
            _ => json!([{ "connection": source.id }]),
        });
        let before = bench.mark();

        let (_, plan) = bench.one(&["plan"]).await;
        bench.assert_only_read(&before);
        let done = bench.rotated().await;

        let targets = plan["targets"].as_array().unwrap();
        let target = targets.iter().find(|target| target["id"] == json!(source.target_id)).unwrap();
        assert_eq!(target["kind"], "vnet", "{row}: {plan:#}");
        let now = bench.source(&source.id);
        assert_eq!((now.secret_id.as_deref(), now.writes, now.connects), (done["secret_id"].as_str(), 1, true), "{row}");
        assert_eq!((now.privacy, now.sso, now.encryption), (source.privacy, source.sso, source.encryption), "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_virtual_network_source_is_never_reason_for_a_take_over() {
    let mut bench = bench();
    let source = on_network(&bench);
    let dataset = bench.dataset_of(&source);
    bench.select_source(&source);
    let before = bench.mark();

    let done = bench.rotated().await;

    bench.assert_wrote_exactly(&before, &[&source.id], &done["secret_id"]);
    assert_eq!(bench.dataset(&dataset.id).owner, dataset.owner);
}

#[tokio::test(start_paused = true)]
async fn a_named_connection_in_the_cloud_is_written_without_owning_a_dataset() {
    let mut bench = bench();
    let source = bench.persons_source();
    bench.cloud.share_source(&source.id, &bench.me());
    bench.credential()["targets"]["take_over"] = json!(false);
    select_connection(&mut bench, &source);

    let target = planned(&bench).await;
    let before = bench.mark();
    let done = bench.rotated().await;

    assert_eq!((&target["id"], &target["kind"]), (&json!(source.target_id), &json!("connection")));
    bench.assert_wrote_exactly(&before, &[&source.id], &done["secret_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_named_connection_on_a_cluster_is_sealed_for_every_member_disabled_ones_included() {
    let mut bench = bench();
    let source = on_cluster(&bench);
    bench.cloud.set_member_enabled(&source.gateway, 0, false);
    select_connection(&mut bench, &source);

    let target = planned(&bench).await;
    let before = bench.mark();
    let done = bench.rotated().await;

    assert_eq!((&target["id"], &target["kind"]), (&json!(source.target_id), &json!("connection")));
    // The simulated cloud opens every member's ciphertext with that member's own key.
    bench.assert_wrote_exactly(&before, &[&source.id], &done["secret_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_reached_both_ways_is_one_target() {
    let mut bench = bench();
    let source = bench.gateway_source();
    let row = bench.row(&bench.dataset_of(&source));
    let gateway = json!({ "gateway": source.gateway, "datasource": source.name });
    bench.select(json!([row, { "connection": source.id }, gateway]));

    let target = planned(&bench).await;
    let before = bench.mark();
    let done = bench.rotated().await;

    assert_eq!(target["id"], json!(source.target_id));
    assert!(!column(&target["datasets"], "id").is_empty());
    bench.assert_wrote_exactly(&before, &[&source.id], &done["secret_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_shown_or_not_the_workspace_s_is_an_error() {
    let mut bench = bench();
    let source = bench.persons_source();
    select_connection(&mut bench, &source);
    let problem = bench.refused("connection-not-found").await;
    assert!(problem["message"].as_str().unwrap().contains(&source.id), "{problem}");

    bench.cloud.share_source(&source.id, &bench.me());
    bench.cloud.repoint(&source.id, "adb-999.9.azuredatabricks.net", "0123456789abcdef");
    bench.refused("selects-nothing").await;
}

#[tokio::test(start_paused = true)]
async fn where_only_power_bi_is_allowed_a_virtual_network_source_is_an_error_and_no_dataset_is_taken_over() {
    for level in [None, Some("Private")] {
        let mut bench = bench();
        let source = on_network(&bench);
        bench.select_source(&source);
        if let Some(level) = level {
            bench.credential()["targets"]["privacy_level"] = json!(level);
        }
        bench.cloud.set_fabric_allowed(&bench.me(), false);

        let problem = bench.refused("no-fabric-right").await;

        assert!(problem["hint"].as_str().unwrap().contains("Fabric"), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_only_power_bi_is_allowed_gateways_and_own_datasets_are_moved_still() {
    let mut bench = bench();
    let (own, on_gateway) = (bench.own_source(), bench.gateway_source());
    let rows = [bench.row(&bench.dataset_of(&own)), bench.row(&bench.dataset_of(&on_gateway))];
    bench.select(json!(rows));
    bench.credential()["targets"]["privacy_level"] = json!(own.privacy);
    bench.cloud.set_fabric_allowed(&bench.me(), false);

    let done = bench.rotated().await;

    for source in [&own, &on_gateway] {
        assert_eq!(bench.source(&source.id).secret_id.as_deref(), done["secret_id"].as_str());
    }
}

#[tokio::test(start_paused = true)]
async fn a_test_that_takes_its_time_is_followed_to_its_end() {
    let mut bench = with(Settings { connection_test_time: Duration::from_secs(40), ..Settings::default() });
    let source = on_network(&bench);
    select_connection(&mut bench, &source);
    let before = bench.mark();

    let done = bench.rotated().await;

    bench.assert_wrote_exactly(&before, &[&source.id], &done["secret_id"]);
    let polls = bench.requests_since(&before).into_iter().filter(|seen| seen.path.starts_with("/v1/operations/")).count();
    assert!((10..=30).contains(&polls), "every two seconds, as the service asks: {polls}");
}

#[tokio::test(start_paused = true)]
async fn a_test_that_never_ends_fails_the_target_in_bounded_time() {
    let mut bench = with(Settings { connection_test_time: days(2), ..Settings::default() });
    let source = on_network(&bench);
    select_connection(&mut bench, &source);

    fails_with(&bench, "timeout").await;

    assert!(bench.source(&source.id).connects);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_offline_after_its_write_is_no_success() {
    let mut bench = bench();
    let source = on_network(&bench);
    select_connection(&mut bench, &source);
    bench.cloud.show_connection_as(&source.id, "status", "Offline");

    let error = fails_with(&bench, "credential-refused").await;

    assert!(error["message"].as_str().unwrap().contains("offline"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_nobody_knows_is_no_success() {
    let mut bench = bench();
    let source = on_network(&bench);
    select_connection(&mut bench, &source);
    bench.cloud.show_connection_as(&source.id, "status", "Hibernating");

    let error = fails_with(&bench, "connection-status-unknown").await;

    assert!(error["message"].as_str().unwrap().contains("Hibernating"), "{error}");
}

/// Something happens between plan and first write: just before the secret is made.
struct Meanwhile<F> {
    cloud: InProcess,
    happens: F,
}

#[async_trait::async_trait]
impl<F: Fn(&Cloud) -> bool + Send + Sync> Transport for Meanwhile<F> {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        if request.method() == http::Method::POST && request.uri().path().ends_with("/credentials/secrets") {
            assert!((self.happens)(&self.cloud.0), "it happened");
        }
        self.cloud.send(request, timeout).await
    }
}

/// `rotate` while that happens; gives the credential's part of the report.
async fn rotate_while(bench: &Bench, happens: impl Fn(&Cloud) -> bool + Send + Sync + 'static) -> Value {
    let cloud = InProcess(bench.cloud.clone());
    let ran = bench.run_over(Arc::new(Meanwhile { cloud, happens }), &["rotate", "--output", "json"]).await;
    bench.assert_discreet(&ran);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.status, 3, "{report:#}");
    report["credentials"][0].clone()
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_type_changed_after_it_was_planned_is_not_written() {
    for (property, word) in [("connectivityType", "ShareableCloud"), ("credentialType", "OAuth2")] {
        let mut bench = bench();
        let source = on_network(&bench);
        select_connection(&mut bench, &source);
        let id = source.id.clone();

        let report = rotate_while(&bench, move |cloud| cloud.show_connection_as(&id, property, word)).await;

        let error = &report["targets"][0]["error"];
        assert_eq!((error["code"].as_str(), hints(error)), (Some("target-changed"), true), "{report:#}");
        assert_eq!((bench.source(&source.id).writes, bench.source(&source.id).secret_id), (0, source.secret_id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_pointed_elsewhere_after_it_was_planned_is_not_written() {
    let mut bench = bench();
    let source = on_network(&bench);
    select_connection(&mut bench, &source);
    let (id, host) = (source.id.clone(), source.host.clone());

    let report = rotate_while(&bench, move |cloud| cloud.repoint(&id, &host, "0123456789abcdef")).await;

    assert_eq!(report["targets"][0]["error"]["code"], "target-changed", "{report:#}");
    assert_eq!(bench.source(&source.id).writes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dataset_deleted_between_plan_and_apply_fails_its_source_and_no_other() {
    let mut bench = bench();
    let (gone, kept) = (bench.own_source(), on_network(&bench));
    let rows = [bench.row(&bench.dataset_of(&gone)), bench.row(&bench.dataset_of(&kept))];
    bench.select(json!(rows));
    let dataset = gone.datasets[0].clone();

    let report = rotate_while(&bench, move |cloud| cloud.delete_dataset(&dataset)).await;

    let targets = report["targets"].as_array().unwrap();
    let failed = targets.iter().find(|target| target["id"] == json!(gone.target_id)).unwrap();
    assert!(["target-gone", "target-unreadable"].contains(&failed["error"]["code"].as_str().unwrap()), "{report:#}");
    assert!(hints(&failed["error"]), "{report:#}");
    assert_eq!(bench.source(&gone.id).writes, 0);
    assert_eq!(bench.source(&kept.id).secret_id.as_deref(), report["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn a_take_over_that_is_refused_fails_its_target_and_leaves_the_others_to_move() {
    let mut bench = bench();
    let (persons, kept) = (bench.persons_source(), on_network(&bench));
    let dataset = bench.dataset_of(&persons);
    let rows = [bench.row(&dataset), bench.row(&bench.dataset_of(&kept))];
    bench.select(json!(rows));
    let (group, me) = (dataset.group.clone(), bench.me());

    // A viewer sees the dataset and may not take it over.
    let report = rotate_while(&bench, move |cloud| cloud.join_group(&group, &me, Role::Viewer)).await;

    let targets = report["targets"].as_array().unwrap();
    let refused = targets.iter().find(|target| target["id"] == json!(persons.target_id)).unwrap();
    assert_eq!(refused["error"]["code"], "take-over-refused", "{report:#}");
    assert_eq!((bench.source(&persons.id).writes, bench.dataset(&dataset.id).owner), (0, dataset.owner));
    assert!(bench.source(&persons.id).connects);
}

#[tokio::test(start_paused = true)]
async fn a_connection_type_that_nobody_knows_is_left_alone() {
    let mut bench = bench();
    let source = on_network(&bench);
    select_connection(&mut bench, &source);
    bench.cloud.show_connection_as(&source.id, "connectivityType", "TelepathicGateway");

    bench.refused("selects-nothing").await;
    let (_, plan) = bench.one(&["plan"]).await;

    let left = plan["left"].as_array().unwrap();
    assert!(left[0]["reason"].as_str().unwrap().contains("TelepathicGateway"), "{left:#?}");
}

#[tokio::test(start_paused = true)]
async fn words_newer_than_the_spec_are_sent_back_as_they_were_read() {
    let mut bench = bench();
    let source = on_network(&bench);
    select_connection(&mut bench, &source);
    for (property, word) in [("singleSignOnType", "Telepathy"), ("connectionEncryption", "Quantum"), ("privacyLevel", "Intimate")]
    {
        bench.cloud.show_connection_as(&source.id, property, word);
    }
    let before = bench.mark();

    let done = bench.rotated().await;

    bench.assert_wrote_exactly(&before, &[&source.id], &done["secret_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_credential_that_nobody_knows_is_replaced_only_with_leave() {
    let mut bench = bench();
    let source = on_network(&bench);
    select_connection(&mut bench, &source);
    bench.cloud.show_connection_as(&source.id, "credentialType", "Passkey");

    let problem = bench.refused("other-credential-kind").await;

    assert!(problem["message"].as_str().unwrap().contains("Passkey"), "{problem}");
    bench.credential()["targets"]["convert"] = json!(true);
    bench.rotated().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_off_is_named_as_the_reason_and_the_target_keeps_its_secret() {
    let mut bench = bench();
    let source = on_cluster(&bench);
    select_connection(&mut bench, &source);
    bench.cloud.set_member_online(&source.gateway, 1, false);

    fails_with(&bench, "gateway-unreachable").await;

    assert_eq!(bench.source(&source.id).writes, 0);
    assert!(bench.source(&source.id).connects);
    bench.cloud.set_member_online(&source.gateway, 1, true);
    bench.pass(minutes(20));
    let (status, report) = bench.one(&["rotate"]).await;
    assert_eq!((status, report["outcome"].as_str()), (0, Some("rotated")), "{report:#}");
    assert_eq!(bench.source(&source.id).secret_id.as_deref(), report["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn an_on_premises_gateway_that_is_off_fails_its_targets_alone() {
    let mut bench = bench();
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench.cloud.set_member_online(&source.gateway, 0, false);

    fails_with(&bench, "gateway-unreachable").await;

    assert!(bench.source(&source.id).connects);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_may_only_use_the_connection_is_told_apart() {
    let mut bench = bench();
    let source = on_network(&bench);
    select_connection(&mut bench, &source);
    bench.cloud.set_gateway_admin(&source.gateway, &bench.me(), false);
    bench.cloud.lower_role(&source.id, &bench.me());

    let error = fails_with(&bench, "not-connection-owner").await;

    assert!(error["hint"].as_str().unwrap().contains("Owner"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nothing_in_sight_uses_is_left_with_the_row_that_selects_it() {
    let mut bench = bench();
    bench.own_everything();
    let source = bench.target(|source| source.connectivity == "ShareableCloud");
    bench.cloud.unbind(&source.id);

    let (_, plan) = bench.one(&["plan"]).await;

    assert!(!column(&plan["targets"], "id").contains(&source.target_id));
    let left = plan["left"].as_array().unwrap().iter().find(|left| left["id"] == json!(source.target_id));
    let reason = left.unwrap()["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("connection: {}", source.id)), "{reason}");
}
