//! `rollback`: back to the generation before, while it lives, and hold there.

use jiff::Timestamp;

use super::App;
use crate::command::Progress;
use crate::config::Credential;
use crate::error::Error;
use crate::ids::Generation;
use crate::report::{CredentialMove, MoveReport};
use crate::rotation::drive::{Ports, Run};
use crate::rotation::event::{PlanKind, Turn};
use crate::rotation::next::Goal;
use crate::rotation::preflight;
use crate::rotation::state::State;

impl App {
    pub(super) async fn rollback(&self, credentials: &[&Credential], progress: &Progress) -> Result<MoveReport, Error> {
        let mut report = MoveReport::default();
        // One after the other: what a person does in haste should be easy to follow.
        for credential in credentials {
            let moved = Box::pin(self.roll_back(credential, progress)).await;
            report.credentials.push(match moved {
                Ok(moved) => moved,
                Err(error) => self.not_begun(credential, &error).await,
            });
        }
        Ok(report)
    }

    async fn roll_back(&self, credential: &Credential, progress: &Progress) -> Result<CredentialMove, Error> {
        let principal = self.find(credential).await?;
        let ports = self.ports(credential, principal, progress).await?;
        self.check_one_owner(&ports, &ports.read().await?.1).await?;
        let state = self.folded(credential, ports.principal.application_id.as_str()).await?;
        if let Some(to) = destination(&state)? {
            self.check_usable(&ports, &state, to).await?;
        }
        let decide = |state: &State| {
            let to = destination(state)?;
            Ok(to.map(|to| Turn::Rollback { to: Some(to), canary: None }))
        };
        let run = Run::open_turned(&ports, Goal::Rollback, "asked for by `rollback`", decide).await?;
        Ok(Box::pin(self.driven(&ports, run, Goal::Rollback)).await)
    }

    /// What can be seen without signing in: a rollback gives an open rotation up, so it had better lead somewhere.
    async fn check_usable(&self, ports: &Ports, state: &State, to: Generation) -> Result<(), Error> {
        let Some(known) = state.generations.get(&to) else { return Err(nowhere(Some(to))) };
        let id = &known.minted.secret_id;
        let now: Timestamp = self.surroundings.clock.now();
        let listed = preflight::list(ports.databricks(), &ports.principal).await?;
        let lives = listed.iter().any(|listed| listed.id == *id && listed.expires_at.is_none_or(|expires_at| expires_at > now));
        let store = ports.storage.store(&(&known.minted.store).into())?;
        let kept =
            store.staged(id).await?.is_some() || store.current().await?.is_some_and(|value| value.secret_id.as_ref() == Some(id));
        if lives && kept { Ok(()) } else { Err(nowhere(Some(to))) }
    }
}

/// The generation that a rollback leads to; `None` where one is under way, or has been carried out and holds.
fn destination(state: &State) -> Result<Option<Generation>, Error> {
    if state.turn.is_some() {
        return Ok(None);
    }
    let under_way = state.open.as_ref().filter(|open| open.plan.kind == PlanKind::Rotate && !open.promoted);
    let to = match under_way {
        Some(_) => state.current,
        None if state.held.is_some() => return Ok(None),
        None => state.before,
    };
    let living = to.filter(|to| state.living().any(|(generation, _)| generation == *to));
    living.map(Some).ok_or_else(|| nowhere(to))
}

fn nowhere(to: Option<Generation>) -> Error {
    let message = match to {
        Some(to) => format!("generation {to}, which was current before, no longer lives or its value is in no slot of the store"),
        None => "there is no generation before the current one".to_owned(),
    };
    Error::failed("nothing-to-roll-back-to", message)
        .hint("nothing was changed; `lakekey rotate --force` mints and sends a new secret")
}
