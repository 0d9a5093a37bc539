//! Hears everything that is logged while a plan runs, at the most verbose level, and looks for secret values in it.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Metadata, Subscriber};

use crate::universe::held;
use crate::watch::shows_value;

/// What was heard so far; clones hear the same.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    lines: u64,
    telling: Option<String>,
}

impl Logs {
    /// Listens to this thread until the guard is dropped.
    pub fn listen(&self) -> DefaultGuard {
        set_default(Listener(self.clone()))
    }

    /// How many lines were heard since the last question, and the first that showed a value.
    pub fn take(&self) -> (u64, Option<String>) {
        let heard = std::mem::take(&mut *held(&self.0));
        (heard.lines, heard.telling)
    }

    fn hear(&self, text: &Text) {
        let mut heard = held(&self.0);
        heard.lines += 1;
        if heard.telling.is_none() && shows_value(text.0.as_bytes()) {
            heard.telling = Some(text.0.clone());
        }
    }
}

struct Listener(Logs);

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text::default();
        span.record(&mut text);
        self.0.hear(&text);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut text = Text::default();
        values.record(&mut text);
        self.0.hear(&text);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.hear(&text);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A line as it would be written, fields and all.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, "{}={value} ", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}
