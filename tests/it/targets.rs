//! Who may write a data source, and over what: gateways, owners, take-overs, other kinds of credentials.

use lakekey_sim::{Fleet, Settings, SourceTruth, TakeOver};
use serde_json::json;

use crate::arrange::column;
use crate::support::Bench;

fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, hard_cases: true, ..Fleet::new(8, 2) });
    bench.list_all_warehouses();
    bench
}

/// The one source on the gateway of this name.
fn on_gateway(bench: &Bench, name: &str) -> SourceTruth {
    bench.target(|source| bench.cloud.gateway_name(&source.gateway).as_deref() == Some(name))
}

/// A person's cloud source in a dataset with another cloud source, and that other one.
fn mixed(bench: &Bench) -> (SourceTruth, SourceTruth) {
    let source = bench.target(|source| source.datasets.len() == 1 && bench.dataset_of(source).sources.len() == 2);
    let beside = bench.dataset_of(&source).sources.iter().flatten().find(|id| **id != source.id).unwrap().clone();
    (source, bench.source(&beside))
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_the_identity_does_not_administer_is_an_error() {
    let mut bench = bench();
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench.cloud.set_gateway_admin(&source.gateway, &bench.me(), false);
    // A role on the connection lets the identity see what it may not write.
    bench.cloud.share_source(&source.id, &bench.me());

    let problem = bench.refused("no-gateway-right").await;

    assert!(problem["message"].as_str().unwrap().contains(&source.gateway), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_out_of_sight_is_never_reason_for_a_take_over() {
    let mut bench = bench();
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench.cloud.set_gateway_admin(&source.gateway, &bench.me(), false);

    bench.refused("no-gateway-right").await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_named_by_a_row_must_be_administered() {
    let mut bench = bench();
    let source = bench.gateway_source();
    bench.select(json!([{ "gateway": "Contoso-GW", "datasource": source.name }]));
    bench.cloud.set_gateway_admin(&source.gateway, &bench.me(), false);

    let problem = bench.refused("gateway-not-found").await;

    assert!(problem["hint"].as_str().unwrap().contains("administrator"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_with_a_short_key_is_refused() {
    let mut bench = bench();
    let source = on_gateway(&bench, "Old cellar");
    bench.select_source(&source);

    let problem = bench.refused("gateway-key-too-short").await;

    assert!(problem["message"].as_str().unwrap().contains("Old cellar"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_of_several_members_is_written() {
    let mut bench = bench();
    let source = on_gateway(&bench, "Cluster \"Nord\" 1");
    bench.select_source(&source);
    let before = bench.mark();

    let done = bench.rotated().await;

    bench.assert_wrote_exactly(&before, &[&source.id], &done["secret_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_dataset_of_somebody_else_is_an_error_without_take_over() {
    let mut bench = bench();
    let source = bench.persons_source();
    bench.select_source(&source);
    bench.credential()["targets"]["take_over"] = json!(false);

    let problem = bench.refused("not-owner").await;

    assert!(problem["message"].as_str().unwrap().contains(&bench.dataset_of(&source).owner), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn take_over_makes_the_identity_the_owner_and_moves_what_the_dataset_is_then_bound_to() {
    for take_over in [TakeOver::Rebinds, TakeOver::Keeps] {
        let fleet = Fleet { decoys: false, ..Fleet::new(8, 2) };
        let mut bench = Bench::with(&fleet, Settings { take_over, ..Settings::default() });
        let source = bench.persons_source();
        let dataset = bench.dataset_of(&source);
        bench.select_source(&source);
        if take_over == TakeOver::Keeps {
            // A connection that stays its old owner's shows nothing to the new one.
            bench.credential()["targets"]["privacy_level"] = json!(source.privacy);
        }
        let before = bench.mark();

        let done = bench.rotated().await;

        let taken = bench.dataset(&dataset.id);
        let now = bench.source(taken.sources[0].as_deref().unwrap());
        assert_eq!((&taken.owner, now.id == source.id), (&bench.me(), take_over == TakeOver::Keeps));
        assert_eq!((&now.privacy, now.sso), (&source.privacy, source.sso));
        bench.assert_wrote_exactly(&before, &[&now.id], &done["secret_id"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dataset_that_a_person_took_back_is_taken_over_again_by_the_next_rotation() {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::new(8, 2) });
    let source = bench.persons_source();
    let dataset = bench.dataset_of(&source);
    bench.select_source(&source);
    bench.rotated().await;
    assert_eq!(bench.dataset(&dataset.id).owner, bench.me());
    bench.cloud.set_owner(&dataset.id, &dataset.owner);

    let (status, done) = bench.one(&["rotate", "--force"]).await;

    assert_eq!((status, done["outcome"].as_str()), (0, Some("rotated")), "{done:#}");
    let taken = bench.dataset(&dataset.id);
    let now = bench.source(taken.sources[0].as_deref().unwrap());
    assert_eq!((&taken.owner, now.secret_id.as_deref()), (&bench.me(), done["secret_id"].as_str()));
    assert!(now.connects, "{now:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dataset_with_another_cloud_source_is_taken_over_only_with_always() {
    let mut bench = bench();
    let (source, beside) = mixed(&bench);
    let dataset = bench.dataset_of(&source);
    bench.select_source(&source);

    bench.refused("take-over-unsafe").await;

    bench.credential()["targets"]["take_over"] = json!("always");
    let before = bench.mark();
    let done = bench.rotated().await;
    let taken = bench.dataset(&dataset.id);
    let is_ours = |id: &&String| {
        let source = bench.source(id);
        source.kind.starts_with("Databricks")
    };
    let now = bench.source(taken.sources.iter().flatten().find(is_ours).unwrap());
    assert_eq!(taken.owner, bench.me());
    bench.assert_wrote_exactly(&before, &[&now.id], &done["secret_id"]);
    assert_eq!(bench.source(&beside.id).writes, 0);
}

#[tokio::test(start_paused = true)]
async fn another_kind_of_credential_that_is_named_is_an_error_unless_convert_is_set() {
    for token in [false, true] {
        let mut bench = bench();
        let source = if token { bench.gateway_source() } else { bench.own_source() };
        match token {
            true => bench.cloud.person_enters_token(&source.id),
            false => bench.cloud.person_signs_source_in(&source.id),
        };
        bench.select_source(&source);

        let problem = bench.refused("other-credential-kind").await;
        assert!(problem["message"].as_str().unwrap().contains(if token { "Key" } else { "OAuth2" }), "{problem}");

        bench.credential()["targets"]["convert"] = json!(true);
        let before = bench.mark();
        let done = bench.rotated().await;
        bench.assert_wrote_exactly(&before, &[&source.id], &done["secret_id"]);
        assert_eq!(bench.source(&source.id).credential.as_deref(), Some("Basic"));
    }
}

#[tokio::test(start_paused = true)]
async fn another_kind_of_credential_that_is_only_met_is_left_alone_and_converted_on_demand() {
    let mut bench = Bench::new(&Fleet { decoys: false, gateways: false, ..Fleet::new(6, 2) });
    bench.list_all_warehouses();
    bench.own_everything();
    let source = bench.own_source();
    bench.cloud.person_signs_source_in(&source.id);

    let (_, plan) = bench.one(&["plan"]).await;
    let first = bench.rotated().await;

    let left = plan["left"].as_array().unwrap();
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!(source.target_id)), "{plan:#}");
    assert!(left[0]["reason"].as_str().unwrap().contains("convert"), "{plan:#}");
    assert!(!column(&first["targets"], "id").contains(&source.target_id), "{first:#}");
    assert_eq!((bench.source(&source.id).writes, bench.source(&source.id).credential.as_deref()), (0, Some("OAuth2")));

    bench.credential()["targets"]["convert"] = json!(true);
    let (status, second) = bench.one(&["rotate", "--force"]).await;
    assert_eq!((status, second["outcome"].as_str()), (0, Some("rotated")), "{second:#}");
    assert_eq!(bench.source(&source.id).secret_id.as_deref(), second["secret_id"].as_str());
}
