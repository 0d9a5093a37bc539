//! Inventory: which data sources a credential's rows select, what must be true before they can be written, and what else
//! uses the same host and cannot be covered.
//!
//! The walk asks each question once and shares the answer between rows. Everything after it is a pure function of what
//! was seen, so the result is the same whatever the order of the answers.

mod beyond;
mod connections;
mod decide;
mod discover;
mod mapped;
mod ownership;
mod rows;
mod walk;

#[cfg(test)]
mod tests;

use futures::future::join;

pub use beyond::beyond;
pub use discover::{By, ListRow, SeenSource, Survey};

use crate::clients::fabric::Fabric;
use crate::clients::powerbi::PowerBi;
use crate::config;
use crate::error::{Error, Problem};
use crate::ids::Workspace;
use crate::targets::TargetSpec;
use connections::Connections;
use decide::Decided;
use rows::{Hosts, Matched};
use walk::Walk;

/// What the rows select.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The targets, sorted by id; those that a problem speaks of included.
    pub targets: Vec<TargetSpec>,
    /// What uses the same host and is not covered, sorted by id.
    pub left: Vec<Left>,
    /// What must be mended before anything is minted.
    pub problems: Vec<Problem>,
}

/// Something that is not covered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// A target's id, or `dataset:ID`, `workspace:ID`, `gateway:ID`.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Selects the targets of one credential among what the identity of these clients can see. Reads only. What the identity may
/// not see is left or a problem; an error is a service that does not answer.
pub async fn select(
    powerbi: &PowerBi,
    fabric: &Fabric,
    workspaces: &[Workspace],
    targets: &config::Targets,
) -> Result<Selection, Error> {
    let hosts = Hosts::Of(workspaces);
    let (walk, connections) =
        join(Walk::run(powerbi, hosts, &targets.select, &[]), Connections::begin(fabric, &targets.select)).await;
    let (walk, mut connections) = (walk?, connections?);
    if rows::names_unknown_gateway(&walk, &targets.select) {
        connections.find_networks(fabric).await?;
    }
    let matched = Matched::new(&walk, &connections, hosts, &targets.select);
    connections.read(fabric, matched.unexplained(&walk)).await?;
    connections.read_members(fabric, matched.sealed_by_member(&connections)).await?;
    let mut decided = Decided::new(&walk, matched, &connections, targets);
    if decided.has_cloud() {
        let known_as = powerbi.signer().known_as().await?;
        let foreign = ownership::foreign(&decided.targets, &known_as);
        connections.read(fabric, ownership::neighbours(&walk, &decided.targets, &foreign, targets.take_over)).await?;
        let problems = ownership::settle(&walk, &connections, &mut decided.targets, &foreign, targets.take_over);
        decided.add(problems);
    }
    Ok(decided.finish(&targets.select))
}
