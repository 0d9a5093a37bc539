//! The handler's process: started with the variables of the host, polled until it answers anything at all, and killed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use http::{Method, Request};
use lakekey_core::clock::Clock;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::app::App;
use crate::wire;

/// One line that a handler has written.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where.
    pub stream: Stream,
    /// Without its end.
    pub text: String,
}

/// Where a line was written. The host takes those of stdout for information and those of stderr for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

pub(crate) struct Process {
    child: Child,
    port: u16,
    ready_after: Duration,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Process {
    pub(crate) async fn start(app: &App, settings: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        Self::begin(app, settings, Arc::default()).await
    }

    /// Another one, whose lines follow those of this one.
    pub(crate) async fn again(&self, app: &App, settings: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        Self::begin(app, settings, Arc::clone(&self.lines)).await
    }

    async fn begin(app: &App, settings: &BTreeMap<String, String>, lines: Arc<Mutex<Vec<Line>>>) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let worker = uuid::Uuid::new_v4().to_string();
        let own = [
            ("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string()),
            ("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", worker.clone()),
            ("FUNCTIONS_HTTPWORKER_PORT", port.to_string()),
            ("FUNCTIONS_HTTPWORKER_ID", worker),
            ("FUNCTIONS_APP_ROOT_PATH", app.folder.display().to_string()),
        ];
        let clock = Clock::wall();
        let begun = clock.now();
        let mut child = Command::new(&app.executable)
            .current_dir(&app.working_directory)
            .env_clear()
            .envs(settings)
            .envs(own)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} can't be started", app.executable.display()))?;
        listen(child.stdout.take().context("no stdout")?, Stream::Stdout, &lines);
        listen(child.stderr.take().context("no stderr")?, Stream::Stderr, &lines);
        let mut process = Self { child, port, ready_after: Duration::ZERO, lines };
        process.wait_until_ready(&clock).await?;
        process.ready_after = clock.now().duration_since(begun).try_into().unwrap_or_default();
        Ok(process)
    }

    /// `GET /` every 25 ms until there is any answer.
    async fn wait_until_ready(&mut self, clock: &Clock) -> anyhow::Result<()> {
        for _ in 0..READY_MAX.as_millis() / POLL.as_millis() {
            let request = Request::builder().method(Method::GET).uri("/").header("host", self.address().to_string());
            if wire::send(self.address(), request.body(axum::body::Body::empty())?).await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!(self.said_at_its_end(status).await);
            }
            clock.sleep(POLL).await;
        }
        anyhow::bail!("the handler has not answered within {} seconds", READY_MAX.as_secs())
    }

    /// Waits until it ends by itself; what the host makes of that.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<String> {
        let ended = tokio::time::timeout(READY_MAX, self.child.wait()).await;
        let status = ended.context("the handler has not ended")??;
        Ok(self.said_at_its_end(status).await)
    }

    async fn said_at_its_end(&self, status: ExitStatus) -> String {
        // What it has written last may still be under way.
        Clock::wall().sleep(Duration::from_millis(100)).await;
        let said: Vec<String> = self.lines().into_iter().map(|line| line.text).collect();
        // The host starts it again, unless it has ended with 0: then never.
        let fate = if status.success() { "and is never started again" } else { "and would be started again" };
        format!("the handler has ended with {status} {fate}:\n{}", said.join("\n"))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the handler can't be killed")
    }
}

#[expect(clippy::disallowed_methods, reason = "the host reads what its handler writes for as long as that lives")]
fn listen(stream: impl AsyncRead + Send + Unpin + 'static, name: Stream, lines: &Arc<Mutex<Vec<Line>>>) {
    let lines = Arc::clone(lines);
    tokio::spawn(async move {
        let mut read = BufReader::new(stream).lines();
        while let Ok(Some(text)) = read.next_line().await {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(Line { stream: name, text });
        }
    });
}

const POLL: Duration = Duration::from_millis(25);
/// The host's `initializationTimeout`.
const READY_MAX: Duration = Duration::from_secs(30);
