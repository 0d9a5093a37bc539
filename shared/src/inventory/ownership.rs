//! Cloud sources are written by the owner of a dataset that uses them. Whose they are, and which dataset is taken over
//! where that is allowed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::connections::Connections;
use super::walk::Walk;
use crate::clients::powerbi::DatasetSource;
use crate::config::TakeOver;
use crate::error::Problem;
use crate::ids::{DatasetId, DatasourceId, GroupId, TargetId};
use crate::targets::condition::{Ownership, Reach};
use crate::targets::{DatasetRef, TargetKind, TargetSpec};

/// Cloud targets of which every dataset is known to be somebody else's.
pub(super) fn foreign(targets: &BTreeMap<TargetId, TargetSpec>, known_as: &[String]) -> BTreeSet<TargetId> {
    let is_foreign = |target: &&TargetSpec| {
        target.kind == TargetKind::Cloud
            && target.datasets.iter().all(|dataset| Ownership::of(dataset.owner.as_deref(), known_as) == Ownership::Other)
    };
    targets.values().filter(is_foreign).map(|target| target.id.clone()).collect()
}

/// Other data sources of datasets that may be taken over, of which only Fabric can tell whether they are cloud sources.
pub(super) fn neighbours(
    walk: &Walk,
    targets: &BTreeMap<TargetId, TargetSpec>,
    foreign: &BTreeSet<TargetId>,
    take_over: TakeOver,
) -> BTreeSet<DatasourceId> {
    if take_over == TakeOver::Never {
        return BTreeSet::new();
    }
    let datasets = foreign.iter().filter_map(|id| targets.get(id)).flat_map(|target| &target.datasets);
    datasets.flat_map(|dataset| others(walk, targets, dataset)).filter_map(|source| source.datasource.clone()).collect()
}

/// Chooses what is taken over for the foreign targets, the same on every run; what cannot be had is a problem.
pub(super) fn settle(
    walk: &Walk,
    connections: &Connections,
    targets: &mut BTreeMap<TargetId, TargetSpec>,
    foreign: &BTreeSet<TargetId>,
    take_over: TakeOver,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut chosen: BTreeSet<(GroupId, DatasetId)> = BTreeSet::new();
    for id in foreign {
        let Some(target) = targets.get(id) else { continue };
        let is_safe = |dataset: &&DatasetRef| {
            !others(walk, targets, dataset).any(|source| {
                let said = source.datasource.as_ref().and_then(|source| connections.get(source));
                matches!(Reach::of(None, said), Reach::Cloud | Reach::Unknown)
            })
        };
        // One take-over may serve several targets.
        let mut datasets: Vec<_> = target.datasets.iter().collect();
        datasets.sort_by_key(|dataset| (!chosen.contains(&key(dataset)), key(dataset)));
        let safe = datasets.iter().copied().find(is_safe);
        let choice = match take_over {
            TakeOver::Never => Err(not_owner(target)),
            // It may stand on a virtual network, where a take-over would be for nothing.
            TakeOver::Allowed | TakeOver::Always if connections.is_closed => Err(no_fabric_right(target)),
            TakeOver::Allowed => safe.ok_or_else(|| take_over_unsafe(target)),
            TakeOver::Always => safe.or_else(|| datasets.first().copied()).ok_or_else(|| not_owner(target)),
        };
        match choice {
            Ok(dataset) => {
                let (key, dataset) = (key(dataset), dataset.id.clone());
                chosen.insert(key);
                if let Some(target) = targets.get_mut(id) {
                    target.take_over = Some(dataset);
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    problems
}

fn key(dataset: &DatasetRef) -> (GroupId, DatasetId) {
    (dataset.group.clone(), dataset.id.clone())
}

/// The bound sources of a dataset that are neither targets nor on a gateway that the identity administers.
fn others<'a>(
    walk: &'a Walk,
    targets: &'a BTreeMap<TargetId, TargetSpec>,
    dataset: &DatasetRef,
) -> impl Iterator<Item = &'a DatasetSource> {
    let sources = walk.sources.get(&key(dataset)).and_then(Option::as_ref);
    sources.into_iter().flatten().filter(|source| match (&source.gateway, &source.datasource) {
        (Some(gateway), Some(datasource)) => {
            !walk.gateways.contains_key(gateway) && !targets.contains_key(&TargetId::powerbi(gateway, datasource))
        }
        (None, None) => false,
        // Half an answer: bound to something that cannot be told.
        (Some(_), None) | (None, Some(_)) => true,
    })
}

fn not_owner(target: &TargetSpec) -> Problem {
    let datasets: Vec<_> = target.datasets.iter().map(described).collect();
    let message = format!("`{}` can be written by the owner of a dataset only: {}", target.id, datasets.join("; "));
    Problem::new("not-owner", message)
        .hint("have the identity take over the dataset in its settings, set targets.take_over: true, or make it an owner of the connection and select that by `{ connection: ID }`")
}

pub(super) fn no_fabric_right(target: &TargetSpec) -> Problem {
    let message = format!(
        "how `{}` is reached, and its privacy level, can be read through Fabric only, which is closed to the identity",
        target.id
    );
    Problem::new("no-fabric-right", message).hint(
        "let service principals call Fabric APIs (Fabric admin portal, Tenant settings, Developer settings); where it is a cloud data source of the identity's own dataset, targets.privacy_level will do",
    )
}

fn take_over_unsafe(target: &TargetSpec) -> Problem {
    let datasets: Vec<_> = target.datasets.iter().map(described).collect();
    let message = format!(
        "taking over a dataset for `{}` would cut its other cloud sources off from their owner's credentials: {}",
        target.id,
        datasets.join("; ")
    );
    Problem::new("take-over-unsafe", message).hint(
        "have the identity take over the dataset in its settings and enter the other credentials there, or set targets.take_over: always",
    )
}

fn described(dataset: &DatasetRef) -> String {
    let owner = dataset.owner.as_deref().unwrap_or("nobody");
    format!("dataset `{}` in workspace `{}`, owned by `{owner}`", dataset.name, dataset.workspace)
}
