//! Who is turned away, and how: always with a problem that says why, never with more than that.

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use lakekey_sim::Fleet;
use serde_json::json;

use super::{BREAKGLASS, OPERATOR, READER};
use crate::support::Bench;

const ROTATE: &str = "/api/credentials/sales-bi/rotate";
const REVOKE: &str = "/api/credentials/sales-bi/revoke";

fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet::new(1, 1));
    bench.with_keys();
    bench
}

#[tokio::test(start_paused = true)]
async fn each_role_may_do_its_own() {
    let bench = bench();
    let service = bench.service();
    for (key, read, rotate, revoke) in [
        ("wrong-key-0123456789abcdef", 401, 401, 401),
        ("", 401, 401, 401),
        (READER, 200, 403, 403),
        (OPERATOR, 200, 202, 403),
        (BREAKGLASS, 200, 403, 202),
    ] {
        let statuses = [
            service.get("/api/credentials", key).await.status,
            service.post(ROTATE, key, &json!({})).await.status,
            service.post(REVOKE, key, &json!({})).await.status,
        ];
        assert_eq!(statuses, [read, rotate, revoke], "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn health_document_and_root_need_no_key_and_the_rest_does() {
    let bench = bench();
    let service = bench.service();
    let open = async |path: &str| service.send(Request::get(path).body(Body::empty()).unwrap()).await;
    let root = open("/").await;
    assert_eq!((root.status, root.text.as_str()), (200, ""));
    assert_eq!(open("/api/health").await.json, json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }));
    let document = open("/api/openapi.json").await;
    assert!(document.json["openapi"].as_str().unwrap().starts_with("3.1"), "{document:?}");

    for (path, call) in document.json["paths"].as_object().unwrap() {
        if call["get"]["security"].is_array() {
            let refused = open(&path.replace("{name}", "sales-bi").replace("{id}", "sales-bi-1")).await;
            assert_eq!((refused.status, refused.code()), (401, "api-key-wrong"), "{path}");
        }
        if call["post"]["security"].is_array() {
            let refused = service.post(&path.replace("{name}", "sales-bi"), "none", &json!({})).await;
            assert_eq!((refused.status, refused.code()), (401, "api-key-wrong"), "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_keys_are_none() {
    let bench = bench();
    let request = Request::get("/api/credentials").header("x-lakekey-key", READER).header("x-lakekey-key", OPERATOR);
    assert_eq!(bench.service().send(request.body(Body::empty()).unwrap()).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn without_keys_the_api_says_so_and_timers_go_on() {
    let bench = Bench::new(&Fleet::new(1, 2));
    let service = bench.service();
    for key in ["", READER, OPERATOR] {
        let refused = service.get("/api/credentials", key).await;
        assert_eq!((refused.status, refused.code()), (503, "api-keys-missing"));
        assert_eq!(service.post(ROTATE, key, &json!({})).await.code(), "api-keys-missing");
    }
    assert_eq!(service.post("/api/webhook", "", &json!({})).await.code(), "webhooks-off");
    assert_eq!(service.get("/api/health", "").await.status, 200);
    service.queue.tick(&service.app).await;
    service.work().await;
    let (_, status) = bench.one(&["status"]).await;
    assert_eq!((&status["phase"], &status["generation"]), (&json!("draining"), &json!(1)), "{status:#}");
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_short_equal_or_absent_open_nothing() {
    for (name, key) in [("OPERATOR", "short"), ("OPERATOR", READER), ("OPERATOR", "")] {
        let mut bench = bench();
        bench.environment.push((name.to_owned(), key.to_owned()));
        let refused = bench.service().get("/api/credentials", READER).await;
        assert_eq!((refused.status, refused.code()), (503, "api-keys-unreadable"), "{name}={key}");
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_names_calls_and_methods_are_told_apart() {
    let bench = bench();
    let service = bench.service();
    for path in ["/api/credentials/none", "/api/credentials/none/history", "/api/credentials/%FF", "/api/credentials/a%2Fb"] {
        let refused = service.get(path, READER).await;
        assert_eq!((refused.status, refused.code()), (404, "unknown-credential"), "{path}");
    }
    assert_eq!(service.post("/api/credentials/none/rotate", OPERATOR, &json!({})).await.code(), "unknown-credential");
    for id in ["sales-bi-1", "none-1", "x", "%FF", "sales-bi-18446744073709551616"] {
        let refused = service.get(&format!("/api/operations/{id}"), READER).await;
        assert_eq!((refused.status, refused.code()), (404, "unknown-operation"), "{id}");
    }
    for path in ["/api", "/api/", "/worker", "/schedule", "/nearexpiry", "/api/worker", "/api/credentials/", "/api/token", "/x"] {
        let refused = service.post(path, OPERATOR, &json!({})).await;
        assert_eq!((refused.status, refused.code()), (404, "no-such-call"), "{path}");
    }
    let refused = service.get(ROTATE, OPERATOR).await;
    assert_eq!((refused.status, refused.code(), refused.header("allow")), (405, "method-not-allowed", "POST"));
    let refused = service.get("/api/credentials/sales-bi/history?verify=perhaps", READER).await;
    assert_eq!((refused.status, refused.code()), (400, "bad-query"));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_bounded_and_says_nothing_unknown() {
    let bench = bench();
    let service = bench.service();
    let post = async |body: Body| service.send(Request::post(ROTATE).header("x-lakekey-key", OPERATOR).body(body).unwrap()).await;
    let large = "x".repeat(64 * 1024 + 1);
    let refused = post(Body::from(large.clone())).await;
    assert_eq!((refused.status, refused.code()), (413, "body-too-large"));
    // In pieces, as with `Transfer-Encoding: chunked`, nobody says beforehand how much will come.
    let pieces = large.as_bytes().chunks(1000).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)));
    let refused = post(Body::from_stream(futures::stream::iter(pieces.collect::<Vec<_>>()))).await;
    assert_eq!((refused.status, refused.code()), (413, "body-too-large"));
    let broken = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))];
    assert_eq!(post(Body::from_stream(futures::stream::iter(broken))).await.code(), "bad-body");

    let long = json!({ "reason": "x".repeat(501) }).to_string();
    let wrong = ["{", "[]", "1", "{\"force\":1}", "{\"forced\":true}", "{\"reason\":\"a\\nb\"}", "{\"refresh\":true}", &long];
    for body in wrong {
        let refused = post(Body::from(body.to_owned())).await;
        assert_eq!((refused.status, refused.code()), (400, "bad-body"), "{body}");
    }
    let with_key = |key: &str| {
        Request::post(ROTATE).header("x-lakekey-key", OPERATOR).header("idempotency-key", key).body(Body::empty()).unwrap()
    };
    for key in ["", "two words", &"x".repeat(256)] {
        assert_eq!(service.send(with_key(key)).await.code(), "bad-idempotency-key", "{key}");
    }
    assert!(bench.files("state/journal").is_empty(), "nothing was accepted");
    assert_eq!(service.send(with_key("fine")).await.status, 202, "an empty body asks for the ordinary");
}

#[tokio::test(start_paused = true)]
async fn a_browser_is_asked_for_the_key_and_shown_the_page() {
    use base64::Engine;
    let bench = bench();
    let service = bench.service();
    let with = async |authorization: Option<String>, path: &str| {
        let mut request = Request::get(path);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        service.send(request.body(Body::empty()).unwrap()).await
    };
    let basic = |key: &str| Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("me:{key}"))));
    let asked = with(None, "/api/ui").await;
    assert_eq!((asked.status, asked.header("www-authenticate")), (401, "Basic realm=\"lakekey\", charset=\"UTF-8\""));
    assert_eq!(with(basic("wrong-key-0123456789"), "/api/ui").await.status, 401);
    let page = with(basic(READER), "/api/ui").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text.contains("sales-bi") && !page.text.contains("<script"), "{}", page.text);
    assert!(page.header("content-security-policy").contains("style-src 'sha256-"));
    // What a browser sends along by itself opens nothing else.
    assert_eq!(with(basic(OPERATOR), "/api/credentials").await.status, 401);
    assert_eq!(service.get("/api/ui", READER).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_is_no_answer_about_the_caller() {
    let bench = bench();
    let service = bench.service();
    std::fs::write(bench.folder.path().join("state"), "no folder").unwrap();
    let refused = service.post(ROTATE, OPERATOR, &json!({})).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    std::fs::remove_file(bench.folder.path().join("state")).unwrap();
    service.post(ROTATE, OPERATOR, &json!({})).await.operation();
}
