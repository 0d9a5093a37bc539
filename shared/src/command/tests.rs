//! Which exit status a report means.

use super::*;
use crate::error::{ErrorKind, Problem};
use crate::ids::TargetId;
use crate::report::TargetCounts;

fn moved(outcome: MoveOutcome, phase: Phase, targets: &[TargetOutcome]) -> CredentialMove {
    CredentialMove {
        name: CredentialName::new("sales-bi"),
        outcome,
        phase,
        generation: None,
        secret_id: None,
        expires_at: None,
        targets: targets
            .iter()
            .map(|outcome| TargetMove {
                id: TargetId::new("powerbi:g/d"),
                outcome: *outcome,
                attempts: 1,
                error: None,
                refresh: None,
            })
            .collect(),
        retired: Vec::new(),
        retire_after: None,
        error: None,
    }
}

fn status(phase: Phase, parked: u32, error: Option<Problem>) -> CredentialStatus {
    CredentialStatus {
        name: CredentialName::new("sales-bi"),
        phase,
        generation: None,
        secret_id: None,
        rotated_at: None,
        expires_at: None,
        next_rotation_at: None,
        reason: None,
        targets: TargetCounts { total: 2, current: 2 - parked, stale: parked, failed: 0, parked },
        secrets: Vec::new(),
        error,
    }
}

fn exit(credentials: Vec<CredentialMove>) -> u8 {
    Outcome::Moved(MoveReport { credentials }).exit_status().code()
}

#[test]
fn one_credential_decides_by_outcome_phase_and_targets() {
    use MoveOutcome::{Failed, Incomplete, Reapplied, Revoked, RolledBack, Rotated, Unchanged};
    use TargetOutcome::{Parked, Pending, Updated};
    let table: &[(MoveOutcome, Phase, &[TargetOutcome], u8)] = &[
        (Rotated, Phase::Draining, &[Updated], 0),
        (Unchanged, Phase::Idle, &[], 0),
        (Unchanged, Phase::Draining, &[], 0),
        (Reapplied, Phase::Draining, &[Updated], 0),
        (RolledBack, Phase::Draining, &[Updated], 0),
        (Revoked, Phase::Idle, &[Updated], 0),
        (Failed, Phase::Idle, &[], 1),
        (Failed, Phase::Idle, &[Pending], 1),
        (Incomplete, Phase::Idle, &[], 3),
        (Incomplete, Phase::Applying, &[Updated, Pending], 3),
        (Rotated, Phase::Draining, &[Updated, Parked], 3),
        (Reapplied, Phase::Draining, &[Updated, TargetOutcome::Failed], 3),
        (Failed, Phase::Applying, &[], 3),
        (Failed, Phase::Quarantined, &[], 3),
        (Unchanged, Phase::Quarantined, &[], 3),
    ];
    for (outcome, phase, targets, code) in table {
        assert_eq!(exit(vec![moved(*outcome, *phase, targets)]), *code, "{outcome:?} {phase:?} {targets:?}");
    }
}

#[test]
fn of_several_credentials_the_one_to_come_back_for_decides() {
    let done = moved(MoveOutcome::Rotated, Phase::Draining, &[]);
    let failed = moved(MoveOutcome::Failed, Phase::Idle, &[]);
    let open = moved(MoveOutcome::Incomplete, Phase::Applying, &[]);
    assert_eq!(exit(vec![]), 0);
    assert_eq!(exit(vec![done.clone(), failed.clone()]), 1);
    assert_eq!(exit(vec![failed.clone(), open.clone(), done]), 3);
    assert_eq!(exit(vec![open, failed]), 3);
}

#[test]
fn status_tells_scripts_what_needs_attention() {
    let exit = |status| Outcome::Status(StatusReport { credentials: vec![status] }).exit_status().code();
    assert_eq!(exit(status(Phase::Idle, 0, None)), 0);
    assert_eq!(exit(status(Phase::Draining, 0, None)), 0);
    assert_eq!(exit(status(Phase::Idle, 0, Some(Problem::new("sign-in-refused", "sign-in was refused")))), 1);
    assert_eq!(exit(status(Phase::Idle, 1, None)), 3);
    assert_eq!(exit(status(Phase::Minted, 0, None)), 3);
    assert_eq!(exit(status(Phase::Quarantined, 0, None)), 3);
}

#[test]
fn a_broken_chain_is_not_success() {
    let exit = |verified| {
        let history = CredentialHistory { name: CredentialName::new("sales-bi"), verified, entries: Vec::new() };
        Outcome::History(HistoryReport { credentials: vec![history] }).exit_status().code()
    };
    assert_eq!((exit(None), exit(Some(true)), exit(Some(false))), (0, 0, 3));
}

#[test]
fn every_kind_of_error_has_an_exit_status() {
    let kinds = [ErrorKind::Usage, ErrorKind::Failed, ErrorKind::Unfinished, ErrorKind::Quarantined];
    assert_eq!(kinds.map(|kind| kind.exit_status().code()), [2, 1, 3, 3]);
}

#[test]
fn progress_without_a_listener_is_no_error() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    drop(receiver);
    let event = ProgressEvent { credential: CredentialName::new("a"), step: "minted".to_owned(), done: 0, total: 0 };
    Progress::to(sender).say(event.clone());
    Progress::none().say(event);
}
