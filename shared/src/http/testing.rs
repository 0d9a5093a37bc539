//! A transport for tests that answers from a script; the real send, retry and paging code runs over it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use object_store::ObjectStore;

use super::Http;
use super::transport::{Transport, TransportError};
use crate::clock::Clock;
use crate::config::hosts::{Cloud, HostPolicy};
use crate::config::{Endpoints, StateLocation, StoreLocation, VaultSecret};
use crate::error::Error;
use crate::ids::RunnerId;
use crate::random::Random;
use crate::secret::Secret;
use crate::storage::{Lock, Storage};
use crate::stores::SecretStore;

pub(crate) type Reply = Result<Response<Bytes>, TransportError>;
type Answer = Box<dyn FnMut(&Request<Bytes>) -> Reply + Send>;

/// Answers from its queue, then from its fallback; remembers what it was asked and when.
pub(crate) struct Scripted {
    clock: Clock,
    latency: Duration,
    queue: Mutex<VecDeque<Answer>>,
    fallback: Mutex<Option<Answer>>,
    seen: Mutex<Vec<Seen>>,
}

/// One request as the service saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Timestamp,
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

pub(crate) const START: &str = "2026-03-01T00:00:00Z";
pub(crate) const WORKSPACE: &str = "https://adb-1.1.azuredatabricks.net";
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

impl Scripted {
    pub(crate) fn new() -> Arc<Self> {
        let clock = Clock::runtime(START.parse().unwrap());
        let (queue, fallback, seen) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { clock, latency: Duration::from_millis(10), queue, fallback, seen })
    }

    pub(crate) fn then(self: &Arc<Self>, answer: impl FnMut(&Request<Bytes>) -> Reply + Send + 'static) -> Arc<Self> {
        self.queue.lock().unwrap().push_back(Box::new(answer));
        self.clone()
    }

    pub(crate) fn json(self: &Arc<Self>, status: u16, body: &str) -> Arc<Self> {
        let body = body.to_owned();
        self.then(move |_| reply(status, &[("content-type", "application/json")], &body))
    }

    pub(crate) fn always(self: &Arc<Self>, answer: impl FnMut(&Request<Bytes>) -> Reply + Send + 'static) -> Arc<Self> {
        *self.fallback.lock().unwrap() = Some(Box::new(answer));
        self.clone()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    pub(crate) fn http(self: &Arc<Self>) -> Arc<Http> {
        Arc::new(Http::new(self.clone(), hosts(), self.clock(), Random::seeded(7), TIMEOUT))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

#[async_trait::async_trait]
impl Transport for Scripted {
    async fn send(&self, request: Request<Bytes>, _timeout: Duration) -> Reply {
        let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        self.seen.lock().unwrap().push(Seen {
            at: self.clock.now(),
            line: format!("{} {}", request.method(), request.uri()),
            authorization,
            body: String::from_utf8_lossy(request.body()).into_owned(),
        });
        self.clock.sleep(self.latency).await;
        let queued = self.queue.lock().unwrap().pop_front();
        match queued {
            Some(mut answer) => answer(&request),
            None => match self.fallback.lock().unwrap().as_mut() {
                Some(answer) => answer(&request),
                None => panic!("unexpected request: {} {}", request.method(), request.uri()),
            },
        }
    }
}

pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    Ok(builder.body(Bytes::from(body.to_owned())).unwrap())
}

pub(crate) fn timed_out() -> Reply {
    Err(TransportError::Timeout(TIMEOUT))
}

pub(crate) fn refused() -> Reply {
    Err(TransportError::NotSent("connection refused".into()))
}

pub(crate) fn hosts() -> HostPolicy {
    HostPolicy::new(Cloud::Public, None).unwrap()
}

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::of(Cloud::Public)
}

/// No places at all, for what keeps nothing.
pub(crate) struct Nowhere;

#[async_trait::async_trait]
impl Storage for Nowhere {
    async fn open_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        self.view_state(location).await
    }

    async fn view_state(&self, _: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        Err(nowhere())
    }

    fn lock(&self, _: &StateLocation, _: &str, _: &RunnerId) -> Result<Lock, Error> {
        Err(nowhere())
    }

    fn store(&self, _: &StoreLocation) -> Result<Arc<dyn SecretStore>, Error> {
        Err(nowhere())
    }

    async fn secret(&self, _: &VaultSecret) -> Result<Secret, Error> {
        Err(nowhere())
    }
}

fn nowhere() -> Error {
    Error::failed("store-unavailable", "there are no places in this test")
}
