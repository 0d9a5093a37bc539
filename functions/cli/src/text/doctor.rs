//! `doctor` as text: a line for each check, then what failed or is warned of, with what to do.

use std::fmt::Write;

use lakekey_core::report::{Check, DoctorReport};
use owo_colors::OwoColorize;

use super::table::{Cell, Table};
use super::{Tone, hinted, printable};

pub(super) fn doctor(report: &DoctorReport, width: Option<usize>) -> String {
    let mut table = Table::new(0, &["RESULT", "CHECK", "SUBJECT", "FOUND"]);
    for check in &report.checks {
        let (word, tone) = result(check);
        table.row(vec![
            Cell::toned(word, tone),
            check.check.as_str().into(),
            check.subject.as_str().into(),
            check.detail.as_str().into(),
        ]);
    }
    let mut text = table.render(width);
    for check in &report.checks {
        remark(&mut text, check);
    }
    let failed = report.checks.iter().filter(|check| !check.ok).count();
    let _ = match failed {
        0 => writeln!(text, "\nall {} checks passed", report.checks.len()),
        failed => writeln!(text, "\n{failed} of {} checks failed", report.checks.len()),
    };
    text
}

fn result(check: &Check) -> (&'static str, Tone) {
    match (check.ok, &check.fix) {
        (false, _) => ("failed", Tone::Bad),
        (true, Some(_)) => ("warning", Tone::Waiting),
        (true, None) => ("ok", Tone::Good),
    }
}

/// The whole sentence, which the table may have cut, and the way out.
fn remark(text: &mut String, check: &Check) {
    let word = match result(check) {
        ("failed", _) => "error".red().bold().to_string(),
        ("warning", _) => "warning".yellow().bold().to_string(),
        _ => return,
    };
    let _ = writeln!(text, "\n{word}: {}: {}", printable(&check.subject), printable(&check.detail));
    if let Some(fix) = &check.fix {
        text.push_str(&hinted(fix, 0));
    }
}
