//! Where answers go: stdout has the answer and nothing else, in the format that was asked for; stderr has the talk.

use std::io::{ErrorKind, Write};

use anstream::adapter::strip_str;
use lakekey_core::command::Outcome;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::error::{Error, ExitStatus};
use serde::Serialize;

use crate::args::Format;
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
    pub(crate) fn outcome(&mut self, outcome: &Outcome, output: Format) -> Result<ExitStatus, Error> {
        match (output, outcome) {
            (Format::Text, _) => self.text(&text::outcome(outcome, self.width))?,
            (Format::Json, Outcome::Plan(report)) => self.json(report)?,
            (Format::Json, Outcome::Moved(report)) => self.json(report)?,
            (Format::Json, Outcome::Status(report)) => self.json(report)?,
            (Format::Json, Outcome::History(report)) => self.json(report)?,
        }
        Ok(outcome.exit_status())
    }

    /// Prints why there is no report.
    pub(crate) fn failure(&mut self, failure: &Failure, output: Format) -> ExitStatus {
        match output {
            Format::Text => self.say(&text::failure(failure)),
            // What can't be written is lost; the exit status still tells.
            Format::Json => drop(self.json(&failure.report())),
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
    Error::failed("stdout-unwritable", "the answer can't be written to standard output")
        .hint("what was done is done: see `lakekey status`")
        .caused_by(source)
}
