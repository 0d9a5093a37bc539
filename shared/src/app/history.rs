//! `history`: the journal, entry by entry, and whether it can be trusted.

use std::sync::Arc;

use super::App;
use crate::config::Credential;
use crate::error::{Error, ErrorKind};
use crate::ids::Generation;
use crate::journal::Entry;
use crate::report::{CredentialHistory, HistoryEntry, HistoryReport, RefreshOutcome};
use crate::rotation::drive::read_aloud;
use crate::rotation::event::{Event, Fate, PlanKind, Turn};

impl App {
    pub(super) async fn history(&self, credentials: &[&Credential], verify: bool) -> Result<HistoryReport, Error> {
        let mut report = HistoryReport::default();
        for credential in credentials {
            report.credentials.push(self.history_of(credential, verify).await?);
        }
        Ok(report)
    }

    async fn history_of(&self, credential: &Credential, verify: bool) -> Result<CredentialHistory, Error> {
        let store = self.state().await?;
        let name = credential.name.clone();
        let stored = self.surroundings.storage.store(&credential.store)?.current().await?.and_then(|value| value.journal);
        let Some(journal) = self.journal_name(Arc::clone(&store), credential).await? else {
            return Ok(CredentialHistory { name, verified: verify.then_some(stored.is_none()), entries: Vec::new() });
        };
        let mut entries = Vec::new();
        let listener = |entry: &Entry<Event>| {
            let (event, generation, detail) = describe(&entry.event);
            entries.push(HistoryEntry {
                seq: entry.seq,
                at: entry.at,
                by: entry.by.clone(),
                event: event.to_owned(),
                generation,
                detail,
            });
        };
        let state_key = self.state_key().await?;
        let (journal, _) = match read_aloud(Arc::clone(&store), &journal, state_key, !verify, listener).await {
            Ok(read) => read,
            // That it does not hold is the answer, not a failure to answer.
            Err(error) if verify && error.kind() == ErrorKind::Quarantined => {
                return Ok(CredentialHistory { name, verified: Some(false), entries: Vec::new() });
            }
            Err(error) => return Err(error),
        };
        let whole = stored.is_none_or(|hash| journal.contains(&hash));
        Ok(CredentialHistory { name, verified: verify.then_some(whole), entries })
    }
}

/// The word for an event, the generation that it is about, and more for people.
fn describe(event: &Event) -> (&'static str, Option<Generation>, Option<String>) {
    match event {
        Event::LeaseTaken { epoch, until, .. } => ("lease-taken", None, Some(format!("epoch {epoch}, until {until:.0}"))),
        Event::LeaseRenewed { until } => ("lease-renewed", None, Some(format!("until {until:.0}"))),
        Event::LeaseReleased => ("lease-released", None, None),
        Event::Asked(asked) => {
            let reason = asked.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let config = asked.config.get(..12).unwrap_or(&asked.config);
            ("asked", None, Some(format!("by {}{reason}; operation {}, config {config}", asked.by, asked.operation)))
        }
        Event::Led { token, step } => ("led", None, Some(format!("by Secrets Manager: {} of version {token}", step.as_str()))),
        Event::Begun(begun) => match &begun.adopted {
            Some(adopted) => ("begun", Some(adopted.generation), Some(format!("adopted secret {}", adopted.secret_id))),
            None => ("begun", None, Some(format!("service principal {}", begun.application_id))),
        },
        Event::Planned(plan) => {
            let targets: usize = plan.waves.iter().map(Vec::len).sum();
            let kind = match plan.kind {
                PlanKind::Rotate => "planned",
                PlanKind::Reapply => "reapply-planned",
                PlanKind::Join => "join-planned",
                PlanKind::Rollback => "rollback-planned",
                PlanKind::Revoke => "revoke-planned",
            };
            (
                kind,
                None,
                Some(format!("{}; {targets} targets, config {}", plan.reason, plan.config.get(..12).unwrap_or(&plan.config))),
            )
        }
        Event::Turned { turn, reason, .. } => {
            let (word, to) = match turn {
                Turn::Rollback { to, canary: Some(_) } => ("canary-failed", *to),
                Turn::Rollback { to, canary: None } => ("rollback-asked", *to),
                Turn::Revoke { .. } => ("revoke-asked", None),
            };
            (word, to, Some(reason.clone()))
        }
        Event::TurnEnded { problem } => ("turn-ended", None, Some(problem.message.clone())),
        Event::Granted => ("granted", None, None),
        Event::MintIntended { attempt, lifetime_s, .. } => {
            ("mint-intended", None, Some(format!("attempt {attempt}, lifetime {lifetime_s} s")))
        }
        Event::MintRefused { attempt, problem } => {
            ("mint-refused", None, Some(format!("attempt {attempt}: {}", problem.message)))
        }
        Event::MintUnanswered { attempt } => ("mint-unanswered", None, Some(format!("attempt {attempt}"))),
        Event::Minted(minted) => ("minted", Some(minted.generation), Some(format!("secret {}", minted.secret_id))),
        Event::Verified { generation } => ("verified", Some(*generation), None),
        Event::Condemned { secret_id, reason } => {
            let reason = serde_json::to_value(reason).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default();
            ("condemned", None, Some(format!("secret {secret_id}: {reason}")))
        }
        Event::Deleted { secret_id } => ("deleted", None, Some(format!("secret {secret_id}"))),
        Event::TakeOverStarted { datasets } => {
            let owners: Vec<String> = datasets
                .iter()
                .map(|dataset| format!("{} (owner so far: {})", dataset.id, dataset.owner.as_deref().unwrap_or("unknown")))
                .collect();
            ("take-over-started", None, Some(owners.join(", ")))
        }
        Event::TakenOver { results } => {
            let failed = results.iter().filter(|result| result.problem.is_some()).count();
            ("taken-over", None, Some(format!("{} datasets, {failed} failed", results.len())))
        }
        Event::WaveStarted { generation, targets, slice_size } => {
            let size = slice_size.map(|size| format!(", sent out in slices of {size}")).unwrap_or_default();
            ("wave-started", Some(*generation), Some(format!("{} places{size}", targets.len())))
        }
        Event::WaveEnded { results, .. } => {
            let moved = results.iter().filter(|result| result.fate == Fate::Moved).count();
            ("wave-ended", None, Some(format!("{moved} of {} places moved", results.len())))
        }
        Event::RefreshesAsked { refreshes } => ("refreshes-asked", None, Some(format!("{} datasets", refreshes.len()))),
        Event::RefreshesStarted { datasets } => ("refreshes-started", None, Some(format!("{} datasets", datasets.len()))),
        Event::RefreshesEnded { results } => {
            let completed = results.iter().filter(|result| result.outcome == RefreshOutcome::Completed).count();
            ("refreshes-ended", None, Some(format!("{completed} of {} completed", results.len())))
        }
        Event::Parked { targets } => ("parked", None, Some(format!("{} targets", targets.len()))),
        Event::Forgotten { target } => ("forgotten", None, Some(target.to_string())),
        Event::Drained => ("drained", None, None),
        Event::Promoted { generation } => ("promoted", Some(*generation), None),
        Event::Settled { problem } => ("settled", None, problem.as_ref().map(|problem| problem.message.clone())),
        Event::Quarantined { problem } => ("quarantined", None, Some(problem.message.clone())),
        Event::Unquarantined { forced } => ("unquarantined", None, forced.then(|| "by --force".to_owned())),
    }
}
