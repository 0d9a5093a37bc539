//! Where answers go: stdout has the answer and nothing else, in the format that was asked for; stderr has the talk.

use std::io::{ErrorKind, Write};

use anstream::adapter::strip_str;
use lakekey_core::command::Outcome;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::error::{Error, ExitStatus};
use serde::Serialize;

use crate::args::Output;
use crate::failure::Failure;
use crate::stderr::Stderr;
use crate::text;

/// Writes answers.
pub(crate) struct Printer {
    pub(crate) stdout: Box<dyn Write + Send>,
    pub(crate) stderr: Stderr,
    pub(crate) colour_stdout: bool,
    pub(crate) colour_stderr: bool,
    /// Of the terminal that stdout is; `None` where it is none.
    pub(crate) width: Option<usize>,
}

impl Printer {
    /// Prints the report and says what it means for the exit status.
    pub(crate) fn outcome(&mut self, outcome: &Outcome, output: Output) -> Result<ExitStatus, Error> {
        match (output, outcome) {
            (Output::Csv, Outcome::Discovered(report)) => {
                self.say(&text::warnings(&report.problems));
                self.write(&report.mapping_list())
            }
            // No other command gets as far with `csv`.
            (Output::Text | Output::Csv, _) => self.text(&text::outcome(outcome, self.width)),
            (Output::Json, Outcome::Plan(report)) => self.json(report),
            (Output::Json, Outcome::Moved(report)) => self.json(report),
            (Output::Json, Outcome::Status(report)) => self.json(report),
            (Output::Json, Outcome::Doctor(report)) => self.json(report),
            (Output::Json, Outcome::Discovered(report)) => self.json(report),
            (Output::Json, Outcome::History(report)) => self.json(report),
        }
        .map_err(|error| match outcome {
            // Not a failure before anything changed: targets have moved, only nobody has heard.
            Outcome::Moved(_) => Error::unfinished("stdout-unwritable", "what was done can't be written to standard output")
                .hint("see `lakekey status`")
                .caused_by(error),
            Outcome::Plan(_) | Outcome::Status(_) | Outcome::Doctor(_) | Outcome::Discovered(_) | Outcome::History(_) => error,
        })?;
        Ok(outcome.exit_status())
    }

    /// Prints why there is no report.
    pub(crate) fn failure(&mut self, failure: &Failure, output: Output) -> ExitStatus {
        match output {
            Output::Text | Output::Csv => self.say(&text::failure(failure)),
            // What can't be written is lost; the exit status still tells.
            Output::Json => drop(self.json(&failure.report())),
        }
        failure.exit_status()
    }

    /// One line of JSON on stdout.
    pub(crate) fn json(&mut self, answer: &impl Serialize) -> Result<(), Error> {
        let json = serde_json::to_string(answer).map_err(unwritable)?;
        self.write(&format!("{json}\n"))
    }

    /// Text on stdout.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Error> {
        if self.colour_stdout { self.write(text) } else { self.write(&strip_str(text).to_string()) }
    }

    /// Text on stderr.
    pub(crate) fn say(&self, text: &str) {
        if self.colour_stderr { self.stderr.say(text) } else { self.stderr.say(&strip_str(text).to_string()) }
    }

    /// A reader that has seen enough (`| head`) is no failure.
    fn write(&mut self, text: &str) -> Result<(), Error> {
        match self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(error)),
            _ => Ok(()),
        }
    }
}

/// Whether to colour what goes to a terminal.
pub(crate) fn colour(is_terminal: bool, environment: &Environment) -> bool {
    is_terminal && environment.get("NO_COLOR").is_none() && environment.get("TERM") != Some("dumb")
}

fn unwritable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::failed("stdout-unwritable", "the answer can't be written to standard output").caused_by(source)
}

#[cfg(test)]
mod tests {
    use std::io;

    use lakekey_core::error::ErrorKind as Kind;
    use lakekey_core::report::{MoveReport, StatusReport};

    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(kind: ErrorKind, outcome: &Outcome) -> Result<ExitStatus, Kind> {
        let mut printer = Printer {
            stdout: Box::new(Broken(kind)),
            stderr: Stderr::new(Box::new(io::sink())),
            colour_stdout: false,
            colour_stderr: false,
            width: None,
        };
        printer.outcome(outcome, Output::Json).map_err(|error| error.kind())
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure_but_a_full_disk_is() {
        let status = Outcome::Status(StatusReport::default());
        let moved = Outcome::Moved(MoveReport::default());
        assert_eq!(printed(ErrorKind::BrokenPipe, &status), Ok(ExitStatus::Done));
        assert_eq!(printed(ErrorKind::StorageFull, &status), Err(Kind::Failed));
        assert_eq!(printed(ErrorKind::StorageFull, &moved), Err(Kind::Unfinished));
    }

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let environment = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into_iter().collect::<Environment>();
        assert!(colour(true, &Environment::default()));
        assert!(!colour(false, &Environment::default()));
        assert!(!colour(true, &environment("NO_COLOR", "1")));
        assert!(!colour(true, &environment("TERM", "dumb")));
    }
}
