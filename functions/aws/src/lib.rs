//! The Lambda function of lakekey as a library: the binary and the tests give the very same events to [`Function`]. It only
//! translates: an event into one call of the core, an outcome into the trigger's answer.
//!
//! Nothing here outlives its invocation: between two of them the process is frozen, and may never thaw. The journal is the
//! only memory.

mod event;
mod failure;
mod function;
mod invocation;
mod metrics;
mod queue;
mod triggers;
mod unusable;

use std::io::Write;
use std::sync::Arc;

use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::logs::{JsonLines, filter};
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use serde_json::Value;
use tracing::error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

pub use failure::error_type;
pub use function::{Function, FunctionSurroundings};
pub use unusable::Unusable;

/// Takes events from the platform until it ends this process.
pub async fn serve(function: Function) -> Result<(), lambda_runtime::Error> {
    let function = Arc::new(function);
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let function = Arc::clone(&function);
        async move { function.answer(event.payload, &event.context).await.map_err(|error| failure::diagnostic(&error)) }
    });
    Runtime::new(handler).run().await
}

/// Sends log lines to `stdout`, where the platform reads them. A panic is one of them, without its text, which may quote
/// anything.
pub fn log(stdout: impl Write + Send + 'static, environment: &Environment, clock: &Clock) {
    let service = environment.get(function::SERVICE).unwrap_or(function::SERVICE_DEFAULT);
    let lines = JsonLines::new(stdout, clock.clone()).with("service", service).with_filter(filter(level(environment)));
    let _ = tracing::subscriber::set_global_default(Registry::default().with(lines));
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "a defect of lakekey; every target still holds a live secret; please report it");
    }));
}

/// What the platform must have set; a word missing is a process started by something else.
pub fn missing_variable(environment: &Environment) -> Option<&'static str> {
    REQUIRED.into_iter().find(|name| environment.get(name).is_none())
}

/// The level that Lambda's own logging controls give, else that of Powertools.
fn level(environment: &Environment) -> LevelFilter {
    let word = LEVELS.into_iter().find_map(|name| environment.get(name)).unwrap_or_default();
    match word.to_ascii_uppercase().as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" | "WARNING" => LevelFilter::WARN,
        "ERROR" | "FATAL" | "CRITICAL" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

const LEVELS: [&str; 2] = ["AWS_LAMBDA_LOG_LEVEL", "POWERTOOLS_LOG_LEVEL"];
const REQUIRED: [&str; 4] =
    ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"];
