//! lakekey as a custom handler of Azure Functions: an HTTP server on loopback that the Functions host starts, polls, calls and
//! kills. It only translates: an invocation into a call of the core, what came of it into the host's form.
//!
//! Nothing here outlives its invocation, and SIGKILL at any moment loses nothing: the journal is the only memory.

mod answer;
mod doors;
mod envelope;
mod event;
mod fatal;
mod functions;
mod settings;

use std::convert::Infallible;
use std::future::IntoFuture;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lakekey_core::api::Api;
use lakekey_core::app::{App, Surroundings};
use lakekey_core::clock::Clock;
use lakekey_core::config::ConfigSource;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::error::Error;
use lakekey_core::http::reqwest_transport::ReqwestTransport;
use lakekey_core::http::transport::Transport;
use lakekey_core::logs::{JsonLines, filter};
use lakekey_core::random::Random;
use lakekey_core::rotation::next::next;
use lakekey_core::runner;
use lakekey_core::storage::{Places, load_config};
use lakekey_core::work::{Message, WorkQueue};
use tokio::net::TcpListener;
use tracing::{error, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use doors::{Doors, Inside, LazyApi};
pub use fatal::Fatal;
use functions::Functions;

/// Sends log lines to stdout, where the host reads them. A panic is one of them, without its text, which may quote anything.
pub fn log_to_stdout(environment: &Environment, clock: &Clock) {
    let lines = JsonLines::new(std::io::stdout(), clock.clone()).with_filter(filter(settings::level(environment)));
    let _ = tracing::subscriber::set_global_default(Registry::default().with(lines));
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "a defect of lakekey; every target still holds a live secret; please report it");
    }));
}

/// Serves the host until it kills this process. It is answered at once that the process is there, whatever the config still has
/// to be read from; what it calls waits until that has been done.
pub async fn run(environment: Environment, current_dir: &Path, clock: Clock) -> Result<Infallible, Fatal> {
    let address = settings::address(&environment)?;
    let listener = TcpListener::bind(address).await.map_err(|error| settings::unusable(address, error))?;
    let doors = Arc::new(Doors::default());
    let served = axum::serve(listener, doors::router(Arc::clone(&doors))).into_future();
    let opened = async {
        // Its first question is answered first, for this thread does nothing else while it reads the config.
        let _ = tokio::time::timeout(HOST_ASKS_EVERY, doors.knocked()).await;
        info!(version = env!("CARGO_PKG_VERSION"), "listening on {address}");
        doors.open(inside(environment, current_dir, clock).await?);
        Ok(std::future::pending().await)
    };
    tokio::select! {
        ended = served => Err(settings::unusable(address, ended.err().unwrap_or_else(|| std::io::ErrorKind::NotConnected.into())).into()),
        failed = opened => failed,
    }
}

/// Everything that calls need: the config first of all.
async fn inside(environment: Environment, current_dir: &Path, clock: Clock) -> Result<Inside, Fatal> {
    let transport: Arc<dyn Transport> = Arc::new(ReqwestTransport::new(&environment)?);
    let config = Box::pin(load_config(&ConfigSource::Environment, &environment, current_dir, &transport, &clock)).await?;
    config.check_for_functions()?;
    let random = Random::system();
    let surroundings = Surroundings {
        storage: Arc::new(Places::new(&config, &environment, &transport, &clock)?),
        transport,
        runner: runner::id(&environment, &random),
        clock,
        random,
        environment,
        decide: next,
        sign_ins: None,
    };
    let app = Arc::new(App::new(config, surroundings)?);
    let queue = match app.storage_queue() {
        // Without it all that is left, and what is asked of the API, waits for the timer: late, and nothing worse.
        Err(error) if error.code() == "queue-unknown" => {
            warn!(code = error.code(), hint = error.problem().hint, "{error}: what is left waits for the timer");
            Arc::new(Unqueued)
        }
        found => found?,
    };
    let functions = Functions::new(Arc::clone(&app), Arc::clone(&queue));
    Ok(Inside { functions, api: LazyApi::new(Box::new(move || Api::new(app, queue).router())) })
}

/// How often the host asks whether the process is there.
const HOST_ASKS_EVERY: Duration = Duration::from_millis(25);

/// There is no queue.
struct Unqueued;

#[async_trait]
impl WorkQueue for Unqueued {
    async fn send(&self, _: &Message, _: Duration) -> Result<(), Error> {
        Err(Error::failed("queue-unknown", "there is no work queue"))
    }
}
