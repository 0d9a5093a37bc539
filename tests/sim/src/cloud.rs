//! The way in and out: routing by address, faults, latency, the log. In process and over sockets alike, a request passes
//! `answer`, takes effect at one instant in `apply`, and may then get lost.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use jiff::Timestamp;

use crate::clock::{Clock, detach, pause};
use crate::faults::{Action, Rule};
use crate::fleet::Cast;
use crate::wire::{Call, Reply, Service};
use crate::world::{Addresses, Seen, World};
use crate::{databricks, entra, fabric, powerbi};

/// A whole simulated cloud. Clones are the same cloud.
#[derive(Clone)]
pub struct Cloud {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) cast: Cast,
    clock: Clock,
    addresses: Addresses,
    world: Mutex<World>,
}

/// There was no answer. With `sent`, the request may have taken effect; without, it has certainly not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    pub sent: bool,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.sent { "the connection was cut before an answer" } else { "the connection was refused" })
    }
}

impl std::error::Error for Lost {}

impl Cloud {
    pub(crate) fn new(clock: Clock, world: World, cast: Cast) -> Self {
        Self { inner: Arc::new(Inner { cast, clock, addresses: world.addresses.clone(), world: Mutex::new(world) }) }
    }

    /// Answers a request with an absolute URI, or a `Host`, of one of the cloud's services.
    pub async fn handle(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Lost> {
        let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
        let authority = request.uri().authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
        let authority = authority.trim_end_matches(":443").to_owned();
        match self.inner.addresses.service(&authority) {
            Some(service) => self.answer(service, request).await,
            None => Err(Lost { sent: false }),
        }
    }

    /// Answers a request to that service, whatever its address says.
    pub async fn answer(&self, service: Service, request: Request<Bytes>) -> Result<Response<Bytes>, Lost> {
        let call = Call::new(service, request);
        let (action, latency) = {
            let mut world = self.lock();
            (world.faults.strike(&call), world.settings.latency)
        };
        let cloud = self.clone();
        let work = async move { cloud.perform(call, action, latency).await };
        match detach(work).await {
            Ok(Some(answer)) => answer,
            Ok(None) => std::future::pending().await,
            Err(_) => Err(Lost { sent: true }),
        }
    }

    pub fn addresses(&self) -> &Addresses {
        &self.inner.addresses
    }

    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Skips time, for the cloud alone.
    pub fn advance(&self, by: Duration) {
        self.inner.clock.advance(by);
        drop(self.lock());
    }

    /// Puts these fault rules in place of the present ones.
    pub fn set_faults(&self, rules: Vec<Rule>) {
        self.lock().faults.set(rules);
    }

    pub fn add_faults(&self, rules: Vec<Rule>) {
        self.lock().faults.add(rules);
    }

    /// Changes how the cloud behaves from now on.
    pub fn configure(&self, change: impl FnOnce(&mut crate::Settings)) {
        change(&mut self.lock().settings);
    }

    /// The state at this instant: everything that was due has happened.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.inner.world.lock().expect("no holder of this lock panics");
        world.now = self.inner.clock.now();
        powerbi::settle(&mut world);
        world
    }

    /// `None` is an answer that never comes.
    async fn perform(&self, call: Call, action: Option<Action>, latency: Duration) -> Option<Result<Response<Bytes>, Lost>> {
        pause(latency).await;
        let Some(action) = action else {
            return Some(Ok(self.respond(self.apply(&call, None, true).await)));
        };
        let fault = action.name();
        pause(action.wait_before()).await;
        let answer = match action {
            Action::Latency { .. } => Ok(self.apply(&call, Some(&fault), true).await),
            Action::Status { status, retry_after, body, after_effect } => {
                self.perhaps(after_effect, &call, status, &fault).await;
                let reply = Reply::text(status, "text/plain", body.unwrap_or_default());
                Ok(match retry_after {
                    Some(wait) => reply.with("retry-after", wait),
                    None => reply,
                })
            }
            Action::Refuse => {
                self.note(&call, 0, &fault);
                Err(Lost { sent: false })
            }
            Action::DropBefore | Action::DropAfter => {
                self.perhaps(action == Action::DropAfter, &call, 0, &fault).await;
                Err(Lost { sent: true })
            }
            Action::Hang { after_effect } => {
                self.perhaps(after_effect, &call, 0, &fault).await;
                return None;
            }
            Action::Html => {
                self.note(&call, 200, &fault);
                Ok(Reply::text(200, "text/html; charset=utf-8", LOGIN_PAGE))
            }
            Action::Redirect { location } => {
                self.note(&call, 302, &fault);
                Ok(Reply::empty(302).with("location", location))
            }
            Action::Truncate => {
                let mut reply = self.apply(&call, Some(&fault), true).await;
                reply.body.truncate(reply.body.len() / 2);
                Ok(reply)
            }
            Action::Duplicate => {
                self.apply(&call, Some(&fault), false).await;
                Ok(self.apply(&call, Some(&fault), true).await)
            }
            Action::Late { ms } => {
                let cloud = self.clone();
                detach(async move {
                    pause(Duration::from_millis(ms)).await;
                    cloud.apply(&call, Some(&fault), false).await;
                });
                Err(Lost { sent: true })
            }
        };
        Some(answer.map(|reply| self.respond(reply)))
    }

    /// Does what was asked, unseen, or only notes that it was asked.
    async fn perhaps(&self, done: bool, call: &Call, status: u16, fault: &str) {
        if done {
            self.apply(call, Some(fault), false).await;
        } else {
            self.note(call, status, fault);
        }
    }

    /// The effect, at once; then the time that the service takes to answer.
    async fn apply(&self, call: &Call, fault: Option<&str>, seen: bool) -> Reply {
        let reply = {
            let mut world = self.lock();
            world.caller = None;
            world.trouble = fault.map(str::to_owned);
            world.watch(call);
            let reply = match call.service {
                Service::Databricks(index) => databricks::answer(&mut world, index, call),
                Service::Account => databricks::account(&mut world, call),
                Service::Entra => entra::answer(&mut world, call),
                Service::PowerBi => powerbi::answer(&mut world, call),
                Service::Fabric => fabric::answer(&mut world, call),
            };
            world.trouble = None;
            log(&mut world, call, if seen { reply.status } else { 0 }, fault, reply.retry_after());
            reply
        };
        pause(reply.delay).await;
        reply
    }

    fn note(&self, call: &Call, status: u16, fault: &str) {
        let mut world = self.lock();
        world.caller = None;
        world.watch(call);
        log(&mut world, call, status, Some(fault), None);
    }

    fn respond(&self, reply: Reply) -> Response<Bytes> {
        let mut response = Response::builder().status(reply.status);
        for (name, value) in &reply.headers {
            // A fault's header may be absurd, but it must be one.
            if let Ok(value) = HeaderValue::from_str(value) {
                response = response.header(name.as_str(), value);
            }
        }
        let date = self.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        response.header("date", date).body(reply.body).expect("statuses and header names are the cloud's own")
    }
}

fn log(world: &mut World, call: &Call, status: u16, fault: Option<&str>, retry_after: Option<Duration>) {
    let seen = Seen {
        at: world.now,
        service: call.service.name(),
        method: call.method.to_string(),
        path: call.target.clone(),
        status,
        caller: world.caller.take(),
        fault: fault.map(str::to_owned),
        retry_after,
    };
    world.log.push(seen);
}

const LOGIN_PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in to your account</title></head><body>login.html</body></html>";
