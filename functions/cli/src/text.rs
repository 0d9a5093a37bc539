//! Reports as text for people. Nothing here writes: each function gives a whole text, coloured throughout, and the printer
//! takes the colours out where they are not wanted. Every word that came from outside passes [`printable`] first, so that no
//! dataset can be named so as to drive a terminal.

mod discover;
mod doctor;
mod failure;
mod history;
mod movement;
mod plan;
mod status;
mod table;

use std::fmt::Write;

use jiff::Timestamp;
use lakekey_core::command::Outcome;
use lakekey_core::error::Problem;
use lakekey_core::report::Phase;
use owo_colors::OwoColorize;

pub(crate) use failure::failure;

/// The answer of a command. `width` is that of the terminal, where there is one.
pub(crate) fn outcome(outcome: &Outcome, width: Option<usize>) -> String {
    match outcome {
        Outcome::Plan(report) => plan::plan(report, width),
        Outcome::Moved(report) => movement::movement(report, width),
        Outcome::Status(report) => status::status(report),
        Outcome::Doctor(report) => doctor::doctor(report, width),
        Outcome::Discovered(report) => discover::discover(report, width),
        Outcome::History(report) => history::history(report),
    }
}

/// `text` with everything escaped that a terminal would obey or that would change the order of what is read.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        match character {
            '\n' | '\r' | '\t' => safe.extend(character.escape_default()),
            _ if character.is_control() || reorders(character) => safe.extend(character.escape_unicode()),
            _ => safe.push(character),
        }
        safe
    })
}

/// Line separators, directional marks and zero-width characters.
fn reorders(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// What a piece of text says about its subject. Readable without colour: it only repeats what the word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Waiting,
    Bad,
}

impl Tone {
    fn of(phase: Phase) -> Self {
        match phase {
            Phase::Idle | Phase::Draining => Self::Good,
            Phase::Planned | Phase::Minted | Phase::Verified | Phase::Applying | Phase::Promoted => Self::Waiting,
            Phase::Quarantined => Self::Bad,
        }
    }

    fn paint(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Good => text.green().to_string(),
            Self::Waiting => text.yellow().to_string(),
            Self::Bad => text.red().to_string(),
        }
    }
}

/// `2026-11-23 08:00:00 UTC`.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A value that may be missing.
fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| printable(&value.to_string()))
}

/// `error: …` and `hint: …`, each line indented by `indent`.
fn problem(problem: &Problem, indent: usize) -> String {
    let mut text = format!("{:indent$}{}: {}\n", "", "error".red().bold(), printable(&problem.message));
    if let Some(hint) = &problem.hint {
        text.push_str(&hinted(hint, indent));
    }
    text
}

/// The same for what is no failure, each as `warning: …`.
pub(crate) fn warnings(problems: &[Problem]) -> String {
    let mut text = String::new();
    for found in problems {
        let _ = writeln!(text, "{}: {}", "warning".yellow().bold(), printable(&found.message));
        if let Some(hint) = &found.hint {
            text.push_str(&hinted(hint, 0));
        }
    }
    text
}

fn hinted(hint: &str, indent: usize) -> String {
    format!("{:indent$}{}: {}\n", "", "hint".cyan().bold(), printable(hint))
}

/// `name  phase`, the first line of a credential's part.
fn heading(text: &mut String, name: &str, word: &str, tone: Tone, rest: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{}  {}{rest}", printable(name).bold(), tone.paint(word));
}

const NOTHING: &str = "no credentials\n";

#[cfg(test)]
mod tests;
