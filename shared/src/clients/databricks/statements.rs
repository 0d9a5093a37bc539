//! Running a statement on a SQL warehouse, which starts it when it is stopped.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Databricks, segment};
use crate::http::problem::ServiceProblem;
use crate::http::transport::TransportError;
use crate::http::{Effect, Failure, HttpError, json};
use crate::ids::WarehouseId;

const PATH: &str = "/api/2.0/sql/statements";
const WHAT: &str = "run a statement on the SQL warehouse";
/// How long the first call waits for the result: the least the service takes, well inside any request timeout.
const WAIT: &str = "5s";
/// How long a statement may take in all: a classic warehouse needs minutes to start.
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// Between two looks at a running statement.
const POLL_FIRST: Duration = Duration::from_secs(1);
const POLL_MAX: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct RunWire<'a> {
    warehouse_id: &'a str,
    statement: &'a str,
    wait_timeout: &'static str,
    on_wait_timeout: &'static str,
    disposition: &'static str,
    format: &'static str,
}

#[derive(Deserialize)]
struct StatementWire {
    statement_id: String,
    status: StatusWire,
    result: Option<ResultWire>,
}

#[derive(Deserialize)]
struct StatusWire {
    state: String,
    error: Option<ErrorWire>,
}

#[derive(Deserialize)]
struct ErrorWire {
    error_code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct ResultWire {
    #[serde(default)]
    data_array: Vec<Vec<Option<String>>>,
}

impl Databricks {
    /// Runs a statement that reads, and gives the rows of its first chunk: text or null. The service answers 200 even when the
    /// statement fails; that comes back as an [`HttpError`] with the statement's own error code. Running it twice is harmless.
    pub async fn run_statement(&self, warehouse: &WarehouseId, sql: &str) -> Result<Vec<Vec<Option<String>>>, HttpError> {
        let body = RunWire {
            warehouse_id: warehouse.as_str(),
            statement: sql,
            wait_timeout: WAIT,
            on_wait_timeout: "CONTINUE",
            disposition: "INLINE",
            format: "JSON_ARRAY",
        };
        let clock = self.http.clock();
        let budget = SignedDuration::try_from(STATEMENT_TIME_MAX).unwrap_or(SignedDuration::MAX);
        let give_up_at = clock.now().saturating_add(budget).unwrap_or(Timestamp::MAX);
        let request = json::request_with(Method::POST, &self.url(PATH), &body);
        let answer = self.send(WHAT, request, Effect::Repeatable, None).await?;
        let mut statement: StatementWire = json::read(WHAT, &self.target(&Method::POST, PATH), &answer)?;
        let path = format!("{PATH}/{}", segment(&statement.statement_id));
        let mut pause = POLL_FIRST;
        while is_running(&statement.status.state) {
            if clock.now() >= give_up_at {
                return Err(self.abandon(&path).await);
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
            statement = self.get(WHAT, &path).await?;
        }
        if statement.status.state == "SUCCEEDED" {
            return Ok(statement.result.map(|result| result.data_array).unwrap_or_default());
        }
        Err(self.refused(&path, &statement.status))
    }

    /// Not looking any more does not stop a statement. The cancellation may fail; then it ends by itself.
    async fn abandon(&self, path: &str) -> HttpError {
        let request = json::request(Method::POST, &self.url(&format!("{path}/cancel")));
        if let Err(error) = self.send("cancel a statement", request, Effect::Repeatable, None).await {
            tracing::debug!(error = %error, "the statement could not be cancelled");
        }
        let failure = Failure::Ambiguous(Some(TransportError::Timeout(STATEMENT_TIME_MAX)));
        HttpError { failure, ..HttpError::unusable(WHAT, &self.target(&Method::GET, path), "") }
    }

    fn refused(&self, path: &str, status: &StatusWire) -> HttpError {
        let error = status.error.as_ref();
        let code = error.and_then(|error| error.error_code.as_deref()).unwrap_or(&status.state);
        let message = error.and_then(|error| error.message.as_deref()).unwrap_or("the statement did not succeed");
        let problem = ServiceProblem::new(code, message);
        let failure = Failure::Answer { status: StatusCode::OK, problem, retry_after: None };
        HttpError { failure, ..HttpError::unusable(WHAT, &self.target(&Method::GET, path), "") }
    }
}

fn is_running(state: &str) -> bool {
    matches!(state, "PENDING" | "RUNNING")
}
