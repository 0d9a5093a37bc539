//! What a take-over makes of the places in the plan: data sources that stay, that are replaced, that are left bare.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Holder, State};
use crate::ids::{DatasetId, TargetId};
use crate::rotation::event::TakenOver;
use crate::targets::{DatasetRef, TargetSpec};

impl State {
    /// Notes which places may have to wait for which take-overs: one without its dataset's goes on to its next dataset's.
    pub(super) fn plan_take_overs(&mut self) {
        let specs = self.places().filter_map(|(id, holder)| Some((id, holder.spec.as_ref()?)));
        let waiting = specs.filter(|(_, spec)| spec.take_over.is_some());
        let users = waiting.flat_map(|(id, spec)| spec.datasets.iter().map(|user| (user.id.clone(), id.clone())));
        let mut take_overs: Vec<(DatasetId, TargetId)> = users.collect();
        take_overs.sort_unstable();
        self.take_overs = Arc::new(take_overs);
    }

    pub(super) fn taken_over(&mut self, at: Timestamp, results: &[TakenOver]) {
        self.taking_over.clear();
        for result in results {
            let before = self.waiting_for(&result.dataset.id);
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

    /// The places that can't be written before this dataset is taken over.
    fn waiting_for(&self, dataset: &DatasetId) -> Vec<TargetId> {
        let first = self.take_overs.partition_point(|(known, _)| known < dataset);
        let users = self.take_overs[first..].iter().take_while(|(known, _)| known == dataset).map(|(_, id)| id);
        users.filter(|id| self.place(id).is_some_and(|holder| holder.take_over() == Some(dataset))).cloned().collect()
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
            holder.wave = None;
            self.leave_waves(id);
        }
    }

    pub(super) fn leave_waves(&mut self, id: &TargetId) {
        let waves = self.open.iter_mut().flat_map(|open| open.waves.iter_mut());
        for wave in waves.filter(|wave| wave.contains(id)) {
            Arc::make_mut(wave).remove(id);
        }
    }

    fn join_plan(&mut self, spec: &TargetSpec, number: usize) {
        let holder = self.holder_of(&spec.id);
        holder.spec = Some(Arc::new(spec.clone()));
        holder.bare = true;
        if holder.wave.is_none()
            && let Some(wave) = self.open.as_mut().and_then(|open| open.waves.get_mut(number))
        {
            Arc::make_mut(wave).insert(spec.id.clone());
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
