//! A strict fake of what Lambda is to a custom runtime: the Runtime API on a loopback port, and the life of the process behind
//! it. It has wire types of its own and believes nothing: each event gets exactly one answer, under its own id, before the
//! next one is asked for; a process that asks for the next event is frozen until there is one.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
#![expect(clippy::disallowed_methods, reason = "the platform is beside the function, and ends with its handle")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Segment, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lakekey_core::clock::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::outside::Outside;

/// After which a test gives up on the process.
const PATIENCE: Duration = Duration::from_secs(60);
/// Synchronous answers are no larger.
const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024;

/// What the function answered: a payload, or `errorType` and `errorMessage`.
pub type Answer = Result<Value, (String, String)>;

/// One event on its way.
struct Invocation {
    id: String,
    event: String,
    deadline_ms: u64,
    answer: oneshot::Sender<Answer>,
}

/// What has been seen of the process.
#[derive(Default)]
struct Seen {
    /// The event that it works on.
    under_way: Option<(String, oneshot::Sender<Answer>)>,
    /// What it did that no runtime may do.
    offences: Vec<String>,
    lines: Vec<String>,
}

#[derive(Clone)]
struct Service {
    seen: Arc<Mutex<Seen>>,
    events: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>>,
    /// Told when the process has asked for an event that is not there yet.
    idle: Arc<Notify>,
}

/// A function as deployed, with at most one process.
pub struct Lambda {
    seen: Arc<Mutex<Seen>>,
    events: mpsc::UnboundedSender<Invocation>,
    idle: Arc<Notify>,
    process: Child,
    server: JoinHandle<()>,
    reader: JoinHandle<()>,
    outside: Outside,
    asked: u32,
    clock: Clock,
}

impl Lambda {
    /// Starts the function `program` in `folder`, with these variables besides the platform's own.
    pub async fn start(program: &Path, folder: &Path, variables: &[(String, String)]) -> anyhow::Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let seen = Arc::<Mutex<Seen>>::default();
        let idle = Arc::new(Notify::new());
        let service = Service { seen: Arc::clone(&seen), events: Arc::new(receiver.into()), idle: Arc::clone(&idle) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move { drop(axum::serve(listener, router(service)).await) });
        let outside = Outside::watched().await?;
        let mut process = Command::new(program)
            .current_dir(folder)
            .env_clear()
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", address.to_string().as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", "lakekey"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/lakekey"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "1"),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_REGION", "eu-central-1"),
            ])
            .envs(outside.environment())
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} can't be started", program.display()))?;
        let stdout = process.stdout.take().context("its stdout is a pipe")?;
        let lines = Arc::clone(&seen);
        let reader = tokio::spawn(async move {
            let mut reader = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = reader.next_line().await {
                held(&lines).lines.push(line);
            }
        });
        Ok(Self { seen, events: sender, idle, process, server, reader, outside, asked: 0, clock: Clock::wall() })
    }

    /// Sends an event and waits for its answer, which the function has ten minutes for.
    pub async fn invoke(&mut self, event: &Value) -> Answer {
        self.invoke_within(event, Duration::from_secs(600)).await
    }

    /// As [`invoke`](Self::invoke), with so much time.
    pub async fn invoke_within(&mut self, event: &Value, time: Duration) -> Answer {
        let ends = self.clock.now().as_millisecond().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        self.invoke_raw(event.to_string(), u64::try_from(ends).unwrap_or_default()).await
    }

    /// Any text for an event, and any deadline.
    pub async fn invoke_raw(&mut self, event: String, deadline_ms: u64) -> Answer {
        let sent = self.send(event, deadline_ms);
        tokio::time::timeout(PATIENCE, sent).await.expect("an answer in time").expect("the process answers")
    }

    fn send(&mut self, event: String, deadline_ms: u64) -> oneshot::Receiver<Answer> {
        self.asked += 1;
        let id = format!("8476a536-e9f4-11e8-9739-{:012}", self.asked);
        let (answer, sent) = oneshot::channel();
        self.events.send(Invocation { id, event, deadline_ms, answer }).unwrap_or_else(|_| panic!("the platform has ended"));
        sent
    }

    /// Waits until the process has asked for an event that is not there.
    pub async fn idle(&self) {
        tokio::time::timeout(PATIENCE, self.idle.notified()).await.expect("the process asks for the next event");
    }

    /// Stops the process where it is, as the platform does between two events, for as long as `meanwhile` takes.
    pub async fn frozen(&self, meanwhile: impl Future<Output = ()>) {
        self.signal("STOP").await;
        meanwhile.await;
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let id = self.process.id().expect("the process runs").to_string();
        let line = format!("kill -{name} \"$0\"");
        let status = Command::new("sh").args(["-c", &line, &id]).status().await.expect("there is a shell");
        assert!(status.success(), "SIG{name}");
    }

    /// SIGKILL, as when the platform takes a sandbox away in the midst of an event.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }

    /// Waits for the process's own end.
    pub async fn ended(mut self) -> anyhow::Result<(i32, Vec<Value>)> {
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await.context("the process ends in time")??;
        tokio::time::timeout(PATIENCE, &mut self.reader).await.context("its stdout ends too")??;
        Ok((status.code().context("somebody killed it")?, self.lines()))
    }

    /// The most memory that the process has had resident, in MiB, as Linux counts it.
    pub fn peak_mib(&self) -> anyhow::Result<f64> {
        let id = self.process.id().context("the process has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("memory is measured on Linux only")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel does not tell peaks")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1_024.0)
    }

    /// Every line of stdout so far; each is a JSON object.
    pub fn lines(&self) -> Vec<Value> {
        let seen = held(&self.seen);
        seen.lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// All of stdout as text.
    pub fn said(&self) -> String {
        held(&self.seen).lines.join("\n")
    }

    /// Whom the process wanted to speak to outside of this machine.
    pub fn reached_for(&self) -> Vec<String> {
        self.outside.reached_for()
    }

    /// The process did nothing that no runtime may do, and spoke to nobody outside of this machine.
    pub fn assert_proper(&self) {
        assert_eq!(held(&self.seen).offences, Vec::<String>::new());
        assert_eq!(self.reached_for(), Vec::<String>::new());
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.server.abort();
        self.reader.abort();
    }
}

fn held(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn router(service: Service) -> Router {
    const VERSION: &str = "/2018-06-01/runtime";
    Router::new()
        .route(&format!("{VERSION}/invocation/next"), get(next))
        .route(&format!("{VERSION}/invocation/{{id}}/response"), post(response))
        .route(&format!("{VERSION}/invocation/{{id}}/error"), post(error))
        .fallback(other)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(service)
}

impl Service {
    fn offends(&self, what: impl Into<String>) -> Response {
        let what = what.into();
        held(&self.seen).offences.push(what.clone());
        let body = json!({ "errorType": "InvalidStateTransition", "errorMessage": what });
        (StatusCode::FORBIDDEN, body.to_string()).into_response()
    }

    fn answered(&self, id: &str, answer: Answer) -> Response {
        let under_way = held(&self.seen).under_way.take();
        match under_way {
            Some((wanted, sender)) if wanted == id => {
                let _ = sender.send(answer);
                (StatusCode::ACCEPTED, json!({ "status": "OK" }).to_string()).into_response()
            }
            Some((wanted, _)) => self.offends(format!("an answer for {id} while {wanted} was under way")),
            None => self.offends(format!("an answer for {id} while nothing was under way")),
        }
    }
}

async fn next(State(service): State<Service>) -> Response {
    if held(&service.seen).under_way.is_some() {
        return service.offends("the next event was asked for before the last one was answered");
    }
    service.idle.notify_one();
    let Some(Invocation { id, event, deadline_ms, answer }) = service.events.lock().await.recv().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    held(&service.seen).under_way = Some((id.clone(), answer));
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", id),
        ("Lambda-Runtime-Deadline-Ms", deadline_ms.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:lakekey".to_owned()),
        ("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1".to_owned()),
        ("Content-Type", "application/json".to_owned()),
    ];
    (headers, event).into_response()
}

async fn response(State(service): State<Service>, Segment(id): Segment<String>, body: Bytes) -> Response {
    if body.len() > ANSWER_BYTES_MAX {
        return (StatusCode::PAYLOAD_TOO_LARGE, "{}").into_response();
    }
    match serde_json::from_slice(&body) {
        Ok(answer) => service.answered(&id, Ok(answer)),
        Err(_) => service.offends("an answer that is not JSON"),
    }
}

async fn error(State(service): State<Service>, Segment(id): Segment<String>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (Some(kind), Some(message)) = (body["errorType"].as_str(), body["errorMessage"].as_str()) else {
        return service.offends("an error without type and message");
    };
    if !headers.contains_key("lambda-runtime-function-error-type") {
        return service.offends("an error without its header");
    }
    service.answered(&id, Err((kind.to_owned(), message.to_owned())))
}

async fn other(State(service): State<Service>, request: axum::extract::Request) -> Response {
    service.offends(format!("{} {}", request.method(), request.uri()))
}
