//! Refreshes of a plan's datasets, and what they say of its targets.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Holder, State};
use crate::ids::{DatasetId, TargetId};
use crate::report::RefreshOutcome;
use crate::rotation::event::{Planned, RefreshAsked};
use crate::rotation::refresh::{RefreshFate, RefreshResult, RefreshState};

impl State {
    pub(super) fn plan_refreshes(&mut self, plan: &Planned) {
        let wanted = plan.refresh.iter().cloned();
        let states = wanted.map(|wanted| RefreshState { wanted, fate: RefreshFate::Wanted, credential_failures: 0 });
        self.refreshes = states.map(|state| (state.wanted.dataset.clone(), state)).collect();
    }

    pub(super) fn refreshes_asked(&mut self, at: Timestamp, asked: &[RefreshAsked]) -> Result<(), &'static str> {
        for RefreshAsked { dataset, before } in asked {
            let state = self.refreshes.get_mut(dataset).ok_or("a dataset is refreshed that the plan does not name")?;
            if state.fate != RefreshFate::Wanted {
                return Err("a dataset is refreshed twice");
            }
            state.fate = RefreshFate::Asked { at, before: before.clone() };
        }
        Ok(())
    }

    pub(super) fn refreshes_started(&mut self, datasets: &[DatasetId]) -> Result<(), &'static str> {
        for dataset in datasets {
            let state = self.refreshes.get_mut(dataset).ok_or("a refresh has started that nobody asked for")?;
            let RefreshFate::Asked { at, before } = state.fate.clone() else {
                return Err("a refresh has started that nobody asked for");
            };
            state.fate = match state.wanted.wait {
                true => RefreshFate::Started { at, before },
                false => RefreshFate::Over(RefreshOutcome::Started),
            };
        }
        Ok(())
    }

    pub(super) fn refreshes_ended(&mut self, at: Timestamp, results: &[RefreshResult]) {
        let users = self.users_moved_by_plan(results);
        for result in results {
            let Some(state) = self.refreshes.get_mut(&result.dataset) else { continue };
            // A credential that does not work is sent again, and then the dataset is refreshed again.
            state.fate = if result.credential { RefreshFate::Wanted } else { RefreshFate::Over(result.outcome) };
            state.credential_failures += u32::from(result.credential);
            for id in users.get(&result.dataset).into_iter().flatten() {
                if !self.place(id).is_some_and(|holder| self.was_moved_by_plan(holder)) {
                    continue;
                }
                if result.credential {
                    self.fail(id, at, result.problem.as_ref());
                }
                if let Some(holder) = self.holder_mut(id) {
                    match result.credential {
                        true => holder.done = None,
                        false => holder.failures = None,
                    }
                }
            }
        }
    }

    /// Whether a refresh of a dataset that uses this target could not sign in, and none has since.
    pub(super) fn has_failed_to_refresh(&self, target: &TargetId) -> bool {
        let spec = self.place(target).and_then(|holder| holder.spec.as_ref());
        spec.iter()
            .flat_map(|spec| &spec.datasets)
            .filter_map(|dataset| self.refreshes.get(&dataset.id))
            .any(|refresh| refresh.credential_failures > 0 && !matches!(refresh.fate, RefreshFate::Over(_)))
    }

    /// Targets that the open plan has moved and these datasets use, by dataset: found in one look through all places.
    fn users_moved_by_plan<'a>(&self, results: &'a [RefreshResult]) -> BTreeMap<&'a DatasetId, Vec<TargetId>> {
        let mut users: BTreeMap<&DatasetId, Vec<TargetId>> = results.iter().map(|result| (&result.dataset, Vec::new())).collect();
        for (id, holder) in self.places().filter(|(_, holder)| self.was_moved_by_plan(holder)) {
            for used in holder.spec.iter().flat_map(|spec| &spec.datasets) {
                if let Some(users) = users.get_mut(&used.id).filter(|users| users.last() != Some(id)) {
                    users.push(id.clone());
                }
            }
        }
        users
    }

    fn was_moved_by_plan(&self, holder: &Holder) -> bool {
        let moved = self.open.as_ref().and_then(|open| Some((open.number, open.generation?)));
        moved.is_some() && holder.done == moved
    }
}
