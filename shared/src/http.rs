//! The one seam to the outside world. Every client sends an `http::Request<Bytes>` through [`Http::send`]; it owns
//! the host check, sign-in, timeouts, the retry decision, rate limits, redaction and telemetry.
//!
//! Invariants: nothing is sent to a host that the config does not allow, nothing after `not_after`, nothing inside a
//! `Retry-After`, and an [`Effect::Once`] call is never sent again after it may have taken effect.

mod cooldown;
mod failure;
pub mod json;
pub mod page;
pub mod problem;
pub mod redact;
pub mod reqwest_transport;
pub mod retry;
pub mod sdk;
#[cfg(test)]
pub(crate) mod testing;
pub mod transport;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;

use crate::clock::Clock;
use crate::config::hosts::HostPolicy;
use crate::identity::Signer;
use crate::random::Random;
use crate::secret::Secret;
use cooldown::{Cooldowns, Party};
pub use failure::{Failure, HttpError, Unusable};
use problem::ServiceProblem;
use retry::{Attempt, Budget, Decision, Outcome};
use transport::{Transport, TransportError};

/// Sends requests.
#[derive(Clone)]
pub struct Http {
    transport: Arc<dyn Transport>,
    hosts: HostPolicy,
    clock: Clock,
    random: Random,
    timeout: Duration,
    cooldowns: Arc<Cooldowns>,
}

/// One request to a service.
pub struct Call<'a> {
    /// Which service answers: its error dialect and its rate limit.
    pub service: Service,
    /// What the call does, for errors and logs: `list secrets of service principal`.
    pub what: &'static str,
    /// The request, without `Authorization`.
    pub request: http::Request<Bytes>,
    /// Who signs it; `None` when the request carries its own sign-in (token endpoints).
    pub signer: Option<&'a Signer>,
    /// Whether sending it twice is the same as sending it once.
    pub effect: Effect,
    /// No attempt starts after this: the end of the lease minus request timeout minus skew. `None` for reads.
    pub not_after: Option<Timestamp>,
}

/// The services lakekey talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// A Databricks workspace.
    Databricks,
    /// The Entra token endpoints.
    Entra,
    /// The Power BI REST API.
    PowerBi,
    /// The Fabric REST API.
    Fabric,
    /// Key Vault.
    KeyVault,
    /// A queue of Azure Storage.
    StorageQueue,
    /// A webhook. Its path and query are as secret as a password: they are in no error and no log.
    Webhook,
}

/// Whether sending a request twice is the same as sending it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads, and writes that set a state: sent again after an ambiguous failure.
    Repeatable,
    /// Creates: sent again only when it certainly had no effect.
    Once,
}

/// How often a call was sent; an extension of the response that [`Http::send`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Attempts made, the successful one included.
    pub attempts: u32,
    /// Whether an earlier attempt got no definite answer: its effect may still land after this success.
    pub earlier_may_land: bool,
}

impl Sent {
    /// How often the call was sent that this answers.
    pub fn of<T>(answer: &http::Response<T>) -> Self {
        answer.extensions().get().copied().unwrap_or(Self { attempts: 1, earlier_may_land: false })
    }
}

/// What counts as the answer that was asked for.
#[derive(Clone, Copy)]
enum Wanted {
    Success,
    Status(fn(&StatusCode) -> bool),
}

impl Http {
    /// A seam over `transport`. `timeout` bounds one attempt.
    pub fn new(transport: Arc<dyn Transport>, hosts: HostPolicy, clock: Clock, random: Random, timeout: Duration) -> Self {
        Self { transport, hosts, clock, random, timeout, cooldowns: Arc::default() }
    }

    /// Sends `call`, again where that is safe, and returns the 2xx answer with [`Sent`] among its extensions.
    pub async fn send(&self, call: Call<'_>) -> Result<http::Response<Bytes>, HttpError> {
        Sending::new(self, call, Wanted::Success).run().await
    }

    /// Sends `call` and returns the answer whose status is meant, a redirect unfollowed; any other answer is an error.
    pub(crate) async fn send_for(
        &self,
        call: Call<'_>,
        meant: fn(&StatusCode) -> bool,
    ) -> Result<http::Response<Bytes>, HttpError> {
        Sending::new(self, call, Wanted::Status(meant)).run().await
    }

    /// The same way out under another policy of hosts.
    pub(crate) fn with_hosts(&self, hosts: HostPolicy) -> Self {
        Self { hosts, ..self.clone() }
    }

    /// The clock of this seam.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The randomness of this seam.
    pub(crate) fn random(&self) -> &Random {
        &self.random
    }

    /// Uniform in `0..1`.
    fn jitter(&self) -> f64 {
        f64::from(u32::try_from(self.random.between(0, 0xff_ffff)).unwrap_or(0)) / f64::from(0x100_0000)
    }
}

/// One call on its way, from the host check to its last attempt.
struct Sending<'a> {
    http: &'a Http,
    call: Call<'a>,
    wanted: Wanted,
    target: String,
    party: Party,
    started: Timestamp,
    attempts: u32,
    refreshed: bool,
    earlier_may_land: bool,
}

impl<'a> Sending<'a> {
    fn new(http: &'a Http, call: Call<'a>, wanted: Wanted) -> Self {
        let uri = call.request.uri();
        let host = uri.authority().map(|authority| authority.host().to_owned()).unwrap_or_default();
        let party = Party {
            service: call.service,
            identity: call.signer.map(|signer| signer.identity().to_owned()).unwrap_or_default(),
            host: uri.authority().map(|authority| authority.as_str().to_ascii_lowercase()).unwrap_or_default(),
        };
        let target = format!("{} {host}{}", call.request.method(), shown_path(call.service, uri));
        let started = http.clock.now();
        Self { http, call, wanted, target, party, started, attempts: 0, refreshed: false, earlier_may_land: false }
    }

    async fn run(mut self) -> Result<http::Response<Bytes>, HttpError> {
        let uri = self.call.request.uri().to_string();
        let allowed = url::Url::parse(&uri).is_ok_and(|url| self.http.hosts.allows(&url).is_ok());
        if !allowed {
            return Err(self.fail(Failure::ForbiddenHost));
        }
        loop {
            let signature = match self.prepare().await {
                Ok(signature) => signature,
                Err(failure) => return Err(self.fail(failure)),
            };
            let failure = match self.attempt(signature.as_ref()).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            match self.decide(&failure) {
                Decision::GiveUp => return Err(self.fail(failure)),
                Decision::RefreshSignIn => self.refresh(signature.map(|signature| signature.token).as_ref()).await?,
                Decision::Retry(wait) => self.wait(wait, failure).await?,
            }
        }
    }

    /// Waits out a cool-down, signs in, and looks at the clock last: what follows is the request itself.
    async fn prepare(&self) -> Result<Option<Signature>, Failure> {
        let token = loop {
            self.hold().await?;
            let token = match self.call.signer {
                Some(signer) => Some(sign(signer).await.map_err(|error| Failure::SignIn(Box::new(error)))?),
                None => None,
            };
            // Signing in takes time: another request may have been told to wait meanwhile.
            if self.http.cooldowns.remaining(&self.party, self.http.clock.now()).is_none() {
                break token;
            }
        };
        match self.call.not_after {
            Some(not_after) if self.http.clock.now() > not_after => Err(Failure::OutOfTime),
            _ => Ok(token),
        }
    }

    /// Waits while this party is held, unless that would outlast the budget or the lease.
    async fn hold(&self) -> Result<(), Failure> {
        while let Some(left) = self.http.cooldowns.remaining(&self.party, self.http.clock.now()) {
            if self.too_late(left) {
                return Err(Failure::OutOfTime);
            }
            if self.elapsed() + left > retry::BUDGET {
                return Err(Failure::Answer {
                    status: StatusCode::TOO_MANY_REQUESTS,
                    problem: ServiceProblem::new("HELD", "another request of this identity was told to wait"),
                    retry_after: Some(left),
                });
            }
            self.http.clock.sleep(left + retry::SPREAD_MAX.mul_f64(self.http.jitter())).await;
        }
        Ok(())
    }

    async fn attempt(&mut self, signature: Option<&Signature>) -> Result<http::Response<Bytes>, Failure> {
        let mut request = self.call.request.clone();
        if let Some(Signature { token, beside }) = signature {
            request.headers_mut().insert(header::AUTHORIZATION, header_value(&format!("Bearer {}", token.reveal()))?);
            for (name, value) in beside {
                request.headers_mut().insert(name, header_value(value.reveal())?);
            }
        }
        self.attempts += 1;
        let sent_at = self.http.clock.now();
        let outcome = self.http.transport.send(request, self.http.timeout).await;
        let now = self.http.clock.now();
        let path = shown_path(self.call.service, self.call.request.uri());
        let (method, host) = (self.call.request.method().as_str(), self.party.host.as_str());
        tracing::debug!(
            method,
            host,
            path,
            status = outcome.as_ref().map_or(0, |response| response.status().as_u16()),
            attempt = self.attempts,
            duration_ms = i64::try_from(now.duration_since(sent_at).as_millis()).unwrap_or(i64::MAX),
            "{}",
            self.call.what
        );
        match outcome {
            Ok(response) => self.judge(response, now),
            Err(error @ TransportError::NotSent(_)) => Err(Failure::NotSent(error)),
            Err(error) => Err(Failure::Ambiguous(Some(error))),
        }
    }

    /// Tells the answer that was asked for from any other; a request to wait is noted for everyone it concerns.
    fn judge(&self, mut response: http::Response<Bytes>, now: Timestamp) -> Result<http::Response<Bytes>, Failure> {
        let status = response.status();
        let page = ServiceProblem::page_instead_of_data(response.headers(), response.body());
        let is_wanted = match self.wanted {
            Wanted::Success => status.is_success() && page.is_none(),
            Wanted::Status(meant) => meant(&status),
        };
        if is_wanted {
            response.extensions_mut().insert(Sent { attempts: self.attempts, earlier_may_land: self.earlier_may_land });
            return Ok(response);
        }
        let retry_after = retry::asked_by(response.headers(), now).filter(|_| retry::is_transient(status));
        if let Some(wait) = retry_after {
            self.http.cooldowns.hold(&self.party, wait, now);
        }
        let problem = match page {
            Some(page) if status.is_success() => page,
            _ => ServiceProblem::read(status, response.headers(), response.body()),
        };
        Err(Failure::Answer { status, problem, retry_after })
    }

    fn decide(&self, failure: &Failure) -> Decision {
        let outcome = outcome(failure);
        let attempt = Attempt {
            number: self.attempts,
            effect: self.call.effect,
            elapsed: self.elapsed(),
            can_refresh: self.call.signer.is_some() && !self.refreshed,
        };
        retry::decide(&attempt, outcome, &Budget::default(), self.http.jitter())
    }

    async fn refresh(&mut self, rejected: Option<&Secret>) -> Result<(), HttpError> {
        self.refreshed = true;
        if let (Some(signer), Some(rejected)) = (self.call.signer, rejected)
            && let Err(error) = signer.reload(rejected).await
        {
            return Err(self.fail(Failure::SignIn(Box::new(error))));
        }
        Ok(())
    }

    /// Waits before the next attempt; when that attempt could not start in time, the failure at hand is the answer.
    async fn wait(&mut self, wait: Duration, failure: Failure) -> Result<(), HttpError> {
        if self.too_late(wait) {
            return Err(self.fail(failure));
        }
        self.earlier_may_land |= may_land(&failure);
        self.http.clock.sleep(wait).await;
        Ok(())
    }

    fn too_late(&self, wait: Duration) -> bool {
        let wait = jiff::SignedDuration::try_from(wait).unwrap_or(jiff::SignedDuration::MAX);
        let start = self.http.clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
        self.call.not_after.is_some_and(|not_after| start > not_after)
    }

    fn elapsed(&self) -> Duration {
        Duration::try_from(self.http.clock.now().duration_since(self.started)).unwrap_or(Duration::ZERO)
    }

    fn fail(&self, failure: Failure) -> HttpError {
        let (what, target) = (self.call.what, self.target.clone());
        HttpError { what, target, failure, attempts: self.attempts, earlier_may_land: self.earlier_may_land }
    }
}

fn shown_path(service: Service, uri: &http::Uri) -> &str {
    match service {
        Service::Databricks | Service::Entra | Service::PowerBi | Service::Fabric | Service::KeyVault | Service::StorageQueue => {
            uri.path()
        }
        Service::Webhook => "",
    }
}

/// Whether an attempt that failed so may yet take effect at the service.
fn may_land(failure: &Failure) -> bool {
    match failure {
        Failure::Ambiguous(_) => true,
        Failure::Answer { status, .. } => status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT,
        Failure::ForbiddenHost | Failure::OutOfTime | Failure::SignIn(_) | Failure::NotSent(_) => false,
    }
}

fn outcome(failure: &Failure) -> Outcome {
    match failure {
        Failure::NotSent(_) => Outcome::NotSent,
        Failure::Ambiguous(_) => Outcome::Ambiguous,
        Failure::Answer { status, problem, .. } if rejects_token(*status, problem) => Outcome::TokenRejected,
        Failure::Answer { status, problem, .. } if status.is_client_error() && asks_to_slow_down(problem) => Outcome::Throttled,
        Failure::Answer { status, retry_after, .. } => Outcome::Answer { status: *status, retry_after: *retry_after },
        // These end the call where they arise; none of them is an answer to an attempt.
        Failure::ForbiddenHost | Failure::OutOfTime | Failure::SignIn(_) => {
            Outcome::Answer { status: StatusCode::FORBIDDEN, retry_after: None }
        }
    }
}

/// 401, or a 403 that means the token: Databricks refuses one with 30 seconds left, Power BI says `TokenExpired`.
/// A refusal for want of rights is not cured by another token.
fn rejects_token(status: StatusCode, problem: &ServiceProblem) -> bool {
    let code = problem.code.as_deref().unwrap_or_default();
    let message = problem.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    let aged = code == "TokenExpired"
        || ["expiring within 30 seconds", "token expired", "token is expired", "token has expired", "invalid access token"]
            .iter()
            .any(|words| message.contains(words));
    match status {
        StatusCode::UNAUTHORIZED => !matches!(code, "PERMISSION_DENIED" | "PowerBINotAuthorizedException" | "invalid_client"),
        StatusCode::FORBIDDEN => aged,
        _ => false,
    }
}

/// Token endpoints throttle with 400 `invalid_request` and these words (terraform-provider-databricks#2042).
fn asks_to_slow_down(problem: &ServiceProblem) -> bool {
    problem.code.as_deref() == Some("invalid_request")
        && problem.message.as_deref().is_some_and(|message| message.to_ascii_lowercase().contains("temporarily throttled"))
}

/// What shows a service who asks.
struct Signature {
    token: Secret,
    beside: Vec<(header::HeaderName, Secret)>,
}

async fn sign(signer: &Signer) -> Result<Signature, crate::error::Error> {
    Ok(Signature { token: signer.token().await?, beside: signer.headers().await? })
}

fn header_value(secret: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::try_from(secret).map_err(|_| {
        let error = crate::error::Error::failed("unusable-token", "the token holds characters that no header can carry")
            .hint("check the secret that the identity refers to for line breaks or stray characters");
        Failure::SignIn(Box::new(error))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
