//! The one request and the one answer of every trigger: a command line, a timer, a queue message and an HTTP call all become
//! a [`Command`], and [`App::run`](crate::app::App::run) answers each with an [`Outcome`].

use crate::error::ExitStatus;
use crate::ids::{CredentialName, TargetId};
use crate::inventory::By;
use crate::report::{
    CredentialHistory, CredentialMove, CredentialPlan, CredentialStatus, DiscoverReport, DoctorReport, HistoryReport,
    MoveOutcome, MoveReport, Phase, PlanReport, StatusReport, TargetMove, TargetOutcome,
};

/// What is asked. No name means every credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Say what `Rotate` would do; write nothing anywhere.
    Plan {
        /// Of these credentials.
        names: Vec<CredentialName>,
    },
    /// Rotate what is due, resume what is open, retire what is past grace.
    Rotate {
        /// Of these credentials.
        names: Vec<CredentialName>,
        /// Rotate although not due; an open rotation is resumed instead.
        force: bool,
    },
    /// Send the current generation to its targets again.
    Reapply {
        /// Of these credentials.
        names: Vec<CredentialName>,
        /// Refresh their datasets too.
        refresh: bool,
    },
    /// Move targets back to the generation before, and hold there.
    Rollback {
        /// Of these credentials.
        names: Vec<CredentialName>,
    },
    /// Mint anew, send it everywhere, and delete every older secret at once, whoever holds it.
    Revoke {
        /// Of these credentials.
        names: Vec<CredentialName>,
        /// And every secret that lakekey neither made nor adopted.
        foreign: bool,
    },
    /// Stop counting a target that is gone or beyond reach; answered as `Status` is.
    Forget {
        /// Of this credential.
        name: CredentialName,
        /// The target.
        target: TargetId,
    },
    /// Say where every credential stands.
    Status {
        /// Of these credentials.
        names: Vec<CredentialName>,
    },
    /// Look whether a rotation has all that it needs; write nothing anywhere.
    Doctor {
        /// Of these credentials.
        names: Vec<CredentialName>,
    },
    /// Say what the identities of these credentials can see; write nothing anywhere.
    Discover {
        /// Of these credentials.
        names: Vec<CredentialName>,
        /// How to look; `None` is by the scanner where it is open to the identity, else workspace by workspace.
        by: Option<By>,
    },
    /// Read the journal.
    History {
        /// Of these credentials.
        names: Vec<CredentialName>,
        /// Check its chain and, with a state key, its signatures.
        verify: bool,
    },
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To [`Command::Plan`].
    Plan(PlanReport),
    /// To [`Command::Rotate`], [`Command::Reapply`], [`Command::Rollback`] and [`Command::Revoke`].
    Moved(MoveReport),
    /// To [`Command::Status`].
    Status(StatusReport),
    /// To [`Command::Doctor`].
    Doctor(DoctorReport),
    /// To [`Command::Discover`].
    Discovered(DiscoverReport),
    /// To [`Command::History`].
    History(HistoryReport),
}

impl Outcome {
    /// The exit status of the command as a whole. With several credentials the one that most needs somebody to come back
    /// decides: anything unfinished is 3, else anything failed is 1, else 0.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Plan(report) => worst(report.credentials.iter().map(of_plan)),
            Self::Moved(report) => worst(report.credentials.iter().map(of_move)),
            Self::Status(report) => worst(report.credentials.iter().map(of_status)),
            Self::Doctor(report) => worst(report.checks.iter().map(|check| of(false, !check.ok))),
            Self::Discovered(_) => ExitStatus::Done,
            Self::History(report) => worst(report.credentials.iter().map(of_history)),
        }
    }
}

fn worst(statuses: impl Iterator<Item = ExitStatus>) -> ExitStatus {
    let severity = |status: &ExitStatus| match status {
        ExitStatus::Done => 0,
        // No report comes from a command that lakekey ran for somebody.
        ExitStatus::Failed | ExitStatus::OfCommand(_) => 1,
        ExitStatus::Usage => 2,
        ExitStatus::Unfinished => 3,
    };
    statuses.max_by_key(severity).unwrap_or(ExitStatus::Done)
}

fn of_plan(plan: &CredentialPlan) -> ExitStatus {
    of(unfinished(plan.phase), !plan.problems.is_empty())
}

fn of_move(credential: &CredentialMove) -> ExitStatus {
    // A refresh that failed is the dataset's trouble: whoever reports it decides whether the command is `incomplete`.
    let behind = |target: &TargetMove| match target.outcome {
        TargetOutcome::Failed | TargetOutcome::Parked => true,
        TargetOutcome::Updated | TargetOutcome::Pending => false,
    };
    let (incomplete, failed) = match credential.outcome {
        MoveOutcome::Incomplete => (true, false),
        MoveOutcome::Failed => (false, true),
        MoveOutcome::Rotated
        | MoveOutcome::Reapplied
        | MoveOutcome::RolledBack
        | MoveOutcome::Revoked
        // A revoke that has cut targets off is done, and says so.
        | MoveOutcome::Unchanged => (credential.error.is_some(), false),
    };
    of(incomplete || unfinished(credential.phase) || credential.targets.iter().any(behind), failed)
}

fn of_status(status: &CredentialStatus) -> ExitStatus {
    of(unfinished(status.phase) || status.targets.failed + status.targets.parked > 0, status.error.is_some())
}

/// A journal whose chain does not hold is what quarantines a credential.
fn of_history(history: &CredentialHistory) -> ExitStatus {
    of(history.verified == Some(false), false)
}

fn unfinished(phase: Phase) -> bool {
    phase.is_open() || phase == Phase::Quarantined
}

fn of(unfinished: bool, failed: bool) -> ExitStatus {
    match (unfinished, failed) {
        (true, _) => ExitStatus::Unfinished,
        (false, true) => ExitStatus::Failed,
        (false, false) => ExitStatus::Done,
    }
}

/// Where an [`App`](crate::app::App) tells how far it is. What it says is for people: nothing depends on it being heard.
#[derive(Clone, Debug)]
pub struct Progress(Option<tokio::sync::mpsc::UnboundedSender<ProgressEvent>>);

/// One thing that has happened or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgressEvent {
    /// The credential that it is about.
    pub credential: CredentialName,
    /// What is being done, as a sentence without a full stop.
    pub step: String,
    /// Targets done; other units where no target is moved yet.
    pub done: usize,
    /// Of so many; 0 when there is nothing to count.
    pub total: usize,
}

impl Progress {
    /// Nobody listens.
    pub fn none() -> Self {
        Self(None)
    }

    /// The other end of `sender` listens.
    pub fn to(sender: tokio::sync::mpsc::UnboundedSender<ProgressEvent>) -> Self {
        Self(Some(sender))
    }

    /// Tells the listener, if there still is one.
    pub fn say(&self, event: ProgressEvent) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(event);
        }
    }
}

#[cfg(test)]
mod tests;
