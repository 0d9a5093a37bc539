//! Refreshes that follow a wave: started when all of a dataset's data sources have moved, then looked at ever more seldom.

use jiff::{SignedDuration, Timestamp};

use super::open::{Scene, is_over};
use super::{Step, past};
use crate::ids::DatasetId;
use crate::rotation::refresh::{RefreshFate, RefreshState};

/// Started at once.
const BATCH: usize = 64;
/// Looks, after which a run that waits for a refresh leaves it to a later one: about a quarter of an hour.
const LOOKS_MAX: u32 = 16;
/// Then it is looked again after this long.
const LATER: SignedDuration = SignedDuration::from_mins(10);

/// What the datasets need whose data sources have all moved; `None` when nothing is left to start or to wait for.
pub(super) fn follow(scene: Scene<'_>) -> Option<Step> {
    let ready = scene.state.refreshes.iter().filter(|(dataset, _)| has_moved(scene, dataset));
    let (mut to_start, mut running) = (Vec::new(), Vec::new());
    for (dataset, RefreshState { fate, .. }) in ready {
        match fate {
            RefreshFate::Wanted | RefreshFate::Asked { .. } => to_start.push(dataset.clone()),
            RefreshFate::Started { .. } => running.push(dataset.clone()),
            RefreshFate::Over(_) => {}
        }
    }
    if !to_start.is_empty() {
        to_start.truncate(BATCH);
        return Some(Step::Refresh { datasets: to_start });
    }
    if running.is_empty() {
        return None;
    }
    let until = scene.seen.polled.map_or(Timestamp::MIN, |(last, looks)| past(last, again_after(looks)));
    Some(match until <= scene.now {
        true => Step::PollRefreshes { datasets: running },
        false => {
            let count = running.len();
            Step::Wait { until, why: format!("{count} dataset{} still refreshing", if count == 1 { " is" } else { "s are" }) }
        }
    })
}

/// Whether no data source of the plan that the dataset uses is still to be moved, and one was.
fn has_moved(scene: Scene<'_>, dataset: &DatasetId) -> bool {
    let planned = scene.open.targets().filter_map(|id| scene.state.place(id));
    let mut own = planned
        .filter(|holder| holder.spec.as_ref().is_some_and(|spec| spec.datasets.iter().any(|user| user.id == *dataset)))
        .peekable();
    let mut moved = false;
    own.peek().is_some()
        && own.all(|holder| {
            let done = holder
                .done
                .is_some_and(|(number, generation)| number == scene.open.number && Some(generation) == scene.open.generation);
            moved |= done;
            done || is_over(scene, holder)
        })
        && moved
}

fn again_after(looks: u32) -> SignedDuration {
    match looks {
        0..LOOKS_MAX => SignedDuration::from_secs((5_i64 << looks.min(4)).min(60)),
        _ => LATER,
    }
}
