//! `rotate` and `reapply` as text.

use std::fmt::Write;

use lakekey_core::report::{CredentialMove, MoveOutcome, MoveReport, Phase, RefreshOutcome, TargetMove, TargetOutcome};

use super::table::{Cell, Table};
use super::{NOTHING, Tone, heading, or_dash, printable, problem, time};

pub(super) fn movement(report: &MoveReport, width: Option<usize>) -> String {
    let mut text = String::new();
    for credential in &report.credentials {
        one(&mut text, credential, width);
    }
    if text.is_empty() { NOTHING.to_owned() } else { text }
}

fn one(text: &mut String, moved: &CredentialMove, width: Option<usize>) {
    let tone = match moved.outcome {
        MoveOutcome::Rotated | MoveOutcome::Reapplied | MoveOutcome::RolledBack | MoveOutcome::Revoked => Tone::Good,
        MoveOutcome::Unchanged => Tone::of(moved.phase),
        MoveOutcome::Incomplete => Tone::Waiting,
        MoveOutcome::Failed => Tone::Bad,
    };
    let mut rest = format!(", now {}", moved.phase.as_str());
    if let Some(generation) = moved.generation {
        let _ = write!(rest, ": generation {generation}, secret {}", or_dash(moved.secret_id.as_ref()));
    }
    if let Some(at) = moved.expires_at {
        let _ = write!(rest, ", expires {}", time(at));
    }
    heading(text, moved.name.as_str(), moved.outcome.as_str(), tone, &rest);
    if !moved.targets.is_empty() {
        text.push_str(&targets(&moved.targets, width));
    }
    for id in &moved.retired {
        let _ = writeln!(text, "  deleted secret {}", printable(id.as_str()));
    }
    if let Some(error) = &moved.error {
        text.push_str(&problem(error, 2));
    }
    if let Some(next) = next(moved) {
        let _ = writeln!(text, "  next: {next}");
    }
}

fn targets(targets: &[TargetMove], width: Option<usize>) -> String {
    let mut table = Table::new(2, &["TARGET", "OUTCOME", "ATTEMPTS", "REFRESH", "WHY"]);
    for target in targets {
        let tone = match target.outcome {
            TargetOutcome::Updated => Tone::Good,
            TargetOutcome::Pending => Tone::Waiting,
            TargetOutcome::Failed | TargetOutcome::Parked => Tone::Bad,
        };
        let why = target.error.as_ref().map(|error| match &error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message.clone(),
        });
        table.row(vec![
            target.id.as_str().into(),
            Cell::toned(target.outcome.as_str(), tone),
            target.attempts.to_string().into(),
            target.refresh.map_or("-", RefreshOutcome::as_str).into(),
            why.unwrap_or_default().into(),
        ]);
    }
    table.render(width)
}

/// What happens without anybody doing more, or what to run.
fn next(moved: &CredentialMove) -> Option<String> {
    let resume = "`lakekey rotate` goes on where this stopped";
    match (moved.phase, moved.retire_after) {
        (Phase::Quarantined, _) => Some("nothing, until a person has acted; then `lakekey rotate`".to_owned()),
        (phase, _) if phase.is_open() => Some(resume.to_owned()),
        (_, Some(at)) => Some(format!("`lakekey rotate` deletes the previous secret after {}", time(at))),
        (_, None) if moved.outcome == MoveOutcome::Incomplete => Some(resume.to_owned()),
        (_, None) => None,
    }
}
