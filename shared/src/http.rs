//! The one seam to the outside world. Every client sends an `http::Request<Bytes>` through [`Http::send`]; it owns
//! the host check, sign-in, timeouts, the retry decision, rate limits, redaction and telemetry.

pub mod problem;
pub mod transport;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::config::hosts::HostPolicy;
use crate::identity::Signer;
use crate::random::Random;
use transport::Transport;

/// Sends requests.
pub struct Http {
    #[expect(dead_code, reason = "skeleton")]
    transport: Arc<dyn Transport>,
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
}

/// Whether sending a request twice is the same as sending it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads, and writes that set a state: sent again after an ambiguous failure.
    Repeatable,
    /// Creates: sent again only when it certainly had no effect.
    Once,
}

/// Why a call did not succeed, after its retries.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {failure}")]
pub struct HttpError {
    /// What the call was to do.
    pub what: &'static str,
    /// Method, host and path; never a query.
    pub target: String,
    /// How it failed.
    pub failure: Failure,
    /// Attempts made.
    pub attempts: u32,
}

/// How a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The config does not allow credentials to go there; nothing was sent.
    #[error("the host is not one that credentials may go to")]
    ForbiddenHost,
    /// The lease is too near its end; nothing was sent in the last attempt.
    #[error("the lease is too near its end to start a write")]
    OutOfTime,
    /// Signing in failed; nothing was sent.
    #[error("sign-in failed")]
    SignIn(#[source] Box<crate::error::Error>),
    /// The request never reached the service.
    #[error("the service cannot be reached")]
    NotSent(#[source] transport::TransportError),
    /// It may or may not have taken effect: timeout, cut connection, unreadable or 5xx answer.
    #[error("no usable answer came back")]
    Ambiguous(#[source] Option<transport::TransportError>),
    /// The service answered with an error.
    #[error("the service answered {status}")]
    Answer {
        /// Its HTTP status.
        status: StatusCode,
        /// What its body said, redacted.
        problem: problem::ServiceProblem,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
}

impl HttpError {
    /// Whether the request may have taken effect although this error came back (5xx included).
    pub fn may_have_taken_effect(&self) -> bool {
        match &self.failure {
            Failure::ForbiddenHost | Failure::OutOfTime | Failure::SignIn(_) | Failure::NotSent(_) => false,
            Failure::Ambiguous(_) => true,
            Failure::Answer { status, .. } => status.is_server_error(),
        }
    }

    /// The HTTP status of the service's answer.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.failure {
            Failure::Answer { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The service's own error code, in its spelling.
    pub fn code(&self) -> Option<&str> {
        match &self.failure {
            Failure::Answer { problem, .. } => problem.code.as_deref(),
            _ => None,
        }
    }
}

impl Http {
    /// A seam over `transport`. `timeout` bounds one attempt.
    pub fn new(transport: Arc<dyn Transport>, hosts: HostPolicy, clock: Clock, random: Random, timeout: Duration) -> Self {
        let _ = (hosts, clock, random, timeout);
        Self { transport }
    }

    /// Sends `call`, again where that is safe, and returns the 2xx answer.
    pub async fn send(&self, call: Call<'_>) -> Result<http::Response<Bytes>, HttpError> {
        let _ = call;
        unimplemented!("skeleton")
    }
}
