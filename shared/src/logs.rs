//! Log lines for programs: one flat JSON object a line, with `timestamp`, `level`, `message`, the event's own fields and those of
//! the spans around it, so that whatever names an invocation is found in every line of it.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;

/// Only lakekey's own crates can be made to say more than warnings: libraries below them log frames and headers, and a header
/// may hold a token.
pub fn filter(level: LevelFilter) -> Targets {
    let own = ["lakekey", "lakekey_core", "lakekey_cli", "lakekey_azure", "lakekey_aws", "bootstrap"];
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(own.map(|crate_name| (crate_name, level)))
}

/// Writes each event as one line of JSON.
pub struct JsonLines<W> {
    writer: Mutex<W>,
    clock: Clock,
    constants: Map<String, Value>,
}

impl<W: Write + Send + 'static> JsonLines<W> {
    /// Lines for `writer`, each in one write.
    pub fn new(writer: W, clock: Clock) -> Self {
        Self { writer: Mutex::new(writer), clock, constants: Map::new() }
    }

    /// With a field that every line has.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.constants.insert(name.to_owned(), value.into());
        self
    }
}

/// What a span adds to the lines inside it.
struct Fields(Map<String, Value>);

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: Write + Send + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields(Map::new());
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = self.constants.clone();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(Fields(fields)) = span.extensions().get::<Fields>() {
                line.extend(fields.clone());
            }
        }
        let mut fields = Fields(line);
        event.record(&mut fields);
        let Fields(mut line) = fields;
        // Last, so that no field of a span or an event takes their place.
        line.insert("timestamp".to_owned(), format!("{:.3}", self.clock.now()).into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that can't be written has nowhere to be told.
        let _ = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry::Registry;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(level: LevelFilter, log: impl FnOnce()) -> Vec<Value> {
        let buffer = Buffer::default();
        let lines = JsonLines::new(buffer.clone(), Clock::wall()).with("service", "lakekey");
        tracing::subscriber::with_default(Registry::default().with(lines.with_filter(filter(level))), log);
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_its_own_fields_and_those_of_the_spans_around_it() {
        let lines = lines(LevelFilter::INFO, || {
            let outer = tracing::info_span!(target: "lakekey_azure", "invocation", invocation_id = "i-1", seconds = tracing::field::Empty);
            outer.record("seconds", 3_u64);
            let _outer = outer.entered();
            let _inner = tracing::info_span!(target: "lakekey_core", "credential", credential = "sales-bi").entered();
            tracing::info!(target: "lakekey_core", level = "faked", epoch = 7_u64, "took the \"lease\"\nand went on");
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{line}");
        let shown =
            ["service", "level", "message", "invocation_id", "seconds", "credential", "epoch"].map(|name| line[name].clone());
        let expected: [Value; 7] = [
            "lakekey".into(),
            "INFO".into(),
            "took the \"lease\"\nand went on".into(),
            "i-1".into(),
            3.into(),
            "sales-bi".into(),
            7.into(),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn only_lakekey_can_be_made_to_say_more() {
        let say = || {
            tracing::warn!(target: "lakekey_core::http", "slow");
            tracing::info!(target: "lakekey_core::rotation", credential = "sales-bi", "minted");
            tracing::debug!(target: "lakekey_azure", "sent");
            tracing::trace!(target: "h2::codec", "authorization: Bearer x");
            tracing::warn!(target: "h2::codec", "broken");
        };
        let count = |level| lines(level, say).len();
        let levels = [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE];
        assert_eq!(levels.map(count), [0, 2, 3, 4, 4]);
    }
}
