//! Failures as text: what was tried, the chain of causes, what to do; for a config, every place that is wrong.

use std::error::Error as _;
use std::fmt::Write;

use lakekey_core::error::Error;
use lakekey_core::report::LocatedProblem;
use owo_colors::OwoColorize;

use super::{hinted, printable};
use crate::failure::Failure;

/// What goes to stderr.
pub(crate) fn failure(failure: &Failure) -> String {
    let mut text = String::new();
    match failure {
        Failure::Command(error) => one(&mut text, error),
        Failure::Config(problems) => {
            for problem in problems {
                located(&mut text, problem);
            }
            let _ = writeln!(text, "{}: {}", "error".red().bold(), failure.summary());
        }
    }
    text
}

fn one(text: &mut String, error: &Error) {
    let problem = error.problem();
    let _ = writeln!(text, "{}: {}", "error".red().bold(), printable(&problem.message));
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(source) = cause else { break };
        let _ = writeln!(text, "  caused by: {}", printable(&source.to_string()));
        cause = source.source();
    }
    if let Some(hint) = &problem.hint {
        text.push_str(&hinted(hint, 0));
    }
}

/// `file:line:column: message`, which editors and terminals turn into a link.
fn located(text: &mut String, problem: &LocatedProblem) {
    let place =
        [problem.file.clone(), problem.line.map(|line| line.to_string()), problem.column.map(|column| column.to_string())];
    let place: Vec<String> = place.into_iter().flatten().collect();
    if !place.is_empty() {
        let _ = write!(text, "{}: ", printable(&place.join(":")).bold());
    }
    let _ = writeln!(text, "{} [{}]", printable(&problem.message), printable(&problem.code));
    if let Some(hint) = &problem.hint {
        text.push_str(&hinted(hint, 2));
    }
}

const CAUSES_MAX: usize = 16;
