//! Log lines on stderr. Only lakekey's own crates can be made to say more: libraries below them log frames and headers, and
//! a header may hold a token.

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use crate::args::Format;
use crate::settings::Settings;
use crate::stderr::Stderr;

/// Where log lines go for one run of the program.
pub(crate) fn subscriber(settings: &Settings, stderr: Stderr, colour: bool) -> impl Subscriber + Send + Sync + use<> {
    let level = match settings.verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let targets =
        Targets::new().with_default(LevelFilter::WARN).with_target("lakekey_core", level).with_target("lakekey_cli", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(move || stderr.clone()).with_ansi(colour);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.log_format {
        Format::Text => lines.with_target(settings.verbosity > 1).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    Registry::default().with(lines.with_filter(targets))
}
