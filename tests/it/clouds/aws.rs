//! S3 and Secrets Manager, played by moto.

use lakekey_core::random::Random;
use lakekey_parts::{Moto, SECRET_ACCESS_KEY, SESSION_TOKEN};
use serde_json::json;

use super::{assert_state_is_discreet, customer, survives_crashes};
use crate::support::{Bench, days, minutes};

/// State on S3, store and copy in Secrets Manager.
async fn bench() -> Bench {
    let (moto, mut bench) = (Moto::shared(), customer());
    let bucket = moto.bucket().await.unwrap();
    bench.environment.extend(moto.environment());
    bench.config["state"] = json!(format!("s3://{bucket}/lakekey"));
    let name = format!("lakekey/{}", Random::system().nonce());
    bench.config["credentials"]["sales-bi"]["store"] = json!(format!("awssm:{name}"));
    bench.config["credentials"]["sales-bi"]["copies"] = json!([format!("awssm:{name}-copy"), "databricks:powerbi/sales-bi"]);
    bench
}

#[tokio::test(start_paused = true)]
async fn two_rotations_with_state_on_s3_and_values_in_secrets_manager() {
    let bench = bench().await;
    let first = bench.rotated().await;
    bench.pass(days(8));
    let ran = bench.run(&["rotate", "--output", "json", "-vvv"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");

    let (_, now) = bench.one(&["status"]).await;
    assert_ne!(now["secret_id"], first["secret_id"]);
    bench.assert_all_hold(now["secret_id"].as_str().unwrap());
    let (status, history) = bench.one(&["history", "--verify"]).await;
    assert_eq!((status, history["verified"].as_bool()), (0, Some(true)));
    assert_eq!(bench.slots().await.len(), 2, "the previous one lives until it is retired");
    assert_state_is_discreet(&bench).await;
    for (what, value) in bench.cloud.minted_values().into_iter().chain([
        ("the access key".to_owned(), SECRET_ACCESS_KEY.to_owned()),
        ("the session token".to_owned(), SESSION_TOKEN.to_owned()),
    ]) {
        assert!(!bench.said().contains(&value), "{what} was printed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_runner_waits_for_the_lease_of_a_state_without_locks() {
    let bench = bench().await;
    bench.rotated().await;
    bench.pass(days(8));
    let (left, right) = tokio::join!(bench.json(&["rotate"]), bench.json(&["rotate"]));
    let mut ends = [left.0, right.0];
    ends.sort_unstable();
    assert_eq!(ends, [0, 3], "{left:?} {right:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rotation_over_s3_and_secrets_manager_survives_a_crash_anywhere() {
    survives_crashes(6, bench).await;
}

#[tokio::test(start_paused = true)]
async fn the_config_itself_and_a_secret_it_refers_to_may_be_at_aws() {
    let mut bench = bench().await;
    let bucket = bench.config["state"].as_str().unwrap()[5..].split('/').next().unwrap().to_owned();
    let secret =
        bench.config["credentials"]["sales-bi"]["store"].as_str().unwrap().trim_start_matches("awssm:").to_owned() + "-admin";
    let value = bench.environment.iter().find(|(name, _)| name == "ADMIN_SECRET").unwrap().1.clone();
    Moto::shared().put_secret(&secret, &json!({ "client secret": value }).to_string()).await.unwrap();
    bench.environment.retain(|(name, _)| name != "ADMIN_SECRET");
    bench.config["identities"]["dbx-admin"]["client_secret"] = json!(format!("awssm:{secret}#client secret"));
    Moto::shared().put_object(&bucket, "config/lakekey.yaml", bench.config.to_string()).await.unwrap();

    let ran = bench.run(&["rotate", "--output", "json", "--config", &format!("s3://{bucket}/config/lakekey.yaml")]).await;
    assert_eq!(ran.status, 0, "{ran:?}");

    let (status, missing) = bench.json(&["plan", "--config", &format!("s3://{bucket}/config/none.yaml")]).await;
    assert_eq!((status, missing["problems"][0]["code"].as_str()), (2, Some("config-not-found")), "{missing:#}");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_gone_or_out_of_reach_is_an_error_that_says_so_and_nothing_is_made() {
    let mut bench = bench().await;
    let living = bench.living();
    bench.config["state"] = json!("s3://no-such-bucket/lakekey");
    let (status, refused) = bench.one(&["rotate"]).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (1, Some("state-unavailable")), "{refused:#}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    bench.environment.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
    bench.environment.push(("AWS_ENDPOINT_URL".to_owned(), format!("http://{closed}")));
    let (status, refused) = bench.one(&["rotate"]).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (1, Some("state-unavailable")), "{refused:#}");
    bench.config["state"] = json!("file:state");
    let (status, refused) = bench.one(&["rotate"]).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (1, Some("unreachable")), "{refused:#}");

    bench.environment.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
    bench.environment.push(("AWS_ENDPOINT_URL".to_owned(), "https://aws.example".to_owned()));
    let (_, refused) = bench.one(&["rotate"]).await;
    assert_eq!(refused["error"]["code"].as_str(), Some("forbidden-host"), "{refused:#}");
    assert_eq!(bench.living(), living, "nothing was minted");
    bench.pass(minutes(10));
}
