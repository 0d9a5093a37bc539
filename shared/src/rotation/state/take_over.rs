//! What a take-over makes of the places in the plan: data sources that stay, that are replaced, that are left bare.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Holder, State};
use crate::ids::{DatasetId, TargetId};
use crate::rotation::event::TakenOver;
use crate::targets::{DatasetRef, TargetSpec};

impl State {
    /// Walks through the places once, however many datasets were taken over.
    pub(super) fn taken_over(&mut self, at: Timestamp, results: &[TakenOver]) {
        self.taking_over.clear();
        let taken: BTreeSet<&DatasetId> = results.iter().map(|result| &result.dataset.id).collect();
        let users = self.places().filter(|(_, holder)| holder.take_over().is_some_and(|dataset| taken.contains(dataset)));
        let mut concerned: BTreeSet<TargetId> = users.map(|(id, _)| id.clone()).collect();
        concerned.extend(results.iter().flat_map(|result| result.targets.iter().map(|spec| spec.id.clone())));
        for result in results {
            let uses = |id: &&TargetId| self.place(id).is_some_and(|holder| holder.take_over() == Some(&result.dataset.id));
            let before: Vec<TargetId> = concerned.iter().filter(uses).cloned().collect();
            if let Some(problem) = &result.problem {
                for id in &before {
                    self.fail(id, at, Some(problem));
                }
                continue;
            }
            let wave = before.iter().filter_map(|id| self.place(id)?.wave).min().unwrap_or(0);
            for id in before.iter().filter(|id| !result.targets.iter().any(|spec| spec.id == **id)) {
                self.rebound(id, &result.dataset);
            }
            for spec in &result.targets {
                self.join_plan(spec, wave);
            }
        }
    }

    /// A take-over gave the dataset another data source. The old one stays with its other datasets, of which the next is
    /// taken over in turn; without any it leaves the plan, and what it may hold still gates.
    fn rebound(&mut self, id: &TargetId, dataset: &DatasetRef) {
        let Some(holder) = self.holder_mut(id) else { return };
        holder.failures = None;
        let Some(spec) = holder.spec.as_mut().map(Arc::make_mut) else { return };
        spec.datasets.retain(|user| user.id != dataset.id);
        spec.take_over = spec.datasets.first().map(|user| user.id.clone());
        if spec.take_over.is_none() {
            holder.planned = false;
            let wave = holder.wave.take().and_then(|number| self.open.as_mut()?.waves.get_mut(number));
            if let Some(wave) = wave {
                wave.retain(|target| target != id);
            }
        }
    }

    fn join_plan(&mut self, spec: &TargetSpec, number: usize) {
        let holder = self.holder_of(&spec.id);
        holder.spec = Some(Arc::new(spec.clone()));
        holder.bare = true;
        if holder.wave.is_none()
            && let Some(wave) = self.open.as_mut().and_then(|open| open.waves.get_mut(number))
        {
            wave.push(spec.id.clone());
            self.holder_of(&spec.id).wave = Some(number);
        }
    }
}

impl Holder {
    /// The dataset that is to be taken over before this place can be written.
    fn take_over(&self) -> Option<&DatasetId> {
        self.spec.as_ref()?.take_over.as_ref()
    }
}
