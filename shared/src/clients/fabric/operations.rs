//! Testing a connection, which the service may answer at once or as an operation to follow. Only the operation's id is
//! taken from the answer: the address is built here, for tokens go to the configured host alone.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Fabric;
use crate::clients::powerbi::request::{id, target};
use crate::http::problem::ServiceProblem;
use crate::http::transport::TransportError;
use crate::http::{Failure, HttpError, json};
use crate::ids::DatasourceId;

const WHAT: &str = "test a connection";
/// How long a test may take in all: a virtual network gateway that sleeps needs minutes to wake.
const TEST_TIME_MAX: Duration = Duration::from_secs(3 * 60);
/// Between two looks, where the service does not say.
const POLL_DEFAULT: Duration = Duration::from_secs(5);
/// The service's own wish is followed within these.
const POLL_MIN: Duration = Duration::from_secs(1);
const POLL_MAX: Duration = Duration::from_secs(30);

/// What a test found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// The credential opens the source.
    Online,
    /// It does not; the service's own reason, redacted.
    Offline(ServiceProblem),
    /// A word that is not known yet.
    Other(String),
}

impl Fabric {
    /// Has the service try the credential that a connection holds. A test that is still running after a few minutes, or at
    /// `give_up_at`, is a timeout.
    pub async fn test_connection(&self, connection: &DatasourceId, give_up_at: Timestamp) -> Result<ConnectionStatus, HttpError> {
        let url = self.address(&["connections", connection.as_str(), "testConnection"], None);
        let place = target(&Method::POST, &url);
        let answer = self.send(WHAT, json::request(Method::POST, url.as_str()), None).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Ok(json::read::<StatusRow>(WHAT, &place, &answer)?.status());
        }
        let Some(operation) = operation_id(answer.headers()) else {
            return Err(HttpError::unusable(WHAT, &place, "it is accepted, but names no operation to follow"));
        };
        self.wait(&operation, wished(answer.headers()), give_up_at).await?;
        Ok(self.get::<StatusRow>(WHAT, &["operations", &operation, "result"], None).await?.status())
    }

    /// Until the operation has succeeded.
    async fn wait(&self, operation: &str, first: Duration, give_up_at: Timestamp) -> Result<(), HttpError> {
        let clock = self.http.clock();
        let budget = SignedDuration::try_from(TEST_TIME_MAX).unwrap_or(SignedDuration::MAX);
        let give_up_at = clock.now().saturating_add(budget).unwrap_or(Timestamp::MAX).min(give_up_at);
        let url = self.address(&["operations", operation], None);
        let place = target(&Method::GET, &url);
        let mut pause = first;
        loop {
            let until = clock.now().saturating_add(SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX));
            if until.unwrap_or(Timestamp::MAX) > give_up_at {
                let failure = Failure::Ambiguous(Some(TransportError::Timeout(TEST_TIME_MAX)));
                return Err(HttpError { failure, ..HttpError::unusable(WHAT, &place, "") });
            }
            clock.sleep(pause).await;
            let answer = self.send(WHAT, json::request(Method::GET, url.as_str()), None).await?;
            let state: OperationRow = json::read(WHAT, &place, &answer)?;
            match state.status.as_deref() {
                Some("Succeeded") => return Ok(()),
                Some("Failed") => return Err(failed(&place, state.error)),
                // `NotStarted`, `Running`, `Undefined`, and whatever may be added.
                _ => pause = wished(answer.headers()),
            }
        }
    }
}

fn failed(place: &str, error: Option<ErrorRow>) -> HttpError {
    let (code, message) = error.map(|error| (error.error_code, error.message)).unwrap_or_default();
    let problem = ServiceProblem::new(
        code.as_deref().unwrap_or("OperationFailed"),
        message.as_deref().unwrap_or("the operation failed without a reason"),
    );
    let failure = Failure::Answer { status: StatusCode::OK, problem, retry_after: None };
    HttpError { failure, ..HttpError::unusable(WHAT, place, "") }
}

/// From its own header, or the last part of `Location`.
fn operation_id(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let location = || text(header::LOCATION.as_str())?.split(['?', '#']).next()?.trim_end_matches('/').rsplit('/').next();
    text("x-ms-operation-id").or_else(location).and_then(id)
}

fn wished(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds.map_or(POLL_DEFAULT, Duration::from_secs).clamp(POLL_MIN, POLL_MAX)
}

#[derive(Deserialize)]
struct StatusRow {
    status: String,
    #[serde(default)]
    errors: Vec<ErrorRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorRow {
    error_code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct OperationRow {
    status: Option<String>,
    error: Option<ErrorRow>,
}

impl StatusRow {
    fn status(self) -> ConnectionStatus {
        match self.status.as_str() {
            "Online" => ConnectionStatus::Online,
            "Offline" => {
                let first = self.errors.into_iter().next();
                let (code, message) = first.map(|error| (error.error_code, error.message)).unwrap_or_default();
                ConnectionStatus::Offline(ServiceProblem::new(
                    code.as_deref().unwrap_or("Offline"),
                    message.as_deref().unwrap_or("no reason is given"),
                ))
            }
            _ => ConnectionStatus::Other(self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
        rows.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_operation_is_found_in_either_header_and_never_followed_elsewhere() {
        let elsewhere = ("location", "https://evil.example/v1/operations/0000-abc?x=1");
        assert_eq!(operation_id(&headers(&[elsewhere])).as_deref(), Some("0000-abc"));
        assert_eq!(operation_id(&headers(&[("x-ms-operation-id", "own"), elsewhere])).as_deref(), Some("own"));
        assert_eq!(operation_id(&headers(&[("location", "https://x/v1/operations/..")])), None);
        assert_eq!(operation_id(&HeaderMap::new()), None);
    }

    #[test]
    fn the_service_s_wish_is_followed_within_bounds() {
        for (wish, expected) in [("30", 30), ("0", 1), ("3600", 30), ("soon", 5)] {
            assert_eq!(wished(&headers(&[("retry-after", wish)])), Duration::from_secs(expected), "{wish}");
        }
        assert_eq!(wished(&HeaderMap::new()), POLL_DEFAULT);
    }

    #[test]
    fn an_unknown_status_is_neither_online_nor_offline() {
        let status = |body: &str| serde_json::from_str::<StatusRow>(body).unwrap().status();
        assert_eq!(status(r#"{"status":"Online"}"#), ConnectionStatus::Online);
        assert!(matches!(status(r#"{"status":"Offline","errors":[]}"#), ConnectionStatus::Offline(_)));
        assert_eq!(status(r#"{"status":"Dreaming"}"#), ConnectionStatus::Other("Dreaming".to_owned()));
    }
}
