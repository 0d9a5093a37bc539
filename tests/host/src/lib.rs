//! A host of Azure Functions for tests: it reads an app's folder as the real one does, starts the custom handler, waits until it
//! answers, calls it over HTTP in the host's own encoding, judges each answer as the host would, stands in front of it with the
//! host's routes and keys, and ends it with SIGKILL. Written from the source of azure-functions-host, with wire types of its own:
//! nothing here knows how lakekey reads what it is sent.

mod app;
mod front;
mod invoke;
mod payload;
mod process;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

pub use app::{App, Function, Trigger};
pub use front::{Asked, Front};
pub use invoke::{Failure, Invocation};
pub use payload::{Delivery, Payload, Tick};
pub use process::{Line, Stream};

use process::Process;

/// One instance: an app, and its handler while that lives.
pub struct Host {
    app: Arc<App>,
    settings: BTreeMap<String, String>,
    process: Process,
}

impl Host {
    /// Reads the app in `folder` and starts its handler, as on a fresh instance with these settings and nothing else in the
    /// environment.
    pub async fn start(folder: &Path, settings: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let app = App::read(folder, settings).context("the host would not load this app")?;
        let process = Process::start(&app, settings).await?;
        Ok(Self { app: Arc::new(app), settings: settings.clone(), process })
    }

    /// The app.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Everything that handlers of this instance have written, in order.
    pub fn lines(&self) -> Vec<Line> {
        self.process.lines()
    }

    /// How long the handler took from its start to its first answer.
    pub fn ready_after(&self) -> std::time::Duration {
        self.process.ready_after()
    }

    /// The process id of the handler.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Calls a function as its trigger would.
    pub async fn invoke(&self, function: &str, payload: &Payload) -> Invocation {
        match self.app.function(function) {
            Some(function) => invoke::invoke(self.process.port(), function, payload).await,
            None => Invocation::unsent(Failure::NoSuchFunction),
        }
    }

    /// Calls the handler with any body, as nobody but a test does.
    pub async fn invoke_raw(&self, function: &str, body: &[u8]) -> Invocation {
        invoke::send(self.process.port(), function, body).await
    }

    /// The address of the handler itself, which only programs on the same machine can reach.
    pub fn behind(&self) -> std::net::SocketAddr {
        self.process.address()
    }

    /// Stands in front of the handler, where clients are.
    pub async fn front(&self) -> anyhow::Result<Front> {
        Front::open(Arc::clone(&self.app), self.process.address()).await
    }

    /// Waits until the handler ends by itself; what the host makes of that.
    pub async fn ended(&mut self) -> anyhow::Result<String> {
        self.process.ended().await
    }

    /// SIGKILL, whatever is under way; the only way in which the host ever ends a handler.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// Starts the handler anew, as after a crash.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill().await?;
        self.process = self.process.again(&self.app, &self.settings).await?;
        Ok(())
    }
}
