//! What a row of the mapping list means: one data source, by its name or id, its place, and maybe its gateway. Names are
//! compared exactly. Problems begin with the row's file and line. Pure.

use super::connections::Connections;
use super::rows::{Candidate, Hosts, Matched, is_named};
use super::walk::Walk;
use crate::config::mapping::MappedRow;
use crate::error::Problem;
use crate::ids::{DatasourceId, WarehouseId, Workspace};

impl Matched {
    pub(super) fn mapped(
        &mut self,
        walk: &Walk,
        connections: &Connections,
        hosts: Hosts<'_>,
        (row, wanted): (usize, &MappedRow),
    ) {
        match self.find(walk, connections, hosts, wanted) {
            Ok(source) => self.name(row, |candidate| candidate.datasource == source),
            Err(mut problem) => {
                problem.message = format!("{}: {}", wanted.at, problem.message);
                self.answer(row, problem);
            }
        }
    }

    fn find(
        &self,
        walk: &Walk,
        connections: &Connections,
        hosts: Hosts<'_>,
        wanted: &MappedRow,
    ) -> Result<DatasourceId, Problem> {
        let MappedRow { source, workspace, warehouse, .. } = wanted;
        if let Hosts::Of(workspaces) = hosts
            && !workspaces.contains(workspace)
        {
            let message = format!("{} is none of the credential's workspaces", workspace.host());
            let known: Vec<&str> = workspaces.iter().map(Workspace::host).collect();
            return Err(Problem::new("mapping-workspace", message)
                .hint(format!("it has {}; correct the row, or add the workspace to `also_workspaces`", known.join(", "))));
        }
        let called = |candidate: &&Candidate| {
            is_named(source, candidate.datasource.as_str(), name(candidate, connections))
                && wanted.gateway.as_ref().is_none_or(|gateway| is_on(candidate, gateway, walk, connections))
        };
        let called: Vec<&Candidate> = self.candidates.values().filter(called).collect();
        let there = |candidate: &&&Candidate| is_at(candidate, workspace.host(), warehouse);
        let found: Vec<&&Candidate> = called.iter().filter(there).collect();
        match (&found[..], &called[..]) {
            ([one], _) => Ok(one.datasource.clone()),
            ([], []) => {
                let on = wanted.gateway.as_ref().map_or_else(String::new, |gateway| format!(" on gateway `{gateway}`"));
                let message = format!("the identity sees no data source `{source}`{on} on the credential's workspaces");
                Err(Problem::new("datasource-not-found", message)
                    .hint("check the name (it is compared exactly), or write the id"))
            }
            ([], elsewhere) => {
                let places: Vec<String> = elsewhere.iter().map(|candidate| described(candidate)).collect();
                let message = format!("data source `{source}` connects elsewhere than the row says: {}", places.join("; "));
                Err(Problem::new("mapping-place", message).hint("correct the columns `workspace` and `warehouse`"))
            }
            (several, _) => {
                let ids: Vec<String> = several.iter().map(|candidate| described(candidate)).collect();
                let message = format!("{} data sources are called `{source}` there: {}", several.len(), ids.join("; "));
                Err(Problem::new("datasource-ambiguous", message)
                    .hint("fill in the column `gateway`, or write the id of the one that is meant"))
            }
        }
    }
}

pub(super) fn is_at(candidate: &Candidate, host: &str, warehouse: &WarehouseId) -> bool {
    candidate.source.host == *host && candidate.source.warehouse.as_ref() == Some(warehouse)
}

/// As its gateway or Fabric calls it; cloud sources of Power BI have no name.
pub(super) fn name<'a>(candidate: &'a Candidate, connections: &'a Connections) -> &'a str {
    let on_gateway = candidate.on_gateway.as_ref().and_then(|source| source.name.as_deref());
    let at_fabric = || connections.get(&candidate.datasource)?.name.as_deref();
    on_gateway.or_else(at_fabric).unwrap_or_default()
}

pub(super) fn is_on(candidate: &Candidate, gateway: &str, walk: &Walk, connections: &Connections) -> bool {
    candidate.gateway.as_ref().is_some_and(|id| is_named(gateway, id.as_str(), gateway_name(id, walk, connections)))
}

pub(super) fn gateway_name<'a>(id: &crate::ids::GatewayId, walk: &'a Walk, connections: &'a Connections) -> &'a str {
    let administered = walk.gateways.get(id).and_then(|gateway| gateway.name.as_deref());
    administered.or_else(|| connections.networks.get(id).map(String::as_str)).unwrap_or_default()
}

fn described(candidate: &Candidate) -> String {
    let gateway = candidate.gateway.as_ref().map_or("none", |gateway| gateway.as_str());
    let warehouse = candidate.source.warehouse.as_ref().map_or("none", |warehouse| warehouse.as_str());
    format!("`{}` on gateway `{gateway}`, at {}, warehouse `{warehouse}`", candidate.datasource, candidate.source.host)
}
