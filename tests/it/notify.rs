//! Notifications: each change is told once, to every channel in its own shape, without a secret, and never at the cost of a
//! rotation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_sim::{Action, Fleet, Rule};
use serde_json::{Value, json};

use crate::support::{Bench, InProcess, Ran, days, hours};

const HOST: &str = "hooks.contoso.example";
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// How the receivers answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Accepts,
    Fails,
    Hangs,
}

/// What was posted.
struct Posted {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Posted {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// The cloud, and receivers of webhooks beside it.
struct World {
    cloud: InProcess,
    posted: Arc<Mutex<Vec<Posted>>>,
    mood: Mood,
}

#[async_trait::async_trait]
impl Transport for World {
    async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Bytes>, TransportError> {
        if request.uri().host() != Some(HOST) {
            return self.cloud.send(request, timeout).await;
        }
        match self.mood {
            Mood::Hangs => {
                tokio::time::timeout(timeout, std::future::pending::<()>()).await.unwrap_err();
                return Err(TransportError::Timeout(timeout));
            }
            Mood::Fails => return Ok(Response::builder().status(500).body(Bytes::new()).unwrap()),
            Mood::Accepts => {}
        }
        let path = request.uri().path_and_query().unwrap().to_string();
        let (parts, body) = request.into_parts();
        self.posted.lock().unwrap().push(Posted { path, headers: parts.headers, body });
        Ok(Response::builder().status(202).body(Bytes::new()).unwrap())
    }
}

/// One target on a gateway, and a channel of each kind.
struct Hall {
    bench: Bench,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Hall {
    fn new() -> Self {
        let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(3) });
        let source = bench.gateway_source();
        bench.select_source(&source);
        bench.config["notify"] = json!([
            { "url": "env:TEAMS", "format": "teams" },
            { "url": "env:SLACK", "format": "slack" },
            { "url": "env:EVENTS", "format": "cloudevents", "secret": "env:WEBHOOK_KEY" },
        ]);
        for name in ["TEAMS", "SLACK", "EVENTS"] {
            let value = format!("https://{HOST}/{}?sig=topsecretpart", name.to_lowercase());
            bench.environment.push((name.to_owned(), value));
        }
        bench.environment.push(("WEBHOOK_KEY".to_owned(), format!("whsec_{}", STANDARD.encode(KEY))));
        Self { bench, posted: Arc::default() }
    }

    async fn run(&self, mood: Mood, arguments: &[&str]) -> Ran {
        let cloud = InProcess(self.bench.cloud.clone());
        let world = World { cloud, posted: Arc::clone(&self.posted), mood };
        let ran = self.bench.run_over(Arc::new(world), arguments).await;
        assert!(!format!("{ran:?}").contains("topsecretpart"), "an address shows: {ran:?}");
        self.bench.assert_discreet(&ran);
        ran
    }

    async fn rotate(&self, mood: Mood) -> (u8, Value) {
        let ran = self.run(mood, &["rotate", "--output", "json"]).await;
        (ran.status, serde_json::from_str(&ran.stdout).unwrap())
    }

    fn take(&self) -> Vec<Posted> {
        std::mem::take(&mut *self.posted.lock().unwrap())
    }

    /// The kinds of what was posted to the channel of events since the last look.
    fn kinds(&self) -> Vec<String> {
        let events = self.take().into_iter().filter(|posted| posted.path.starts_with("/events"));
        let mut kinds: Vec<String> = events.map(|posted| posted.json()["type"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_told_once_to_every_channel_in_its_own_shape() {
    let hall = Hall::new();

    let (status, report) = hall.rotate(Mood::Accepts).await;
    let secret_id = report["credentials"][0]["secret_id"].clone();
    let posted = hall.take();
    assert_eq!((status, posted.len()), (0, 3), "{report:#}");

    let of = |path: &str| posted.iter().find(|posted| posted.path == format!("/{path}?sig=topsecretpart")).unwrap();
    let card = &of("teams").json()["attachments"][0];
    assert_eq!(of("teams").json()["type"], "message");
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(
        (&card["content"]["type"], &card["content"]["body"][0]["text"]),
        (&json!("AdaptiveCard"), &json!("sales-bi: rotated"))
    );
    assert_eq!(of("slack").json()["blocks"][0]["text"], json!({ "type": "plain_text", "text": "sales-bi: rotated" }));
    assert!(of("slack").json()["text"].as_str().unwrap().starts_with("sales-bi: rotated: generation 1"));

    let event = of("events");
    let json = event.json();
    assert!(event.header("content-type").starts_with("application/cloudevents+json"));
    for field in ["specversion", "id", "source", "type"] {
        assert!(json[field].as_str().is_some_and(|value| !value.is_empty()), "{json:#}");
    }
    assert_eq!((&json["type"], &json["subject"]), (&json!("lakekey.credential.rotated"), &json!("sales-bi")));
    assert_eq!(json["data"]["secret_id"], secret_id);
    let signed =
        [format!("{}.{}.", event.header("webhook-id"), event.header("webhook-timestamp")).as_bytes(), &event.body].concat();
    let signature = STANDARD.decode(event.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, KEY), &signed, &signature).unwrap();
    assert_eq!(event.header("webhook-id"), json["id"]);
    assert_eq!(event.header("webhook-timestamp"), hall.bench.cloud.now().as_second().to_string());
    assert!(!of("teams").headers.contains_key("webhook-signature"), "only where a key is given");

    for value in hall.bench.cloud.minted_values().into_values() {
        assert!(posted.iter().all(|posted| !String::from_utf8_lossy(&posted.body).contains(&value)), "a secret is told");
    }

    for _ in 0..3 {
        hall.bench.pass(hours(1));
        assert_eq!(hall.rotate(Mood::Accepts).await.0, 0);
    }
    assert_eq!(hall.take().len(), 0, "nothing is told twice");
    hall.bench.pass(days(8));
    hall.rotate(Mood::Accepts).await;
    assert_eq!(hall.kinds(), ["lakekey.credential.rotated"], "the next rotation is news");
    let (status, history) = hall.bench.one(&["history", "--verify"]).await;
    assert_eq!((status, &history["verified"]), (0, &json!(true)), "{history:#}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_or_hangs_costs_no_rotation_and_is_told_later() {
    for mood in [Mood::Fails, Mood::Hangs] {
        let hall = Hall::new();

        let began = hall.bench.clock.now();
        let ran = hall.run(mood, &["rotate"]).await;
        let took = hall.bench.clock.now().duration_since(began);

        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.contains("notify"), "it is a warning: {}", ran.stderr);
        assert!(took.as_secs() < 120, "it is bounded: {took}");
        assert_eq!(hall.take().len(), 0);

        hall.bench.pass(hours(1));
        let (status, _) = hall.rotate(Mood::Accepts).await;
        assert_eq!((status, hall.kinds().len()), (0, 1), "told by the next run");
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_is_told_once_however_often_it_is_met() {
    let hall = Hall::new();
    let admin = hall.bench.cloud.cast().admin.client_id.clone();
    hall.bench.cloud.set_admin(&admin, false);
    for _ in 0..3 {
        assert_eq!(hall.rotate(Mood::Accepts).await.0, 1);
        hall.bench.pass(hours(1));
    }
    let told = hall.take();
    let event = told.iter().find(|posted| posted.path.starts_with("/events")).unwrap().json();
    assert_eq!(
        (told.len(), &event["type"], &event["data"]["code"]),
        (3, &json!("lakekey.credential.failed"), &json!("forbidden"))
    );
    assert!(event["data"]["hint"].as_str().unwrap().contains("admin of the workspace"), "{event:#}");

    hall.bench.cloud.set_admin(&admin, true);
    hall.rotate(Mood::Accepts).await;
    assert_eq!(hall.kinds(), ["lakekey.credential.rotated"]);

    hall.bench.cloud.set_admin(&admin, false);
    hall.bench.pass(days(8));
    hall.rotate(Mood::Accepts).await;
    assert_eq!(hall.kinds(), ["lakekey.credential.failed"], "after a rotation the same trouble is news again");
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_is_told_once() {
    let hall = Hall::new();
    hall.rotate(Mood::Accepts).await;
    hall.take();
    std::fs::rename(hall.bench.folder.path().join("state"), hall.bench.folder.path().join("lost")).unwrap();

    for _ in 0..2 {
        assert_eq!(hall.rotate(Mood::Accepts).await.0, 3);
    }

    assert_eq!(hall.kinds(), ["lakekey.credential.quarantined"]);
}

#[tokio::test(start_paused = true)]
async fn a_parked_target_is_told_with_its_name_and_its_old_secret_as_it_nears_its_end() {
    let hall = Hall::new();
    hall.rotate(Mood::Accepts).await;
    hall.bench.pass(days(8));
    hall.take();
    let refused = Action::Status { status: 400, retry_after: None, body: None, after_effect: false };
    hall.bench.cloud.set_faults(vec![Rule::always(refused).service("powerbi").method("PATCH")]);
    // Hourly, as a timer does it.
    for _ in 0..30 {
        hall.rotate(Mood::Accepts).await;
        hall.bench.pass(hours(1));
    }

    let told = hall.take();
    let events: Vec<Value> = told.iter().filter(|posted| posted.path.starts_with("/events")).map(Posted::json).collect();
    let parked: Vec<&Value> = events.iter().filter(|event| event["type"] == "lakekey.credential.parked").collect();
    assert_eq!(parked.len(), 1, "{events:#?}");
    assert_eq!(parked[0]["data"]["targets"], json!([hall.bench.gateway_source().target_id]));

    // The secret that it still holds is two weeks old by the end of this.
    for _ in 0..(5 * 6) {
        hall.bench.pass(hours(4));
        hall.rotate(Mood::Accepts).await;
    }
    let told = hall.take();
    let expiring = told.iter().filter(|posted| posted.path.starts_with("/events")).map(Posted::json);
    let expiring: Vec<Value> = expiring.filter(|event| event["type"] == "lakekey.credential.expiring").collect();
    assert_eq!(expiring.len(), 2, "soon, and a last call: {expiring:#?}");
    assert_eq!(expiring[0]["data"]["generation"], 1, "{expiring:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_secret_in_use_that_nears_its_expiry_is_told_even_where_nothing_can_be_asked() {
    let hall = Hall::new();
    hall.rotate(Mood::Accepts).await;
    hall.take();
    hall.bench.cloud.set_faults(vec![Rule::always(Action::Refuse).service("databricks")]);
    hall.bench.pass(days(12));

    hall.rotate(Mood::Accepts).await;
    assert_eq!(hall.kinds(), ["lakekey.credential.expiring", "lakekey.credential.failed"]);
    hall.bench.pass(hours(30));
    hall.rotate(Mood::Accepts).await;
    assert_eq!(hall.kinds(), ["lakekey.credential.expiring"], "the last call, and nothing else is new");
    hall.rotate(Mood::Accepts).await;
    assert_eq!(hall.kinds().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_in_the_config_needs_a_host_that_is_allowed_and_one_referred_to_does_not() {
    let mut hall = Hall::new();
    let plain = format!("https://{HOST}/plain?sig=topsecretpart");
    hall.bench.config["notify"] = json!([{ "url": plain, "format": "slack" }]);

    let refused = hall.run(Mood::Accepts, &["rotate", "--output", "json"]).await;
    let failure: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((refused.status, &failure["problems"][0]["code"]), (2, &json!("forbidden-host")), "{failure:#}");

    hall.bench.environment.push(("LAKEKEY_ALLOWED_HOSTS".to_owned(), HOST.to_owned()));
    assert_eq!((hall.rotate(Mood::Accepts).await.0, hall.take().len()), (0, 1));

    // By reference no credential may go there all the same, nor anything without TLS.
    hall.bench.config["notify"] = json!([{ "url": "env:TEAMS", "format": "teams" }]);
    hall.bench.environment.retain(|(name, _)| name != "TEAMS");
    hall.bench.environment.push(("TEAMS".to_owned(), format!("http://{HOST}/teams")));
    let ran = hall.run(Mood::Accepts, &["rotate"]).await;
    assert_eq!((ran.status, hall.take().len()), (0, 0));
    assert!(ran.stderr.contains("https only"), "{}", ran.stderr);
}

#[tokio::test(start_paused = true)]
async fn doctor_looks_at_webhooks_without_posting() {
    let mut hall = Hall::new();
    let webhooks = |ran: &Ran| {
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        checks.into_iter().filter(|check| check["check"] == "webhook").collect::<Vec<_>>()
    };
    let ran = hall.run(Mood::Accepts, &["doctor", "--output", "json"]).await;
    assert_eq!((ran.status, webhooks(&ran).len(), hall.take().len()), (0, 3, 0), "{ran:?}");

    hall.bench.environment.retain(|(name, _)| name != "SLACK" && name != "WEBHOOK_KEY");
    hall.bench.environment.push(("WEBHOOK_KEY".to_owned(), "no such form".to_owned()));
    let ran = hall.run(Mood::Accepts, &["doctor", "--output", "json"]).await;
    let failed: Vec<Value> = webhooks(&ran).into_iter().filter(|check| check["ok"] == false).collect();
    assert_eq!((ran.status, failed.len()), (1, 2), "{failed:#?}");
    assert!(failed.iter().all(|check| check["fix"].as_str().is_some()), "{failed:#?}");
}
