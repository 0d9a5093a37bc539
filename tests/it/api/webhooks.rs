//! Webhooks: signed, fresh, and honoured once. Signed here by an implementation of its own.

use aws_lc_rs::hmac;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use jiff::SignedDuration;
use lakekey_sim::Fleet;
use serde_json::{Value, json};

use super::{Answer, READER, Service, WEBHOOK};
use crate::support::Bench;

/// The headers of a message that was sent at this second.
pub fn signed(id: &str, sent: i64, body: &str) -> [(&'static str, String); 3] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(WEBHOOK.trim_start_matches("whsec_")).unwrap());
    let tag = hmac::sign(&key, format!("{id}.{sent}.{body}").as_bytes());
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", sent.to_string()),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(tag))),
    ]
}

async fn deliver(service: &Service, bench: &Bench, id: &str, late: i64, body: &Value) -> Answer {
    let (sent, body) = ((bench.clock.now() - SignedDuration::from_secs(late)).as_second(), body.to_string());
    let request = Request::post("/api/webhook");
    let request = signed(id, sent, &body).into_iter().fold(request, |request, (name, value)| request.header(name, value));
    service.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn a_signed_message_is_honoured_once() {
    let mut bench = Bench::new(&Fleet::new(2, 1));
    bench.with_keys();
    let service = bench.service();
    let body = json!({ "type": "credential.rotate", "timestamp": "2026-03-02T08:00:00Z", "data": { "name": "sales-bi" } });
    let id = deliver(&service, &bench, "msg_1", 0, &body).await.operation();
    service.work().await;

    let service = bench.service();
    let replay = deliver(&service, &bench, "msg_1", 100, &body).await;
    assert_eq!((replay.status, &replay.json["id"], &replay.json["state"]), (200, &json!(id), &json!("succeeded")));
    let reapply = json!({ "type": "credential.reapply", "data": { "name": "sales-bi", "refresh": true } });
    let second = deliver(&service, &bench, "msg_2", 0, &reapply).await.operation();
    service.work().await;
    let service = bench.service();
    let operation = service.get(&format!("/api/operations/{second}"), READER).await;
    assert_eq!(operation.json["result"]["credentials"][0]["outcome"], "reapplied", "{operation:?}");
    let (_, status) = bench.one(&["status"]).await;
    assert_eq!(status["generation"], 1, "the replay did nothing: {status:#}");
}

#[tokio::test(start_paused = true)]
async fn what_is_old_unsigned_or_changed_is_refused_without_a_trace() {
    let mut bench = Bench::new(&Fleet::new(1, 2));
    bench.with_keys();
    let service = bench.service();
    let body = json!({ "type": "credential.rotate", "data": { "name": "sales-bi" } });
    for late in [301, -301] {
        assert_eq!(deliver(&service, &bench, "msg", late, &body).await.code(), "webhook-refused");
    }
    let unsigned = Request::post("/api/webhook").body(Body::from(body.to_string())).unwrap();
    let refused = service.send(unsigned).await;
    assert_eq!((refused.status, refused.code()), (401, "webhook-refused"));
    let named = json!({ "type": "credential.rotate", "data": { "name": "none" } });
    assert_eq!(deliver(&service, &bench, "msg", 0, &named).await.code(), "unknown-credential");
    for wrong in [json!({ "type": "credential.revoke", "data": { "name": "sales-bi" } }), json!([]), json!({})] {
        assert_eq!(deliver(&service, &bench, "msg", 0, &wrong).await.code(), "bad-body");
    }
    assert!(bench.files("state/journal").is_empty());
    deliver(&service, &bench, "msg", 300, &body).await.operation();
}
