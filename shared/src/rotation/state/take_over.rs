//! What a take-over makes of the places in the plan: data sources that stay, that are replaced, that are left bare.

use jiff::Timestamp;

use super::State;
use crate::ids::TargetId;
use crate::rotation::event::TakenOver;
use crate::targets::{DatasetRef, TargetSpec};

impl State {
    pub(super) fn taken_over(&mut self, at: Timestamp, results: &[TakenOver]) {
        self.taking_over.clear();
        for result in results {
            let users = self.holders.iter().filter(|(_, holder)| {
                holder.spec.as_ref().is_some_and(|spec| spec.take_over.as_ref() == Some(&result.dataset.id))
            });
            let before: Vec<TargetId> = users.map(|(id, _)| id.clone()).collect();
            if let Some(problem) = &result.problem {
                for id in &before {
                    self.fail(id, at, Some(problem));
                }
                continue;
            }
            let wave =
                self.open.as_ref().and_then(|open| open.waves.iter().position(|wave| wave.iter().any(|id| before.contains(id))));
            for id in before.iter().filter(|id| !result.targets.iter().any(|spec| spec.id == **id)) {
                self.rebound(id, &result.dataset);
            }
            for spec in &result.targets {
                self.join_plan(spec, wave.unwrap_or(0));
            }
        }
    }

    /// A take-over gave the dataset another data source. The old one stays with its other datasets, of which the next is
    /// taken over in turn; without any it leaves the plan, and what it may hold still gates.
    fn rebound(&mut self, id: &TargetId, dataset: &DatasetRef) {
        let Some(holder) = self.holders.get_mut(id) else { return };
        holder.failures = None;
        let Some(spec) = &mut holder.spec else { return };
        spec.datasets.retain(|user| user.id != dataset.id);
        spec.take_over = spec.datasets.first().map(|user| user.id.clone());
        if spec.take_over.is_none() {
            holder.planned = false;
            for wave in self.open.iter_mut().flat_map(|open| open.waves.iter_mut()) {
                wave.retain(|target| target != id);
            }
        }
    }

    fn join_plan(&mut self, spec: &TargetSpec, wave: usize) {
        let holder = self.holder_of(&spec.id);
        holder.spec = Some(spec.clone());
        holder.bare = true;
        if let Some(open) = &mut self.open
            && !open.waves.iter().flatten().any(|id| *id == spec.id)
            && let Some(wave) = open.waves.get_mut(wave)
        {
            wave.push(spec.id.clone());
        }
    }
}
