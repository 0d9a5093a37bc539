//! A person at a terminal: questions go to stderr, so that stdout has the answer of the command alone.

use std::io::BufRead;
use std::sync::{Arc, Mutex, PoisonError};

use lakekey_core::error::Error;

use crate::printer::Printer;

/// Answers questions. Clones are the same person.
#[derive(Clone)]
pub(crate) struct Person(Arc<Mutex<Box<dyn BufRead + Send>>>);

impl Person {
    pub(crate) fn new(answers: Box<dyn BufRead + Send>) -> Self {
        Self(Arc::new(Mutex::new(answers)))
    }

    /// What is answered; `None` for an empty line. On a thread of its own, so that Ctrl-C is heard meanwhile.
    pub(crate) async fn ask(&self, printer: &Printer, question: &str, default: Option<&str>) -> Result<Option<String>, Error> {
        printer.say(&match default {
            Some(default) => format!("{question} [{default}]: "),
            None => format!("{question}: "),
        });
        let answers = Arc::clone(&self.0);
        let read = move || {
            let mut line = String::new();
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            let mut bounded = std::io::Read::take(&mut **answers, ANSWER_BYTES_MAX);
            bounded.read_line(&mut line).map(|bytes| (bytes, line))
        };
        let gone = || {
            Error::usage("no-answer-given", "the answers ended before the questions").hint("answer every question, or use flags")
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok((bytes, line))) if bytes > 0 => Ok(Some(line.trim().to_owned()).filter(|line| !line.is_empty())),
            Ok(Ok(_)) => Err(gone()),
            Ok(Err(error)) => Err(gone().caused_by(error)),
            Err(error) => Err(gone().caused_by(error)),
        }
    }

    /// Whether the answer is yes; an empty one is `default`.
    pub(crate) async fn confirms(&self, printer: &Printer, question: &str, default: bool) -> Result<bool, Error> {
        let shown = if default { "Y/n" } else { "y/N" };
        let answer = self.ask(printer, question, Some(shown)).await?;
        Ok(answer.map_or(default, |answer| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")))
    }
}

const ANSWER_BYTES_MAX: u64 = 4096;
