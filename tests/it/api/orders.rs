//! Starting work and reading it back.

use lakekey_sim::Fleet;
use serde_json::json;

use super::{BREAKGLASS, OPERATOR, READER};
use crate::support::{Bench, hours};

const ROTATE: &str = "/api/credentials/sales-bi/rotate";

#[tokio::test(start_paused = true)]
async fn an_accepted_rotation_is_worked_off_and_read_back_by_another_process() {
    let mut bench = Bench::new(&Fleet::new(3, 1));
    bench.with_keys();
    let first = bench.service();
    let accepted = first.post(ROTATE, OPERATOR, &json!({ "reason": "a laptop was lost" })).await;
    let id = accepted.operation();
    assert_eq!((&accepted.json["state"], &accepted.json["result"]), (&json!("queued"), &json!(null)));
    first.work().await;

    let second = bench.service();
    let operation = second.get(&format!("/api/operations/{id}"), READER).await;
    assert_eq!((operation.status, &operation.json["state"]), (200, &json!("succeeded")), "{operation:?}");
    let moved = &operation.json["result"]["credentials"][0];
    assert_eq!((&moved["outcome"], &moved["phase"], &moved["generation"]), (&json!("rotated"), &json!("draining"), &json!(1)));
    bench.assert_all_hold(moved["secret_id"].as_str().unwrap());

    let status = second.get("/api/credentials/sales-bi", READER).await;
    assert_eq!((status.status, &status.json["name"], &status.json["generation"]), (200, &json!("sales-bi"), &json!(1)));
    let all = second.get("/api/credentials", READER).await;
    assert_eq!(all.json.as_array().map(Vec::len), Some(1), "{all:?}");
    let history = second.get("/api/credentials/sales-bi/history?verify=true", READER).await;
    assert_eq!(history.json["verified"], true, "{history:?}");
    let asked = history.json["entries"].as_array().unwrap().iter().find(|entry| entry["event"] == "asked").unwrap();
    let detail = asked["detail"].as_str().unwrap();
    assert!(detail.starts_with(&format!("by operator key: a laptop was lost; operation {id}, config ")), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_is_the_same_operation_and_another_one_is_refused() {
    let mut bench = Bench::new(&Fleet::new(2, 2));
    bench.with_keys();
    let service = bench.service();
    let force = json!({ "force": true });
    let id = service.post_once(ROTATE, "one", &force).await.operation();
    assert_eq!(service.post_once(ROTATE, "one", &force).await.operation(), id);
    let other = service.post_once(ROTATE, "one", &json!({ "force": false })).await;
    assert_eq!((other.status, other.code()), (422, "idempotency-key-reused"));
    let other = service.post_once("/api/credentials/sales-bi/reapply", "one", &force).await;
    assert_eq!(other.status, 400, "`force` has no meaning there: {other:?}");
    service.work().await;

    // Also when it has ended, and of whichever process it is asked.
    let service = bench.service();
    let again = service.post_once(ROTATE, "one", &force).await;
    assert_eq!((again.operation(), &again.json["state"]), (id, &json!("succeeded")));
    service.work().await;
    let (_, status) = bench.one(&["status"]).await;
    assert_eq!(status["generation"], 1, "it was rotated once: {status:#}");
}

#[tokio::test(start_paused = true)]
async fn of_many_requests_at_once_one_is_accepted() {
    let mut bench = Bench::new(&Fleet::new(2, 3));
    bench.with_keys();
    let services = [bench.service(), bench.service(), bench.service()];
    let force = json!({ "force": true });
    let requests = services.iter().flat_map(|service| (0..8).map(|_| service.post(ROTATE, OPERATOR, &force)));
    let answers = futures::future::join_all(requests).await;
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
    assert_eq!(accepted.len(), 1, "{answers:?}");
    let id = accepted[0].operation();
    for refused in answers.iter().filter(|answer| answer.status != 202) {
        assert_eq!((refused.status, refused.code(), &refused.json["operation"]), (409, "rotation-open", &json!(id)));
        assert_eq!(refused.header("location"), format!("/api/operations/{id}"));
    }
    for service in services {
        service.work().await;
    }
    let (_, status) = bench.one(&["status"]).await;
    assert_eq!(status["generation"], 1, "{status:#}");
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_process_left_behind_is_taken_up_with_the_next_tick() {
    let mut bench = Bench::new(&Fleet::new(2, 4));
    bench.with_keys();
    let dead = bench.service();
    let id = dead.post(ROTATE, OPERATOR, &json!({ "force": true })).await.operation();
    drop(dead);

    let heir = bench.service();
    heir.queue.tick(&heir.app).await;
    heir.work().await;
    let service = bench.service();
    let operation = service.get(&format!("/api/operations/{id}"), OPERATOR).await;
    assert_eq!(operation.json["state"], "succeeded", "{operation:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operation_whose_runner_died_after_its_rotation_does_not_rotate_twice() {
    let mut bench = Bench::new(&Fleet::new(2, 5));
    bench.with_keys();
    let service = bench.service();
    let id = service.post(ROTATE, OPERATOR, &json!({ "force": true })).await.operation();
    service.work().await;
    // As if the process had died between its last step and the note of how it ended.
    let log = bench.folder.path().join("state/journal/operations-sales-bi");
    std::fs::remove_file(log.join("000000000003.json")).unwrap();

    let service = bench.service();
    assert_eq!(service.get(&format!("/api/operations/{id}"), READER).await.json["state"], "running");
    service.queue.tick(&service.app).await;
    service.work().await;
    let service = bench.service();
    let operation = service.get(&format!("/api/operations/{id}"), READER).await;
    assert_eq!(operation.json["result"]["credentials"][0]["outcome"], "unchanged", "{operation:?}");
    let (_, status) = bench.one(&["status"]).await;
    assert_eq!(status["generation"], 1, "{status:#}");
}

#[tokio::test(start_paused = true)]
async fn an_operation_whose_runner_died_after_its_revoke_does_not_revoke_twice() {
    let mut bench = Bench::new(&Fleet::new(2, 5));
    bench.with_keys();
    assert_eq!(bench.run(&["rotate"]).await.status, 0);
    let service = bench.service();
    let id = service.post("/api/credentials/sales-bi/revoke", BREAKGLASS, &json!({})).await.operation();
    service.work().await;
    let (_, revoked) = bench.one(&["status"]).await;
    let log = bench.folder.path().join("state/journal/operations-sales-bi");
    std::fs::remove_file(log.join("000000000003.json")).unwrap();

    let service = bench.service();
    service.queue.tick(&service.app).await;
    service.work().await;
    let service = bench.service();
    let operation = service.get(&format!("/api/operations/{id}"), READER).await;
    assert_eq!(operation.json["state"], "succeeded", "{operation:?}");
    let (_, status) = bench.one(&["status"]).await;
    assert_eq!(status["secret_id"], revoked["secret_id"], "{status:#}");
}

#[tokio::test(start_paused = true)]
async fn while_a_rotation_is_open_the_refusal_names_its_operation() {
    let mut bench = Bench::new(&Fleet::new(2, 6));
    bench.with_keys();
    let service = bench.service();
    // No target can be written, so the rotation stays open.
    let rules = lakekey_sim::Rule::parse("service=powerbi,method=PATCH,p=1,do=status:503").unwrap();
    bench.cloud.set_faults(rules);
    let id = service.post(ROTATE, OPERATOR, &json!({})).await.operation();
    service.work().await;
    let service = bench.service();
    let operation = service.get(&format!("/api/operations/{id}"), READER).await;
    assert_eq!(operation.json["state"], "incomplete", "{operation:?}");

    for call in ["rotate", "reapply"] {
        let refused = service.post(&format!("/api/credentials/sales-bi/{call}"), OPERATOR, &json!({})).await;
        assert_eq!(
            (refused.status, refused.code(), &refused.json["operation"]),
            (409, "rotation-open", &json!(id)),
            "{refused:?}"
        );
    }
    bench.cloud.set_faults(Vec::new());
    bench.pass(hours(1));
    service.queue.tick(&service.app).await;
    service.work().await;
    let (_, status) = bench.one(&["status"]).await;
    assert_eq!(status["phase"], "draining", "{status:#}");
}

#[tokio::test(start_paused = true)]
async fn a_reapply_starts_the_refreshes_it_was_asked_for() {
    let mut bench = Bench::new(&Fleet::new(2, 7));
    bench.with_keys();
    assert_eq!(bench.run(&["rotate"]).await.status, 0);
    let service = bench.service();
    let id = service.post("/api/credentials/sales-bi/reapply", OPERATOR, &json!({ "refresh": true })).await.operation();
    service.work().await;
    let service = bench.service();
    let operation = service.get(&format!("/api/operations/{id}"), READER).await;
    let moved = &operation.json["result"]["credentials"][0];
    assert_eq!(moved["outcome"], "reapplied", "{operation:?}");
    assert!(moved["targets"].as_array().unwrap().iter().any(|target| target["refresh"] == "started"), "{operation:?}");
}

#[tokio::test(start_paused = true)]
async fn rollback_and_revoke_run_as_at_the_command_line() {
    let mut bench = Bench::new(&Fleet::new(2, 8));
    bench.with_keys();
    assert_eq!(bench.run(&["rotate"]).await.status, 0);
    assert_eq!(bench.run(&["rotate", "--force"]).await.status, 0);
    for (call, key, outcome) in [("rollback", OPERATOR, "rolled-back"), ("revoke", BREAKGLASS, "revoked")] {
        let service = bench.service();
        let id = service.post(&format!("/api/credentials/sales-bi/{call}"), key, &json!({})).await.operation();
        service.work().await;
        let operation = bench.service().get(&format!("/api/operations/{id}"), READER).await;
        assert_eq!(operation.json["result"]["credentials"][0]["outcome"], outcome, "{operation:?}");
    }
}
