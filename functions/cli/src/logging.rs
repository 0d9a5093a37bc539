//! Log lines on stderr, for people or as JSON.

use lakekey_core::clock::Clock;
use lakekey_core::logs::{JsonLines, filter};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use crate::args::Format;
use crate::settings::Settings;
use crate::stderr::Stderr;

/// Where log lines go for one run of the program.
pub(crate) fn subscriber(
    settings: &Settings,
    stderr: Stderr,
    colour: bool,
    clock: &Clock,
) -> impl Subscriber + Send + Sync + use<> {
    let level = match settings.verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.log_format {
        Format::Text => {
            let lines = tracing_subscriber::fmt::layer().with_writer(move || stderr.clone()).with_ansi(colour);
            lines.with_target(settings.verbosity > 1).boxed()
        }
        Format::Json => JsonLines::new(stderr, clock.clone()).boxed(),
    };
    Registry::default().with(lines.with_filter(filter(level)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no writer panics").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(verbosity: u8, log_format: Format) -> String {
        let buffer = Buffer::default();
        let settings = Settings { config: None, output: Format::Text, log_format, verbosity };
        let subscriber = subscriber(&settings, Stderr::new(Box::new(buffer.clone())), false, &Clock::wall());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "lakekey_core::http", "slow");
            tracing::info!(target: "lakekey_core::rotation", credential = "sales-bi", "minted");
            tracing::debug!(target: "lakekey_core::http", "sent");
            tracing::trace!(target: "h2::codec", "authorization: Bearer x");
        });
        String::from_utf8(buffer.0.lock().expect("no writer panics").clone()).expect("text")
    }

    #[test]
    fn only_lakekey_can_be_made_to_say_more() {
        let lines = |verbosity| logged(verbosity, Format::Text).lines().count();
        assert_eq!([lines(0), lines(1), lines(2), lines(3)], [1, 2, 3, 3]);
        assert!(!logged(3, Format::Text).contains("Bearer"));
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top() {
        let text = logged(1, Format::Json);
        let line = text.lines().last().expect("a line");
        let json: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(
            (&json["message"], &json["credential"], &json["level"]),
            (&"minted".into(), &"sales-bi".into(), &"INFO".into())
        );
    }
}
