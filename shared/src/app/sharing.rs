//! A data source holds one credential: no two credentials of the config may select the same one.
//!
//! The credentials of one command are compared before any of them makes anything. What others were last planned with is in
//! their journals; where that overlaps, their rows are looked up again, for a row may have moved from one credential to
//! another since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt;
use tracing::warn;

use super::{App, few_at_once};
use crate::config::Credential;
use crate::error::{Error, Problem};
use crate::ids::{CredentialName, TargetId};
use crate::inventory;
use crate::rotation::drive::{policy, read};
use crate::rotation::due::due;
use crate::rotation::led::LedStep;
use crate::rotation::next::Goal;
use crate::rotation::preflight::{self, Preflight, Principal};
use crate::rotation::state::State;

impl App {
    /// What each credential that is about to plan will find, with the targets that it shares among its problems. A look that
    /// fails is left to the run itself, which says why.
    pub(super) async fn preflights(
        &self,
        found: &[(&Credential, &Principal)],
        goal: Goal,
    ) -> BTreeMap<CredentialName, Preflight> {
        let looks = found.iter().map(|(credential, principal)| {
            let look = async move {
                let preflight = self.preflight_of(credential, principal, goal).await;
                let preflight = preflight.inspect_err(|error| {
                    warn!(credential = %credential.name, code = error.code(), "could not look ahead");
                });
                Some((credential.name.clone(), preflight.ok()??))
            };
            look.boxed()
        });
        let looked = few_at_once(looks.collect()).await;
        let mut preflights: BTreeMap<CredentialName, Preflight> = looked.into_iter().flatten().collect();
        let mut selected: BTreeMap<CredentialName, BTreeSet<TargetId>> =
            preflights.iter().map(|(name, preflight)| (name.clone(), targets_of(preflight))).collect();
        let names: Vec<CredentialName> = preflights.keys().cloned().collect();
        for name in names {
            let mine = selected.get(&name).cloned().unwrap_or_default();
            let problems = self.shared_targets(&name, &mine, &mut selected).await;
            if let Some(preflight) = preflights.get_mut(&name) {
                preflight.problems.extend(problems);
            }
        }
        preflights
    }

    /// One problem for each target of `name` that another credential selects too. `selected` is what is known of the others'
    /// rows; what is found out on the way is added to it.
    pub(super) async fn shared_targets(
        &self,
        name: &CredentialName,
        mine: &BTreeSet<TargetId>,
        selected: &mut BTreeMap<CredentialName, BTreeSet<TargetId>>,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        for other in self.config.credentials.iter().filter(|other| other.name != *name) {
            if !selected.contains_key(&other.name)
                && let Some(theirs) = self.kept_by(other, mine).await
            {
                selected.insert(other.name.clone(), theirs);
            }
            let shared = selected.get(&other.name).into_iter().flatten().filter(|id| mine.contains(*id));
            problems.extend(shared.map(|id| target_shared(&[name, &other.name], id)));
        }
        problems
    }

    /// The preflight of a credential that is going to plan; `None` where it will not.
    async fn preflight_of(&self, credential: &Credential, principal: &Principal, goal: Goal) -> Result<Option<Preflight>, Error> {
        let state_key = self.state_key().await?;
        let (_, state) = read(self.state().await?, principal.application_id.as_str(), state_key, true).await?;
        let now = self.surroundings.clock.now();
        let will_plan = state.quarantine.is_none()
            && state.open.is_none()
            && match goal {
                Goal::Reapply { .. } => state.current.is_some(),
                Goal::Rollback | Goal::Revoke => false,
                Goal::Step(step) => step == LedStep::CreateSecret,
                Goal::Rotate { force } => {
                    // With nothing due it is looked whether targets were added.
                    state.current.is_some() || due(&state, &policy(credential, &self.config.state), None, force, now).due
                }
            };
        if !will_plan || credential.targets.is_none() {
            return Ok(None);
        }
        let workspaces = self.workspaces(credential)?;
        let targets = self.targets(credential)?;
        Box::pin(preflight::preflight(credential, &workspaces, Some(principal), targets.as_ref())).await.map(Some)
    }

    /// What `other` was last planned with and still selects, if any of it is among `wanted`. A journal that cannot be read is
    /// its own credential's trouble.
    async fn kept_by(&self, other: &Credential, wanted: &BTreeSet<TargetId>) -> Option<BTreeSet<TargetId>> {
        let state = match self.last_state(other).await {
            Ok(state) => state,
            Err(error) => {
                warn!(credential = %other.name, code = error.code(), "could not see which targets it keeps");
                return None;
            }
        };
        let planned: BTreeSet<TargetId> = state
            .holders
            .iter()
            .filter(|(_, holder)| holder.planned && holder.spec.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        if planned.is_disjoint(wanted) {
            return None;
        }
        // What an open rotation has frozen it will write, whatever the rows say now.
        if state.open.is_some() {
            return Some(planned);
        }
        match self.selected_by(other).await {
            Ok(selected) => Some(selected),
            Err(error) => {
                warn!(credential = %other.name, code = error.code(), "could not see what it selects now");
                Some(planned)
            }
        }
    }

    pub(super) async fn last_state(&self, credential: &Credential) -> Result<State, Error> {
        let store = self.state().await?;
        match self.journal_name(Arc::clone(&store), credential).await? {
            Some(name) => Ok(read(Arc::clone(&store), &name, self.state_key().await?, true).await?.1),
            None => Ok(State::default()),
        }
    }

    async fn selected_by(&self, credential: &Credential) -> Result<BTreeSet<TargetId>, Error> {
        let (Some(targets), Some(wanted)) = (self.targets(credential)?, &credential.targets) else {
            return Ok(BTreeSet::new());
        };
        let hosts: Vec<_> = self.workspaces(credential)?.into_keys().collect();
        let selection = inventory::select(&targets.powerbi, &targets.fabric, &hosts, wanted).await?;
        Ok(selection.targets.into_iter().map(|target| target.id).collect())
    }
}

/// The targets that a preflight found.
pub(super) fn targets_of(preflight: &Preflight) -> BTreeSet<TargetId> {
    preflight.selection.targets.iter().map(|target| target.id.clone()).collect()
}

/// Why a target may not be written by either.
fn target_shared(names: &[&CredentialName; 2], id: &TargetId) -> Problem {
    Problem::new("target-shared", format!("`{}` and `{}` select the same target `{id}`", names[0], names[1]))
        .hint("a data source holds one credential: narrow `select` so that each target belongs to one credential")
}
