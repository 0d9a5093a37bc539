//! `status` as text.

use std::fmt::Write;

use lakekey_core::report::{CredentialStatus, SecretRole, StatusReport, TargetCounts};

use super::table::{Cell, Table};
use super::{NOTHING, Tone, or_dash, printable, problem, time};

/// One line for each credential; one credential alone also shows its secrets.
pub(super) fn status(report: &StatusReport) -> String {
    if report.credentials.is_empty() {
        return NOTHING.to_owned();
    }
    let mut table = Table::new(0, &["NAME", "PHASE", "GENERATION", "TARGETS", "ROTATED", "EXPIRES", "NEXT ROTATION"]);
    for credential in &report.credentials {
        table.row(vec![
            credential.name.as_str().into(),
            Cell::toned(credential.phase.as_str(), Tone::of(credential.phase)),
            or_dash(credential.generation).into(),
            Cell::toned(counts(credential.targets), tone(credential.targets)),
            or_dash(credential.rotated_at.map(time)).into(),
            or_dash(credential.expires_at.map(time)).into(),
            or_dash(credential.next_rotation_at.map(time)).into(),
        ]);
    }
    let mut text = table.render(None);
    for credential in &report.credentials {
        remarks(&mut text, credential);
    }
    if let [credential] = report.credentials.as_slice()
        && !credential.secrets.is_empty()
    {
        text.push('\n');
        text.push_str(&secrets(credential));
    }
    text
}

/// `2/3 current, 1 parked`.
fn counts(targets: TargetCounts) -> String {
    let mut text = format!("{}/{} current", targets.current, targets.total);
    for (count, word) in [(targets.failed, "failed"), (targets.parked, "parked")] {
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    text
}

fn tone(targets: TargetCounts) -> Tone {
    match targets {
        TargetCounts { failed, parked, .. } if failed + parked > 0 => Tone::Bad,
        TargetCounts { stale, .. } if stale > 0 => Tone::Waiting,
        _ => Tone::Plain,
    }
}

fn remarks(text: &mut String, credential: &CredentialStatus) {
    if credential.reason.is_none() && credential.error.is_none() {
        return;
    }
    let name = printable(credential.name.as_str());
    let _ = match &credential.reason {
        Some(reason) => writeln!(text, "\n{name}: {}", printable(reason)),
        None => writeln!(text, "\n{name}:"),
    };
    if let Some(error) = &credential.error {
        text.push_str(&problem(error, 2));
    }
}

fn secrets(credential: &CredentialStatus) -> String {
    let mut table = Table::new(0, &["SECRET", "ROLE", "CREATED", "EXPIRES"]);
    for secret in &credential.secrets {
        let tone = match secret.role {
            SecretRole::Current => Tone::Good,
            SecretRole::Previous | SecretRole::Next => Tone::Plain,
            SecretRole::Condemned | SecretRole::Foreign => Tone::Waiting,
        };
        table.row(vec![
            secret.id.as_str().into(),
            Cell::toned(secret.role.as_str(), tone),
            or_dash(secret.created_at.map(time)).into(),
            or_dash(secret.expires_at.map(time)).into(),
        ]);
    }
    table.render(None)
}
