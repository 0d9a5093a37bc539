//! `revoke`: break glass. A new secret is minted and sent everywhere, and every older one is deleted at once, whoever holds it.

use std::collections::BTreeSet;

use super::App;
use crate::command::Progress;
use crate::config::Credential;
use crate::error::Error;
use crate::ids::{CredentialName, SecretId, TargetId};
use crate::report::{CredentialMove, MoveReport};
use crate::rotation::drive::Run;
use crate::rotation::event::{PlanKind, Turn};
use crate::rotation::next::Goal;
use crate::rotation::preflight;
use crate::rotation::recover::{self, Origin};
use crate::rotation::state::{Holder, State};

/// What a revoke of one credential deletes, and whom that cuts off.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The credential.
    pub name: CredentialName,
    /// Secrets of lakekey's that would be deleted.
    pub own: Vec<SecretId>,
    /// Secrets that lakekey neither made nor adopted, where those are to go too.
    pub foreign: Vec<SecretId>,
    /// Targets that are sent the new secret first.
    pub moved: usize,
    /// Targets that may hold one of these and are not sent the new one, or did not take the last one.
    pub cut_off: Vec<(TargetId, &'static str)>,
}

impl App {
    /// What [`Command::Revoke`](crate::command::Command::Revoke) would delete, and whom that would cut off. Reads only.
    pub async fn revocations(&self, names: &[CredentialName], foreign: bool) -> Result<Vec<Revocation>, Error> {
        let mut revocations = Vec::new();
        for credential in self.named(names)? {
            revocations.push(Box::pin(self.revocation(credential, foreign)).await?);
        }
        Ok(revocations)
    }

    async fn revocation(&self, credential: &Credential, foreign: bool) -> Result<Revocation, Error> {
        let principal = self.find(credential).await?;
        let state = self.folded(credential, principal.application_id.as_str()).await?;
        let workspaces = self.workspaces(credential)?;
        let listing = preflight::list(&workspaces[&credential.workspace], &principal).await?;
        let values = BTreeSet::new();
        let of = |wanted: fn(Origin) -> bool| {
            let found = listing.iter().filter(|listed| wanted(recover::origin(&state, &values, listed)));
            found.map(|listed| listed.id.clone()).collect::<Vec<_>>()
        };
        let planned = |holder: &Holder| holder.planned && holder.spec.is_some();
        Ok(Revocation {
            name: credential.name.clone(),
            own: of(|origin| !matches!(origin, Origin::Foreign)),
            foreign: if foreign { of(|origin| matches!(origin, Origin::Foreign)) } else { Vec::new() },
            moved: state.holders.values().filter(|holder| planned(holder)).count(),
            cut_off: cut_off(&state),
        })
    }

    pub(super) async fn revoke(
        &self,
        credentials: &[&Credential],
        foreign: bool,
        progress: &Progress,
    ) -> Result<MoveReport, Error> {
        self.surroundings.storage.open_state(&self.config.state.location).await?;
        let mut report = MoveReport::default();
        for credential in credentials {
            let moved = Box::pin(self.revoke_one(credential, foreign, progress)).await;
            report.credentials.push(match moved {
                Ok(moved) => moved,
                Err(error) => self.not_begun(credential, &error).await,
            });
        }
        Ok(report)
    }

    async fn revoke_one(&self, credential: &Credential, foreign: bool, progress: &Progress) -> Result<CredentialMove, Error> {
        let principal = self.find(credential).await?;
        let ports = self.ports(credential, principal, progress).await?;
        self.check_one_owner(&ports, &ports.read().await?.1).await?;
        let decide = |state: &State| {
            // One that is under way is gone on with.
            let under_way = matches!(state.turn, Some(Turn::Revoke { .. }));
            Ok((!under_way).then_some(Turn::Revoke { foreign }))
        };
        let run = Run::open_turned(&ports, Goal::Revoke, "asked for by `revoke`", decide).await?;
        Ok(Box::pin(self.driven(&ports, run, Goal::Revoke)).await)
    }
}

/// Places that may hold a secret and would not get the new one, as far as the journal tells.
fn cut_off(state: &State) -> Vec<(TargetId, &'static str)> {
    let why = |holder: &Holder| match (&holder.failures, holder.planned) {
        _ if holder.may_hold.is_empty() => None,
        (_, false) => Some("it is not selected any more"),
        (Some(_), true) => Some("it did not take the last secret that was sent"),
        (None, true) => None,
    };
    let open = state.open.as_ref().filter(|open| open.plan.kind == PlanKind::Revoke);
    let holders = state.places().filter(|_| open.is_none());
    holders.filter_map(|(id, holder)| Some((id.clone(), why(holder)?))).collect()
}
