//! Whether a dataset that uses a target is being refreshed right now: then the target is left until that has ended, within a
//! bound. Both secrets live, so a refresh in the middle is a nuisance and no outage: what cannot be seen is not waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use tokio::sync::OnceCell;

use crate::error::Problem;
use crate::ids::{DatasetId, TargetId};
use crate::rotation::drive::Run;
use crate::rotation::event::PlanKind;
use crate::rotation::next::past;
use crate::rotation::refresh;
use crate::targets::{DatasetRef, PowerBiTargets};

/// A target that has been left for this long is written all the same.
const LEFT_AT_MOST: SignedDuration = SignedDuration::from_hours(1);
/// Datasets asked about for one target.
const DATASETS_ASKED_MAX: usize = 8;

/// What one wave has seen: several targets may belong to one dataset.
#[derive(Default)]
pub(super) struct Looks(Mutex<BTreeMap<DatasetId, Arc<OnceCell<bool>>>>);

impl Run<'_> {
    /// Why this target is left for now.
    pub(super) async fn in_the_way(&self, targets: &PowerBiTargets, id: &TargetId, looks: &Looks) -> Option<Problem> {
        let holder = self.state.place(id)?;
        let patient = match self.state.open.as_ref()?.plan.kind {
            PlanKind::Rotate | PlanKind::Reapply | PlanKind::Join => !holder.bare,
            // Somebody is in a hurry.
            PlanKind::Rollback | PlanKind::Revoke => false,
        };
        let left_long = holder.busy.as_ref().is_some_and(|busy| past(busy.since, LEFT_AT_MOST) <= self.ports.clock.now());
        if !patient || left_long {
            return None;
        }
        for dataset in holder.spec.as_ref()?.datasets.iter().take(DATASETS_ASKED_MAX) {
            if self.is_refreshing(targets, dataset, looks).await {
                let message = format!(
                    "dataset `{}` (`{}`) is being refreshed; `{id}` is left until that has ended",
                    dataset.name, dataset.id
                );
                return Some(Problem::new("model-refreshing", message));
            }
        }
        None
    }

    async fn is_refreshing(&self, targets: &PowerBiTargets, dataset: &DatasetRef, looks: &Looks) -> bool {
        let cell = {
            let mut looks = looks.0.lock().expect("no code panics while it holds the looks");
            Arc::clone(looks.entry(dataset.id.clone()).or_default())
        };
        let look = || async {
            let history = targets.powerbi.refreshes(&dataset.group, &dataset.id, 1).await.unwrap_or_default();
            refresh::in_the_way(history.first(), self.ports.clock.now())
        };
        *cell.get_or_init(look).await
    }
}
