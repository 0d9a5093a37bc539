//! `status`: where every credential stands, from the journal; what Databricks lists is added where it can be asked.

use std::collections::BTreeSet;

use futures::FutureExt;
use jiff::Timestamp;

use super::{App, many_at_once, principal};
use crate::config::Credential;
use crate::error::{Error, ErrorKind};
use crate::report::{CredentialStatus, Phase, SecretRole, SecretStatus, StatusReport, TargetCounts};
use crate::rotation::drive::policy;
use crate::rotation::due::due;
use crate::rotation::event::PlanKind;
use crate::rotation::preflight;
use crate::rotation::quarantine;
use crate::rotation::recover::{self, Listed};
use crate::rotation::stake::{Forsaken, at_stake, forsaken};
use crate::rotation::state::{Holder, Open, State};

impl App {
    pub(super) async fn status(&self, credentials: &[&Credential]) -> Result<StatusReport, Error> {
        let looks = credentials.iter().map(|credential| self.status_of(credential).boxed()).collect();
        Ok(StatusReport { credentials: many_at_once(looks).await })
    }

    async fn status_of(&self, credential: &Credential) -> CredentialStatus {
        let (state, unread) = match self.last_known(credential).await {
            Ok(state) => (state, None),
            Err(error) => (State::default(), Some(error)),
        };
        let (listing, unlisted) = match self.listed(credential).await {
            Ok(listing) => (Some(listing), None),
            Err(error) => (None, Some(error)),
        };
        let now = self.surroundings.clock.now();
        let policy = policy(credential, &self.config.state);
        let due = due(&state, &policy, listing.as_deref(), false, now);
        let known = state.meant().and_then(|generation| state.generations.get(&generation));
        let forsaken = forsaken(&state, &credential.name);
        let quarantined = unread.as_ref().is_some_and(|error| error.kind() == ErrorKind::Quarantined);
        // Of a journal that can't be read nothing is known: neither what is due nor whose the secrets are.
        let is_read = unread.is_none();
        CredentialStatus {
            name: credential.name.clone(),
            phase: if quarantined { Phase::Quarantined } else { state.phase() },
            generation: known.map(|known| known.minted.generation),
            secret_id: known.map(|known| known.minted.secret_id.clone()),
            rotated_at: state.rotated_at,
            expires_at: known.and_then(|known| known.minted.expires_at),
            next_rotation_at: due.at.filter(|_| is_read),
            reason: is_read.then(|| with_stake(&state, now, reason(&state, due.reason), &forsaken)),
            targets: counts(&state),
            secrets: if is_read { secrets(&state, listing.as_deref()) } else { Vec::new() },
            error: match unread.or(unlisted) {
                Some(error) if quarantined => Some(quarantine::told(&credential.name, error.problem().clone())),
                Some(error) => Some(error.problem().clone()),
                None => state.quarantine.map(|problem| quarantine::told(&credential.name, problem)),
            },
        }
    }

    pub(super) async fn last_known(&self, credential: &Credential) -> Result<State, Error> {
        let named = match self.journal_name(self.state().await?, credential).await? {
            Some(name) => Some(name),
            // Without a journal a stored value may still say that there was one.
            None => self.surroundings.storage.store(&credential.store)?.current().await?.map(|value| value.client_id.to_string()),
        };
        match named {
            Some(name) => self.folded(credential, &name).await,
            None => Ok(State::default()),
        }
    }

    async fn listed(&self, credential: &Credential) -> Result<Vec<Listed>, Error> {
        let workspaces = self.workspaces(credential)?;
        let databricks = &workspaces[&credential.workspace];
        match principal::find(databricks, credential).await? {
            Some(found) => preflight::list(databricks, &found).await,
            None => Ok(Vec::new()),
        }
    }
}

/// The nearer an expiry that somebody must act before, the louder; then what keeps old secrets alive though nobody selects it.
fn with_stake(state: &State, now: Timestamp, mut reason: String, forsaken: &[Forsaken]) -> String {
    if let Some(stake) = at_stake(state, now) {
        reason = format!("{reason}; {stake}");
    }
    match forsaken {
        [] => reason,
        [one] => format!("{reason}; `{}` {}", one.target, one.reason),
        [first, ..] => {
            format!("{reason}; {} such: `{}` {}; `lakekey plan` names all", forsaken.len(), first.target, first.reason)
        }
    }
}

fn reason(state: &State, due: String) -> String {
    match &state.open {
        Some(open) => open_reason(open),
        None if state.turn.is_some() => {
            "another direction was asked for and has not been gone yet: `lakekey rotate` does so".to_owned()
        }
        None => due,
    }
}

fn open_reason(open: &Open) -> String {
    let what = match open.plan.kind {
        PlanKind::Rotate => "a rotation is open",
        PlanKind::Reapply => "a reapply is open",
        PlanKind::Join => "targets are being sent the current generation",
        PlanKind::Rollback => "targets go back to an older generation",
        PlanKind::Revoke => "a revoke is under way",
    };
    format!("{what} ({})", open.plan.reason)
}

fn counts(state: &State) -> TargetCounts {
    let planned: Vec<&Holder> =
        state.places().map(|(_, holder)| holder).filter(|holder| holder.planned && holder.spec.is_some()).collect();
    let count = |matches: &dyn Fn(&Holder) -> bool| {
        u32::try_from(planned.iter().filter(|holder| matches(holder)).count()).unwrap_or(u32::MAX)
    };
    let meant = state.meant();
    let current = |holder: &Holder| meant.is_some() && holder.confirmed == meant && holder.may_hold.len() <= 1;
    let parked = |holder: &Holder| holder.failures.as_ref().is_some_and(|failures| failures.parked);
    TargetCounts {
        total: count(&|_| true),
        current: count(&current),
        stale: count(&|holder| !current(holder)),
        failed: count(&|holder| holder.failures.is_some() && !parked(holder)),
        parked: count(&parked),
    }
}

/// What Databricks lists, with lakekey's word for each; without a list, what the journal knows.
fn secrets(state: &State, listing: Option<&[Listed]>) -> Vec<SecretStatus> {
    let from_journal: Vec<Listed> = state
        .living()
        .map(|(_, known)| Listed {
            id: known.minted.secret_id.clone(),
            created_at: known.minted.created_at,
            expires_at: known.minted.expires_at,
        })
        .collect();
    let values = BTreeSet::new();
    listing
        .unwrap_or(&from_journal)
        .iter()
        .map(|listed| SecretStatus {
            id: listed.id.clone(),
            role: match recover::role(state, &values, listed) {
                SecretRole::Next if state.open.is_none() => SecretRole::Previous,
                role @ (SecretRole::Current
                | SecretRole::Previous
                | SecretRole::Next
                | SecretRole::Condemned
                | SecretRole::Foreign) => role,
            },
            created_at: Some(listed.created_at),
            expires_at: listed.expires_at,
        })
        .collect()
}
