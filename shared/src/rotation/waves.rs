//! Which targets move first. Pure: the same targets and config give the same waves, in every run and on every machine.
//!
//! The order is that of a hash over credential and target, and not over the generation: the same few data sources go first
//! in every rotation, so that people know which reports to look at, and a data source that is added moves no other one from
//! its wave but across a percentage's edge.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::state::State;
use crate::config::{Credential, WaveSize};
use crate::ids::{CredentialName, TargetId};
use crate::targets::TargetSpec;

/// The waves of a rotation that is planned now. Parked targets, and those that failed last, are never canaries.
pub fn planned(state: &State, credential: &Credential, targets: Vec<TargetSpec>) -> Vec<Vec<Arc<TargetSpec>>> {
    let sizes = credential.targets.as_ref().map_or(&[][..], |targets| &targets.waves);
    let failing = state.places().filter(|(_, holder)| holder.failures.is_some());
    let last = failing.map(|(id, _)| id.clone()).collect();
    split(&credential.name, sizes, targets.into_iter().map(Arc::new).collect(), &last)
}

/// Splits targets into waves. `last` go with the last one: what has failed of late proves nothing about a new secret.
pub fn split(
    credential: &CredentialName,
    sizes: &[WaveSize],
    mut targets: Vec<Arc<TargetSpec>>,
    last: &BTreeSet<TargetId>,
) -> Vec<Vec<Arc<TargetSpec>>> {
    targets.sort_by_cached_key(|target| (last.contains(&target.id), rank(credential, &target.id), target.id.clone()));
    let total = targets.len();
    let fit = total - targets.iter().filter(|target| last.contains(&target.id)).count();
    let mut waves = Vec::new();
    let mut taken = 0;
    for size in sizes {
        let end = match size {
            WaveSize::Percent(100) => total,
            WaveSize::Percent(percent) => (total * *percent as usize).div_ceil(100).min(fit),
            WaveSize::Count(count) => (*count as usize).min(fit),
        };
        if end > taken {
            waves.push(targets.drain(..end - taken).collect());
            taken = end;
        }
    }
    if !targets.is_empty() || waves.is_empty() {
        waves.push(targets);
    }
    waves
}

fn rank(credential: &CredentialName, target: &TargetId) -> Vec<u8> {
    digest::digest(&digest::SHA256, format!("{credential}\n{target}").as_bytes()).as_ref().to_vec()
}
