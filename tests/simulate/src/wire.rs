//! Carries a process's requests to the simulated cloud, one numbered effect each.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response};
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_sim::{Cloud, Lost};

use crate::broken;
use crate::process::{Process, When, detach, sleep};
use crate::universe::Universe;

/// The transport of one process.
pub struct Wire {
    universe: Arc<Universe>,
    process: Arc<Process>,
}

impl Wire {
    /// The wire between this process and the cloud.
    pub fn new(universe: Arc<Universe>, process: Arc<Process>) -> Self {
        Self { universe, process }
    }
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Bytes>, TransportError> {
        let fate = self.process.begin().await;
        let (universe, process) = (&self.universe, &self.process);
        let line = line(&request);
        universe.watch().request(process, &request, universe.cloud.now());
        let request = broken::request(universe, request);
        if let Some(When::InFlight(ms)) = fate.dies {
            universe.trace(process.runner.as_str(), || format!("#{} {line} in flight, dies", fate.number));
            let late = Arc::clone(universe);
            detach(async move {
                sleep(Duration::from_millis(ms)).await;
                let _ = late.cloud.handle(request).await;
                late.observe();
            });
            process.die().await;
            return Err(TransportError::Timeout(timeout));
        }
        let answer = broken::send(universe, request, timeout, carry).await;
        universe.observe();
        universe.trace(process.runner.as_str(), || format!("#{} {line} -> {}", fate.number, outcome(&answer)));
        universe.ended(process, fate).await;
        answer
    }
}

/// One request there and its answer back.
pub async fn carry(cloud: Cloud, request: Request<Bytes>, timeout: Duration) -> Result<Response<Bytes>, TransportError> {
    match tokio::time::timeout(timeout, cloud.handle(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(lost @ Lost { sent: true })) => Err(TransportError::Ambiguous(lost.into())),
        Ok(Err(lost @ Lost { sent: false })) => Err(TransportError::NotSent(lost.into())),
        Err(_) => Err(TransportError::Timeout(timeout)),
    }
}

/// Whether a request changes something outside: a sign-in, a query and the test of a connection do not.
pub fn changes(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD => false,
        Method::POST => !["/oidc/", "/oauth2/", "/sql/statements", "/testConnection"].iter().any(|asks| path.contains(asks)),
        _ => true,
    }
}

fn line(request: &Request<Bytes>) -> String {
    format!("{} {}{}", request.method(), request.uri().host().unwrap_or_default(), request.uri().path())
}

fn outcome(answer: &Result<Response<Bytes>, TransportError>) -> String {
    match answer {
        Ok(answer) => answer.status().as_u16().to_string(),
        Err(TransportError::NotSent(_)) => "refused".to_owned(),
        Err(TransportError::Ambiguous(_)) => "lost".to_owned(),
        Err(TransportError::Timeout(_)) => "timeout".to_owned(),
        Err(TransportError::TooLarge { .. }) => "too large".to_owned(),
    }
}
