//! The HTTP API: the real router over the real program against the simulated cloud, without a socket.

mod orders;
mod refusals;
pub mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, Response, StatusCode};
use lakekey_core::api::Api;
use lakekey_core::app::{App, Surroundings};
use lakekey_core::config::{Config, ConfigSource};
use lakekey_core::http::transport::Transport;
use lakekey_core::ids::RunnerId;
use lakekey_core::random::Random;
use lakekey_core::stop::Stop;
use lakekey_core::storage::Places;
use lakekey_core::work::{LocalQueue, LocalWorker};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{Bench, InProcess};

const READER: &str = "reader-key-0123456789abcdef";
const OPERATOR: &str = "operator-key-0123456789abcdef";
const BREAKGLASS: &str = "breakglass-key-0123456789abcdef";
pub const WEBHOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A process that answers the API, and works off what it has accepted when it is let.
struct Service {
    app: Arc<App>,
    router: Router,
    queue: LocalQueue,
    worker: LocalWorker,
}

/// One answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    json: Value,
    text: String,
}

impl Bench {
    fn with_keys(&mut self) {
        self.config["api"] = json!({
            "keys": { "reader": "env:READER", "operator": "env:OPERATOR", "breakglass": "env:BREAKGLASS" },
            "webhook_secret": "env:WEBHOOK",
        });
        let keys = [("READER", READER), ("OPERATOR", OPERATOR), ("BREAKGLASS", BREAKGLASS), ("WEBHOOK", WEBHOOK)];
        self.environment.extend(keys.map(|(name, key)| (name.to_owned(), key.to_owned())));
    }

    /// The program without its triggers.
    pub fn app(&self) -> Arc<App> {
        self.write_config();
        let environment = self.environment.iter().cloned().collect();
        let source = ConfigSource::Flag("lakekey.yaml".to_owned());
        let config = Config::load(&source, &environment, self.folder.path()).unwrap();
        let transport: Arc<dyn Transport> = Arc::new(InProcess(self.cloud.clone()));
        let storage = Arc::new(Places::new(&config, &environment, &transport, &self.clock).unwrap());
        let surroundings = Surroundings {
            transport,
            storage,
            clock: self.clock.clone(),
            random: Random::system(),
            environment,
            sign_ins: None,
            runner: RunnerId::new(format!("service-{}", Random::system().nonce())),
            decide: lakekey_core::rotation::next::next,
        };
        Arc::new(App::new(config, surroundings).unwrap())
    }

    fn service(&self) -> Service {
        let app = self.app();
        let (queue, worker) = LocalQueue::new(Arc::clone(&app));
        let router = Api::new(Arc::clone(&app), Arc::new(queue.clone())).router();
        Service { app, router, queue, worker }
    }
}

impl Service {
    async fn send(&self, request: Request<Body>) -> Answer {
        answer(self.router.clone().oneshot(request).await.unwrap()).await
    }

    async fn get(&self, path: &str, key: &str) -> Answer {
        self.send(Request::get(path).header("x-lakekey-key", key).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(Request::post(path).header("x-lakekey-key", key).body(Body::from(body.to_string())).unwrap()).await
    }

    async fn post_once(&self, path: &str, idempotency_key: &str, body: &Value) -> Answer {
        let request = Request::post(path).header("x-lakekey-key", OPERATOR).header("idempotency-key", idempotency_key);
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Works off everything that is queued, and ends.
    async fn work(self) {
        let Self { queue, worker, router, .. } = self;
        drop((queue, router));
        worker.run(Stop::never()).await;
    }
}

async fn answer(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, 1 << 24).await.unwrap().to_vec()).unwrap();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, json, text };
    answer.assert_form();
    answer
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// What holds for every answer: refusals are problems, nothing is cached, no key is repeated.
    fn assert_form(&self) {
        if self.status >= 400 {
            assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
            assert_eq!(self.json["status"], self.status, "{self:?}");
            assert_eq!(self.json["type"], format!("urn:lakekey:problem:{}", self.code()), "{self:?}");
            assert!(self.json["detail"].is_string() && self.json["title"].is_string(), "{self:?}");
        }
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        assert!(self.header("content-security-policy").starts_with("default-src 'none'"), "{self:?}");
        for key in [READER, OPERATOR, BREAKGLASS, WEBHOOK] {
            assert!(!self.text.contains(key), "{self:?}");
        }
    }

    /// The operation that was accepted.
    fn operation(&self) -> String {
        assert_eq!(self.status, StatusCode::ACCEPTED, "{self:?}");
        let id = self.json["id"].as_str().unwrap();
        assert_eq!(self.header("location"), format!("/api/operations/{id}"));
        id.to_owned()
    }
}
