//! How far the work is: bars on a terminal, plain lines elsewhere, nothing where a program reads the answer.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lakekey_core::command::{Progress, ProgressEvent};
use lakekey_core::ids::CredentialName;

use crate::stderr::Stderr;
use crate::text::printable;

/// Shows progress events.
pub(crate) enum Display {
    /// One bar for each credential.
    Bars { bars: MultiProgress, by_name: BTreeMap<CredentialName, ProgressBar>, stderr: Stderr },
    /// One line for each event.
    Lines(Stderr),
    /// Nothing.
    Silent,
}

impl Display {
    /// Bars on the process's own stderr, which must be a terminal; `stderr` writes around them.
    pub(crate) fn bars(stderr: Stderr) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        stderr.set_bars(Some(bars.clone()));
        Self::Bars { bars, by_name: BTreeMap::new(), stderr }
    }

    fn show(&mut self, event: &ProgressEvent) {
        match self {
            Self::Bars { bars, by_name, .. } => {
                let bar = by_name.entry(event.credential.clone()).or_insert_with(|| new_bar(bars, &event.credential));
                if event.total > 0 {
                    bar.set_style(style(BAR));
                    bar.set_length(u64::try_from(event.total).unwrap_or(u64::MAX));
                    bar.set_position(u64::try_from(event.done).unwrap_or(u64::MAX));
                } else {
                    bar.set_style(style(SPINNER));
                }
                bar.set_message(printable(&event.step));
            }
            Self::Lines(stderr) => stderr.say(&line(event)),
            Self::Silent => {}
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Self::Bars { bars, stderr, .. } = self {
            let _ = bars.clear();
            stderr.set_bars(None);
        }
    }
}

/// Runs `work` and shows what it says until it ends.
pub(crate) async fn shown<T>(mut display: Display, work: impl AsyncFnOnce(&Progress) -> T) -> T {
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let progress = Progress::to(sender);
    let mut work = pin!(work(&progress));
    let result = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => display.show(&event),
            result = &mut work => break result,
        }
    };
    while let Ok(event) = events.try_recv() {
        display.show(&event);
    }
    result
}

fn line(event: &ProgressEvent) -> String {
    let (name, step) = (printable(event.credential.as_str()), printable(&event.step));
    match event.total {
        0 => format!("{name}: {step}\n"),
        total => format!("{name}: {step} ({}/{total})\n", event.done),
    }
}

fn new_bar(bars: &MultiProgress, name: &CredentialName) -> ProgressBar {
    let bar = bars.add(ProgressBar::no_length());
    bar.set_prefix(printable(name.as_str()));
    bar.enable_steady_tick(TICK);
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

const BAR: &str = "{prefix} [{bar:24}] {pos}/{len} {wide_msg}";
const SPINNER: &str = "{prefix} {spinner} {wide_msg}";
const TICK: Duration = Duration::from_millis(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_only_what_can_be_counted() {
        let event = |done, total| ProgressEvent {
            credential: CredentialName::new("sales-bi"),
            step: "updated `Sales\u{1b}[2J`".to_owned(),
            done,
            total,
        };
        assert_eq!(line(&event(2, 7)), "sales-bi: updated `Sales\\u{1b}[2J` (2/7)\n");
        assert_eq!(line(&event(0, 0)), "sales-bi: updated `Sales\\u{1b}[2J`\n");
    }
}
