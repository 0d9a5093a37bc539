//! How a call fails, and how that is told to users: stable codes, one sentence, and what to do about it.

use std::time::Duration;

use http::StatusCode;

use super::problem::{self, ServiceProblem};
use super::transport::TransportError;
use crate::error::{Error, ErrorKind, Problem};

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
    /// Whether an earlier attempt of the same call got no definite answer: it may still take effect, whatever `failure` says.
    pub earlier_may_land: bool,
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
    SignIn(#[source] Box<Error>),
    /// The request never reached the service.
    #[error("the service cannot be reached")]
    NotSent(#[source] TransportError),
    /// It may or may not have taken effect: timeout, cut connection, unreadable or 5xx answer.
    #[error("no usable answer came back")]
    Ambiguous(#[source] Option<TransportError>),
    /// The service answered with an error.
    #[error("the service answered {status}")]
    Answer {
        /// Its HTTP status.
        status: StatusCode,
        /// What its body said, redacted.
        problem: ServiceProblem,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
}

/// An answer that says success but can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not what the service documents: {0}")]
pub struct Unusable(String);

impl HttpError {
    /// A 2xx answer that cannot be used. `reason` must not repeat what the answer held.
    pub fn unusable(what: &'static str, target: &str, reason: impl std::fmt::Display) -> Self {
        let source = TransportError::Ambiguous(Box::new(Unusable(reason.to_string())));
        let failure = Failure::Ambiguous(Some(source));
        Self { what, target: target.to_owned(), failure, attempts: 1, earlier_may_land: false }
    }

    /// Whether the request may have taken effect although this error came back (5xx and a page in place of data included).
    pub fn may_have_taken_effect(&self) -> bool {
        self.earlier_may_land
            || match &self.failure {
                Failure::ForbiddenHost | Failure::OutOfTime | Failure::SignIn(_) | Failure::NotSent(_) => false,
                Failure::Ambiguous(_) => true,
                Failure::Answer { status, .. } => {
                    status.is_server_error() || status.is_success() || *status == StatusCode::REQUEST_TIMEOUT
                }
            }
    }

    /// The HTTP status of the service's answer.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.failure {
            Failure::Answer { status, .. } => Some(*status),
            Failure::ForbiddenHost | Failure::OutOfTime | Failure::SignIn(_) | Failure::NotSent(_) | Failure::Ambiguous(_) => {
                None
            }
        }
    }

    /// What the service's answer said.
    pub fn problem(&self) -> Option<&ServiceProblem> {
        match &self.failure {
            Failure::Answer { problem, .. } => Some(problem),
            Failure::ForbiddenHost | Failure::OutOfTime | Failure::SignIn(_) | Failure::NotSent(_) | Failure::Ambiguous(_) => {
                None
            }
        }
    }

    /// The service's own error code, in its spelling.
    pub fn code(&self) -> Option<&str> {
        self.problem()?.code.as_deref()
    }

    /// How long the service asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.failure {
            Failure::Answer { retry_after, .. } => *retry_after,
            Failure::ForbiddenHost | Failure::OutOfTime | Failure::SignIn(_) | Failure::NotSent(_) | Failure::Ambiguous(_) => {
                None
            }
        }
    }

    fn host(&self) -> &str {
        let place = self.target.split_once(' ').map_or(self.target.as_str(), |(_, place)| place);
        place.split('/').next().unwrap_or(place)
    }
}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        let host = error.host().to_owned();
        let (kind, code, said, hint) = match &error.failure {
            Failure::ForbiddenHost => (
                ErrorKind::Usage,
                "forbidden-host".to_owned(),
                format!("credentials may not go to `{host}`"),
                Some(format!("correct the address, or add `{host}` to LAKEKEY_ALLOWED_HOSTS in the environment")),
            ),
            Failure::OutOfTime => (
                ErrorKind::Unfinished,
                "out-of-time".to_owned(),
                "too little time is left to start it".to_owned(),
                Some("run the command again; it goes on where it stopped".to_owned()),
            ),
            Failure::SignIn(inner) => (
                inner.kind(),
                inner.code().to_owned(),
                format!("sign-in failed: {}", inner.problem().message),
                inner.problem().hint.clone(),
            ),
            Failure::NotSent(_) => (
                ErrorKind::Failed,
                "unreachable".to_owned(),
                format!("`{host}` cannot be reached"),
                Some("check the address, DNS, the proxy variables and SSL_CERT_FILE".to_owned()),
            ),
            Failure::Ambiguous(source) => ambiguous(source.as_ref(), &host),
            Failure::Answer { status, problem, retry_after } => answer(*status, problem, *retry_after, &host),
        };
        let mut problem = Problem::new(&code, format!("{}: {said}", error.what));
        problem.hint = hint;
        Self::new(kind, problem).caused_by(error)
    }
}

type Told = (ErrorKind, String, String, Option<String>);

fn ambiguous(source: Option<&TransportError>, host: &str) -> Told {
    let (code, said, hint) = match source {
        Some(TransportError::Timeout(after)) => (
            "timeout",
            format!("`{host}` did not answer within {} s", after.as_secs()),
            "try again; if it lasts, look at the service's status page",
        ),
        Some(TransportError::TooLarge { limit }) => (
            "unusable-answer",
            format!("the answer is larger than {limit} bytes"),
            "check that the address is that of the service",
        ),
        Some(TransportError::Ambiguous(inner)) if inner.is::<Unusable>() => {
            ("unusable-answer", inner.to_string(), "check that the address is that of the service; if so, report this")
        }
        Some(TransportError::Ambiguous(_) | TransportError::NotSent(_)) | None => {
            ("no-answer", format!("the connection to `{host}` was cut before the answer was whole"), "try again")
        }
    };
    (ErrorKind::Failed, code.to_owned(), said, Some(hint.to_owned()))
}

fn answer(status: StatusCode, problem: &ServiceProblem, retry_after: Option<Duration>, host: &str) -> Told {
    let service_code = problem.code.as_deref();
    let (code, hint) = match (service_code, status.as_u16()) {
        (Some(problem::PRIVATE_LINK), _) => {
            ("private-link", "run lakekey inside the network that the workspace's Private Link serves".to_owned())
        }
        (Some(problem::LOGIN_PAGE), _) => (
            "login-page",
            format!("a page for people came back: check that `{host}` is the service itself, not a proxy or portal"),
        ),
        (Some(problem::REDIRECT), _) => {
            ("redirect", "redirects are not followed: put the final address into the config".to_owned())
        }
        (Some("invalid_client" | "invalid_grant" | "unauthorized_client"), _) => (
            "sign-in-refused",
            "check client id, secret and tenant; the secret may have expired or belong to another issuer".to_owned(),
        ),
        (_, 401 | 403) if is_blocked_address(problem) => (
            "ip-access-list",
            format!(
                "allow this machine's outgoing address in the IP access lists of `{host}`, or run lakekey where it is allowed"
            ),
        ),
        (_, 401) => ("unauthorized", "check the identity in the config and that it belongs to this service".to_owned()),
        (_, 403) => ("forbidden", "give the identity the permission that this needs; the README lists them all".to_owned()),
        (_, 404) => ("not-found", "check the name or id, and that the identity may see it".to_owned()),
        (_, 429) => ("throttled", throttled_hint(retry_after)),
        (_, 503) if retry_after.is_some() => ("throttled", throttled_hint(retry_after)),
        (_, 500..) => ("service-error", "try again later".to_owned()),
        _ => ("refused", "see the service's own words".to_owned()),
    };
    let quoted = problem.request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default();
    let said = if status.is_success() && service_code != Some(problem::LOGIN_PAGE) {
        format!("{problem}{quoted}")
    } else {
        format!("the service answered {}: {problem}{quoted}", status.as_u16())
    };
    (ErrorKind::Failed, code.to_owned(), said, Some(hint))
}

/// Databricks has no code of its own for an address that an IP access list keeps out, only these words.
fn is_blocked_address(problem: &ServiceProblem) -> bool {
    problem.message.as_deref().is_some_and(|message| message.contains("blocked by Databricks IP ACL"))
}

fn throttled_hint(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!("the service asks to wait {} s; try again then", wait.as_secs().max(1)),
        None => "try again in a few minutes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(failure: Failure) -> Error {
        HttpError {
            what: "list secrets",
            target: "GET adb-1.azuredatabricks.net/api/2.0/x".to_owned(),
            failure,
            attempts: 1,
            earlier_may_land: false,
        }
        .into()
    }

    fn answered(status: u16, code: &str) -> Failure {
        Failure::Answer {
            status: StatusCode::from_u16(status).unwrap(),
            problem: ServiceProblem::new(code, "words"),
            retry_after: Some(Duration::from_secs(600)),
        }
    }

    #[test]
    fn every_failure_has_a_stable_code() {
        let table = [
            (Failure::ForbiddenHost, "forbidden-host"),
            (Failure::OutOfTime, "out-of-time"),
            (Failure::SignIn(Box::new(Error::usage("wrong-audience", "no"))), "wrong-audience"),
            (Failure::NotSent(TransportError::NotSent("x".into())), "unreachable"),
            (Failure::Ambiguous(Some(TransportError::Timeout(Duration::from_secs(60)))), "timeout"),
            (Failure::Ambiguous(None), "no-answer"),
            (answered(401, "X"), "unauthorized"),
            (answered(401, "invalid_client"), "sign-in-refused"),
            (answered(403, "X"), "forbidden"),
            (
                Failure::Answer {
                    status: StatusCode::FORBIDDEN,
                    problem: ServiceProblem::new(
                        "403",
                        "Source IP address: 203.0.113.9 is blocked by Databricks IP ACL for workspace: 1234",
                    ),
                    retry_after: None,
                },
                "ip-access-list",
            ),
            (answered(404, "X"), "not-found"),
            (answered(429, "X"), "throttled"),
            (answered(500, "X"), "service-error"),
            (answered(400, "X"), "refused"),
            (answered(200, problem::LOGIN_PAGE), "login-page"),
            (answered(302, problem::REDIRECT), "redirect"),
            (answered(302, problem::PRIVATE_LINK), "private-link"),
        ];
        for (failure, code) in table {
            let shown = format!("{failure:?}");
            let error = told(failure);
            assert_eq!(error.code(), code, "{shown}");
            assert!(error.problem().hint.is_some() || code == "wrong-audience", "{shown}");
        }
    }

    #[test]
    fn a_long_wait_is_named() {
        assert_eq!(told(answered(429, "X")).problem().hint.as_deref(), Some("the service asks to wait 600 s; try again then"));
    }

    #[test]
    fn the_message_says_what_was_tried_and_what_was_said() {
        assert_eq!(told(answered(403, "DENIED")).to_string(), "list secrets: the service answered 403: `DENIED`: words");
    }

    #[test]
    fn an_earlier_open_attempt_outweighs_a_definite_answer() {
        let mut error = HttpError::unusable("x", "", "y");
        error.failure = answered(403, "X");
        assert!(!error.may_have_taken_effect());
        error.earlier_may_land = true;
        assert!(error.may_have_taken_effect());
    }
}
