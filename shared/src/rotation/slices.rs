//! Slices of a wave that is sent out: how it is cut, and what its workers' results come to. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::{Fate, WaveResult};
use super::state::Wave;
use crate::ids::{Generation, RunnerId, TargetId};
use crate::journal::note::Note;

/// Targets of one slice; what fits into one is not sent out.
pub const SLICE_TARGETS: u32 = 32;
/// Slices of one wave: as many as a lease is long enough for. The targets beyond come with the next one.
const SLICES_MAX: usize = 64;

/// What one delivery of one slice came to. An object of its own, created once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceResult {
    /// What was sent.
    pub generation: Generation,
    /// The number of the entry that began the wave.
    pub wave: u64,
    /// Counted from 0.
    pub slice: u32,
    /// The lease that it was written under.
    pub epoch: u64,
    /// Who wrote.
    pub by: RunnerId,
    /// One for each target of the slice.
    pub results: Vec<WaveResult>,
}

/// What the results at hand come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// One for each target that was heard of.
    pub results: Vec<WaveResult>,
    /// Of the objects that they were taken from.
    pub hashes: Vec<String>,
    /// Slices that nothing was heard of.
    pub missing: Vec<u32>,
}

/// As much of these targets as is sent out at once.
pub fn cut(mut targets: Vec<TargetId>) -> Vec<TargetId> {
    targets.truncate(SLICES_MAX * usize::try_from(SLICE_TARGETS).unwrap_or(usize::MAX));
    targets
}

/// Puts results together. Of several for one target, from a slice that was delivered more than once, the one counts that
/// says most: what was moved by one holds the generation, whatever another met with.
pub fn count(wave: &Wave, epoch: u64, notes: &[Note<SliceResult>]) -> Counted {
    let slices: Vec<&[TargetId]> = wave.slices().collect();
    let mut best: BTreeMap<&TargetId, &WaveResult> = BTreeMap::new();
    let mut heard = BTreeSet::new();
    let mut hashes = Vec::new();
    for Note { body, hash } in notes {
        let ours = (body.generation, body.wave, body.epoch) == (wave.generation, wave.number, epoch);
        let of = usize::try_from(body.slice).ok().and_then(|slice| slices.get(slice));
        if !ours || !of.is_some_and(|targets| covers(&body.results, targets)) {
            continue;
        }
        heard.insert(body.slice);
        hashes.push(hash.clone());
        for result in &body.results {
            let kept = best.entry(&result.target).or_insert(result);
            if (weight(result.fate), result.at) > (weight(kept.fate), kept.at) {
                *kept = result;
            }
        }
    }
    let missing = (0..).take(slices.len()).filter(|slice| !heard.contains(slice)).collect();
    Counted { results: best.into_values().cloned().collect(), hashes, missing }
}

/// Whether there is one result for each target, and no other.
fn covers(results: &[WaveResult], targets: &[TargetId]) -> bool {
    let told: BTreeSet<&TargetId> = results.iter().map(|result| &result.target).collect();
    results.len() == targets.len() && told == targets.iter().collect()
}

fn weight(fate: Fate) -> u8 {
    match fate {
        Fate::NotTried => 0,
        Fate::Busy => 1,
        Fate::NotWritten => 2,
        Fate::Refused => 3,
        Fate::Unknown => 4,
        Fate::Moved => 5,
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn wave() -> Wave {
        let targets = ["a", "b", "c"].map(TargetId::new).to_vec();
        Wave { number: 7, began: Timestamp::UNIX_EPOCH, generation: Generation(2), targets, slice_size: Some(2) }
    }

    fn note(slice: u32, fates: &[(&str, Fate, i64)]) -> Note<SliceResult> {
        let result = |(target, fate, at): &(&str, Fate, i64)| WaveResult {
            target: TargetId::new(*target),
            at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(*at),
            fate: *fate,
            earlier_may_land: false,
            problem: None,
        };
        let results = fates.iter().map(result).collect();
        let body = SliceResult { generation: Generation(2), wave: 7, slice, epoch: 5, by: RunnerId::new("w"), results };
        Note { hash: format!("{slice}{fates:?}"), body }
    }

    fn fates(counted: &Counted) -> Vec<(&str, Fate, i64)> {
        counted.results.iter().map(|result| (result.target.as_str(), result.fate, result.at.as_second())).collect()
    }

    #[test]
    fn so_much_is_sent_out_at_once_as_a_lease_is_long_enough_for() {
        let targets = |count: usize| (0..count).map(|number| TargetId::new(number.to_string())).collect::<Vec<_>>();
        assert_eq!(cut(targets(33)), targets(33));
        assert_eq!(cut(targets(2_049)), targets(2_048));
    }

    #[test]
    fn a_slice_that_was_delivered_twice_counts_by_what_says_most() {
        let notes = [
            note(0, &[("a", Fate::Moved, 1), ("b", Fate::NotTried, 1)]),
            note(0, &[("a", Fate::Refused, 2), ("b", Fate::Unknown, 2)]),
            note(0, &[("a", Fate::NotTried, 3), ("b", Fate::Unknown, 3)]),
        ];
        let counted = count(&wave(), 5, &notes);
        assert_eq!(fates(&counted), [("a", Fate::Moved, 1), ("b", Fate::Unknown, 3)]);
        assert_eq!((counted.hashes.len(), counted.missing), (3, vec![1]));
    }

    #[test]
    fn what_is_of_another_wave_epoch_or_slice_does_not_count() {
        let of = |change: fn(&mut SliceResult)| {
            let mut note = note(1, &[("c", Fate::Moved, 1)]);
            change(&mut note.body);
            count(&wave(), 5, &[note]).missing
        };
        assert_eq!(of(|_| {}), [0]);
        for change in [
            |body: &mut SliceResult| body.wave = 6,
            |body: &mut SliceResult| body.epoch = 4,
            |body: &mut SliceResult| body.generation = Generation(1),
            |body: &mut SliceResult| body.slice = 0,
            |body: &mut SliceResult| body.slice = 2,
            |body: &mut SliceResult| body.results.clear(),
            |body: &mut SliceResult| body.results.push(body.results[0].clone()),
        ] {
            assert_eq!(of(change), [0, 1]);
        }
    }
}
