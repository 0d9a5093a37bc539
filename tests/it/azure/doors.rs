//! The front of the app, where clients are, and what they can't reach.

use std::time::Duration;

use lakekey_core::clock::Clock;
use lakekey_host::{Front, Payload};
use lakekey_sim::Fleet;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::{BREAKGLASS, Checks, OPERATOR, READER, asked, deployed, tick};
use crate::api::webhooks::signed;

/// Whoever is not the host.
pub(super) struct Outside {
    client: Client,
    front: Front,
}

impl Outside {
    pub(super) async fn of(host: &lakekey_host::Host) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        Self { client, front: host.front().await.unwrap() }
    }

    pub(super) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.front.address()));
        request.header("x-azure-functions-invocationid", FORGED).header("content-type", "application/json; charset=utf-8")
    }

    pub(super) async fn answer(request: RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }
}

#[tokio::test]
async fn no_request_from_outside_reaches_a_trigger() {
    let deployed = deployed(&Fleet::new(1, 6), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    let outside = Outside::of(&host).await;
    let message = json!({ "Data": { "message": "\"{\\\"v\\\":1,\\\"do\\\":\\\"drive\\\",\\\"credential\\\":\\\"sales-bi\\\"}\"" }, "Metadata": {} });
    for name in ["schedule", "worker", "nearexpiry"] {
        for path in [format!("/{name}"), format!("//{name}"), format!("/api/../{name}"), format!("/runtime/webhooks/{name}")] {
            let (status, _) = Outside::answer(outside.ask(Method::POST, &path).body(message.to_string())).await;
            assert_eq!(status, 404, "{path}");
        }
        for path in [format!("/api/{name}"), format!("/api//{name}"), format!("/api/%2e%2e/{name}")] {
            let (status, problem) = Outside::answer(outside.ask(Method::POST, &path).body(message.to_string())).await;
            assert_eq!(status, 404, "{path}: {problem}");
        }
    }
    // Were the routes without a prefix one day, the marks of the front end would still tell.
    let behind = Client::builder().no_proxy().build().unwrap().post(format!("http://{}/worker", host.behind()));
    let (status, problem) = Outside::answer(behind.header("x-forwarded-for", "203.0.113.7").body(message.to_string())).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("no-such-call")));
    assert!(deployed.served.cloud.requests().is_empty(), "nothing was driven");
}

#[tokio::test]
async fn the_api_is_served_as_it_comes_and_its_orders_are_worked_off() {
    let deployed = deployed(&Fleet::new(2, 7), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    let outside = Outside::of(&host).await;
    let (status, health) = Outside::answer(outside.ask(Method::GET, "/api/health")).await;
    assert_eq!((status, &health["status"]), (200, &json!("ok")));
    for (key, status) in [("wrong-key-0123456789", 401), (READER, 403), (BREAKGLASS, 403)] {
        let request = outside.ask(Method::POST, "/api/credentials/sales-bi/rotate").header("x-lakekey-key", key);
        assert_eq!(Outside::answer(request.body("{}")).await.0, status, "{key}");
    }
    let large = outside.ask(Method::POST, "/api/credentials/sales-bi/rotate").header("x-lakekey-key", OPERATOR);
    let (status, problem) = Outside::answer(large.body("x".repeat(64 * 1024 + 1))).await;
    assert_eq!((status, problem["code"].as_str()), (413, Some("body-too-large")));

    let asked = outside.ask(Method::POST, "/api/credentials/sales-bi/rotate").header("x-lakekey-key", OPERATOR);
    let (status, operation) = Outside::answer(asked.body(json!({ "reason": "audit" }).to_string())).await;
    assert_eq!(status, 202, "{operation}");
    deployed.work_off(&host).await.unwrap();
    // A message that was lost is the schedule's.
    assert!(host.invoke("schedule", &tick()).await.succeeded());
    deployed.work_off(&host).await.unwrap();
    let path = format!("/api/operations/{}", operation["id"].as_str().unwrap());
    let (_, ended) = Outside::answer(outside.ask(Method::GET, &path).header("x-lakekey-key", READER)).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    deployed.assert_moved();
    let ids: Vec<String> = outside.front.seen().into_iter().map(|asked| asked.invocation).collect();
    let logged = host.lines();
    assert!(logged.iter().any(|line| line.text.contains("accepted") && ids.iter().any(|id| line.text.contains(id.as_str()))));
    deployed.assert_discreet(&host);
}

#[tokio::test]
async fn without_keys_the_api_refuses_and_the_timer_goes_on() {
    let mut deployed = deployed(&Fleet::new(1, 8), Duration::ZERO).await;
    deployed.config.as_object_mut().unwrap().remove("api");
    let host = deployed.start().await.unwrap();
    let outside = Outside::of(&host).await;
    for key in ["", READER, OPERATOR, BREAKGLASS] {
        let (status, problem) = Outside::answer(outside.ask(Method::GET, "/api/credentials").header("x-lakekey-key", key)).await;
        assert_eq!((status, problem["code"].as_str()), (503, Some("api-keys-missing")));
    }
    assert!(host.invoke("schedule", &tick()).await.succeeded());
    deployed.work_off(&host).await.unwrap();
    deployed.assert_moved();
    assert!(host.invoke("worker", &Payload::message("{\"v\":1,\"do\":\"drive\",\"credential\":\"sales-bi\"}")).await.succeeded());
}

#[tokio::test]
async fn the_break_glass_key_alone_revokes() {
    let deployed = deployed(&Fleet::new(2, 10), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    assert!(host.invoke("schedule", &tick()).await.succeeded());
    deployed.work_off(&host).await.unwrap();
    let leaked = deployed.living();
    let outside = Outside::of(&host).await;
    let revoke = |key: &str| {
        let request = outside.ask(Method::POST, "/api/credentials/sales-bi/revoke").header("x-lakekey-key", key);
        Outside::answer(request.body("{}"))
    };
    for key in [READER, OPERATOR] {
        assert_eq!(revoke(key).await.0, 403);
    }
    assert_eq!(deployed.living(), leaked);
    let (status, operation) = revoke(BREAKGLASS).await;
    assert_eq!(status, 202, "{operation:#}");
    deployed.work_off(&host).await.unwrap();
    let ended = asked(&host, &format!("/api/operations/{}", operation["id"].as_str().unwrap())).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    let living = deployed.living();
    assert!(living.len() == 1 && living != leaked, "{living:?}");
    deployed.assert_moved();
    deployed.assert_discreet(&host);
}

#[tokio::test]
async fn a_webhook_is_honoured_once_and_a_forged_one_never() {
    let deployed = deployed(&Fleet::new(1, 11), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    let outside = Outside::of(&host).await;
    let body = json!({ "type": "credential.rotate", "data": { "name": "sales-bi" } }).to_string();
    let send = |headers: [(&'static str, String); 3], body: &str| {
        let request = outside.ask(Method::POST, "/api/webhook").body(body.to_owned());
        Outside::answer(headers.into_iter().fold(request, |request, (name, value)| request.header(name, value)))
    };
    let now = Clock::wall().now().as_second();
    let mut forged = signed("msg_1", now, &body);
    forged[0].1 = "msg_2".to_owned();
    for headers in [forged, signed("msg_1", now - 400, &body), signed("msg_1", now, "{}")] {
        let (status, problem) = send(headers, &body).await;
        assert_eq!((status, problem["code"].as_str()), (401, Some("webhook-refused")), "{problem:#}");
    }
    let (status, operation) = send(signed("msg_1", now, &body), &body).await;
    assert_eq!(status, 202, "{operation:#}");
    deployed.work_off(&host).await.unwrap();
    let (status, replayed) = send(signed("msg_1", now + 1, &body), &body).await;
    assert_eq!((status, &replayed["id"], &replayed["state"]), (200, &operation["id"], &json!("succeeded")), "{replayed:#}");
    assert_eq!(deployed.work_off(&host).await.unwrap(), 0);
    assert_eq!(asked(&host, "/api/credentials/sales-bi").await["generation"], 1, "the replay did nothing");
    deployed.assert_moved();
    deployed.assert_discreet(&host);
}

#[tokio::test]
async fn a_forged_invocation_id_opens_nothing_and_is_in_no_line() {
    let deployed = deployed(&Fleet::new(1, 12), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    let outside = Outside::of(&host).await;
    for path in ["/worker", "/api/worker", "/api/credentials", "/api/credentials/sales-bi/rotate"] {
        let (status, _) = Outside::answer(outside.ask(Method::POST, path).body("{}")).await;
        assert!(matches!(status, 401 | 404 | 405), "{path}: {status}");
    }
    let order = outside.ask(Method::POST, "/api/credentials/sales-bi/rotate").header("x-lakekey-key", OPERATOR);
    assert_eq!(Outside::answer(order.body("{}")).await.0, 202);
    let seen = outside.front.seen();
    assert!(!seen.is_empty() && seen.iter().all(|asked| asked.invocation != FORGED), "the host gives its own: {seen:?}");
    assert!(!host.lines().iter().any(|line| line.text.contains(FORGED)), "{:#?}", host.lines());
    assert!(deployed.served.cloud.requests().is_empty(), "nothing was driven");
}

const FORGED: &str = "00000000-0000-4000-8000-000000000000";
