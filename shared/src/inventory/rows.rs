//! Which of the data sources seen each row of `select` means. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Left;
use super::walk::Walk;
use crate::clients::powerbi::{DatabricksSource, Gateway, GatewaySource};
use crate::config::Selector;
use crate::error::Problem;
use crate::ids::{DatasetId, DatasourceId, GatewayId, GroupId, TargetId, WarehouseId, Workspace};
use crate::targets::DatasetRef;

/// A data source on one of the credential's workspaces.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) gateway: GatewayId,
    pub(super) datasource: DatasourceId,
    pub(super) source: DatabricksSource,
    pub(super) datasets: Vec<DatasetRef>,
    /// As its gateway shows it, where the identity administers the gateway.
    pub(super) on_gateway: Option<GatewaySource>,
    /// Rows that select it.
    pub(super) rows: BTreeSet<usize>,
    /// Whether one of them names it or a dataset that uses it.
    pub(super) named: bool,
}

/// What the rows mean.
#[derive(Debug, Default)]
pub(super) struct Matched {
    pub(super) candidates: BTreeMap<TargetId, Candidate>,
    pub(super) left: BTreeSet<Left>,
    pub(super) problems: Vec<Problem>,
    /// Rows that a problem speaks of already.
    pub(super) answered: BTreeSet<usize>,
}

/// Whether the config's `text` means the thing with this id or name. Ids regardless of case, names exactly.
pub(super) fn is_named(text: &str, id: &str, name: &str) -> bool {
    text.eq_ignore_ascii_case(id) || text == name
}

pub(super) fn uses_workspace(source: Option<&DatabricksSource>, workspaces: &[Workspace]) -> bool {
    source.is_some_and(|source| workspaces.iter().any(|workspace| workspace.host() == source.host))
}

fn is_on(source: &DatabricksSource, warehouse: &WarehouseId) -> bool {
    source.warehouse.as_ref().is_some_and(|own| own.as_str().eq_ignore_ascii_case(warehouse.as_str()))
}

impl Matched {
    pub(super) fn new(walk: &Walk, workspaces: &[Workspace], rows: &[Selector]) -> Self {
        let mut matched = Self { candidates: candidates(walk, workspaces), ..Self::default() };
        for (row, selector) in rows.iter().enumerate() {
            match selector {
                Selector::All => matched.mark(row, |_| true),
                Selector::Warehouse(id) => matched.mark(row, |candidate| is_on(&candidate.source, id)),
                Selector::Dataset { workspace, dataset } => matched.dataset(walk, row, workspace, dataset),
                Selector::Gateway { gateway, datasource } => matched.gateway(walk, row, gateway, datasource),
            }
        }
        matched.unbound(walk, workspaces, rows);
        if rows.iter().any(|row| matches!(row, Selector::All | Selector::Warehouse(_))) {
            matched.unseen(walk);
        }
        matched.candidates.retain(|_, candidate| !candidate.rows.is_empty());
        matched
    }

    /// Candidates of which only Fabric can tell how they are reached, or what they must keep.
    pub(super) fn unexplained(&self, walk: &Walk) -> BTreeSet<DatasourceId> {
        let is_unexplained = |candidate: &&Candidate| {
            !walk.gateways.contains_key(&candidate.gateway)
                || candidate.on_gateway.as_ref().is_none_or(|source| source.privacy_level.is_none())
        };
        self.candidates.values().filter(is_unexplained).map(|candidate| candidate.datasource.clone()).collect()
    }

    fn mark(&mut self, row: usize, is_meant: impl Fn(&Candidate) -> bool) {
        for candidate in self.candidates.values_mut().filter(|candidate| is_meant(candidate)) {
            candidate.rows.insert(row);
        }
    }

    fn name(&mut self, row: usize, is_meant: impl Fn(&Candidate) -> bool) {
        for candidate in self.candidates.values_mut().filter(|candidate| is_meant(candidate)) {
            candidate.rows.insert(row);
            candidate.named = true;
        }
    }

    fn dataset(&mut self, walk: &Walk, row: usize, workspace: &str, dataset: &str) {
        let groups = walk.groups.values().map(|group| (group.id.clone(), group.id.as_str(), group.name.as_str()));
        let group = match one("workspace", workspace, groups) {
            Ok(group) => group,
            Err(problem) => {
                let hint = "give the identity the Contributor role in the workspace; new rights may take an hour to show";
                return self.answer(row, hinted(problem, hint));
            }
        };
        let Some(Some(datasets)) = walk.datasets.get(&group) else {
            let problem =
                Problem::new("workspace-unreadable", format!("the datasets of workspace `{workspace}` cannot be listed"));
            return self.answer(row, problem.hint("give the identity the Contributor role in the workspace"));
        };
        let named = datasets.iter().map(|found| (found.id.clone(), found.id.as_str(), found.name.as_str()));
        let id = match one("dataset", dataset, named) {
            Ok(id) => id,
            Err(mut problem) => {
                problem.message = format!("{} in workspace `{workspace}`", problem.message);
                return self.answer(row, hinted(problem, "check the name, or use the id from the dataset's address"));
            }
        };
        let key = (group, id);
        if !matches!(walk.sources.get(&key), Some(Some(_))) {
            let problem = Problem::new("dataset-unreadable", format!("the data sources of dataset `{dataset}` cannot be listed"));
            return self.answer(row, problem.hint("give the identity the Contributor role in the workspace"));
        }
        self.name(row, |candidate| uses(&candidate.datasets, &key));
    }

    fn gateway(&mut self, walk: &Walk, row: usize, gateway: &str, datasource: &str) {
        let name = |found: &Gateway| found.name.clone().unwrap_or_default();
        let gateways: Vec<_> = walk.gateways.values().map(|found| (found.id.clone(), name(found))).collect();
        let gateways = gateways.iter().map(|(id, name)| (id.clone(), id.as_str(), name.as_str()));
        let id = match one("gateway", gateway, gateways) {
            Ok(id) => id,
            Err(problem) => {
                return self
                    .answer(row, hinted(problem, "check the name, and that the identity is an administrator of the gateway"));
            }
        };
        let Some(Some(sources)) = walk.gateway_sources.get(&id) else {
            let problem = Problem::new("no-gateway-right", format!("the data sources of gateway `{gateway}` cannot be listed"));
            return self.answer(row, problem.hint("make the identity an administrator of the gateway"));
        };
        let named = sources.iter().map(|found| (found.id.clone(), found.id.as_str(), found.name.as_deref().unwrap_or_default()));
        match one("datasource", datasource, named) {
            Ok(source) => self.name(row, |candidate| candidate.gateway == id && candidate.datasource == source),
            Err(mut problem) => {
                problem.message = format!("{} on gateway `{gateway}`", problem.message);
                self.answer(row, hinted(problem, "check the name, or use the id"));
            }
        }
    }

    fn answer(&mut self, row: usize, problem: Problem) {
        self.answered.insert(row);
        self.problems.push(problem);
    }

    /// Data sources that are not bound to a connection have no credential of their own to write.
    fn unbound(&mut self, walk: &Walk, workspaces: &[Workspace], rows: &[Selector]) {
        for (dataset, sources) in seen(walk) {
            for source in sources.iter().filter(|source| source.gateway.is_none() || source.datasource.is_none()) {
                let Some(databricks) = source.databricks.as_ref().filter(|own| uses_workspace(Some(own), workspaces)) else {
                    continue;
                };
                let meant = rows.iter().any(|row| match row {
                    Selector::All => true,
                    Selector::Warehouse(id) => is_on(databricks, id),
                    Selector::Dataset { workspace, dataset: name } => {
                        is_named(workspace, dataset.group.as_str(), &dataset.workspace)
                            && is_named(name, dataset.id.as_str(), &dataset.name)
                    }
                    Selector::Gateway { .. } => false,
                });
                if meant {
                    let reason = format!(
                        "a data source of dataset `{}` in workspace `{}` is not bound to a connection: bind it in the dataset's settings",
                        dataset.name, dataset.workspace
                    );
                    self.left.insert(Left { id: format!("dataset:{}", dataset.id), reason });
                }
            }
        }
    }

    /// What may use the same host, out of the identity's sight.
    fn unseen(&mut self, walk: &Walk) {
        for (group, _) in walk.datasets.iter().filter(|(_, datasets)| datasets.is_none()) {
            let name = walk.groups.get(group).map_or("", |group| &group.name);
            let reason = format!("the identity may not list the datasets of workspace `{name}`");
            self.left.insert(Left { id: format!("workspace:{group}"), reason });
        }
        for ((group, dataset), _) in walk.sources.iter().filter(|(_, sources)| sources.is_none()) {
            let name = walk.groups.get(group).map_or("", |group| &group.name);
            let reason = format!("the identity may not see the data sources of this dataset in workspace `{name}`");
            self.left.insert(Left { id: format!("dataset:{dataset}"), reason });
        }
        for (gateway, _) in walk.gateway_sources.iter().filter(|(_, sources)| sources.is_none()) {
            let name = walk.gateways.get(gateway).and_then(|gateway| gateway.name.as_deref()).unwrap_or_default();
            let reason = format!("the identity may not list the data sources of gateway `{name}`");
            self.left.insert(Left { id: format!("gateway:{gateway}"), reason });
        }
    }
}

pub(super) fn uses(datasets: &[DatasetRef], (group, id): &(GroupId, DatasetId)) -> bool {
    datasets.iter().any(|dataset| dataset.group == *group && dataset.id == *id)
}

/// Every data source seen on these workspaces, by target id, with every dataset seen to use it.
fn candidates(walk: &Walk, workspaces: &[Workspace]) -> BTreeMap<TargetId, Candidate> {
    let mut candidates = BTreeMap::new();
    // The gateway's own word comes first: it is what the write is checked against.
    for on_gateway in walk.gateway_sources.values().flatten().flatten() {
        let Some(source) = on_gateway.databricks.clone().filter(|own| uses_workspace(Some(own), workspaces)) else { continue };
        let (gateway, datasource) = (on_gateway.gateway.clone(), on_gateway.id.clone());
        candidates.insert(
            TargetId::powerbi(&gateway, &datasource),
            Candidate {
                gateway,
                datasource,
                source,
                datasets: Vec::new(),
                on_gateway: Some(on_gateway.clone()),
                rows: BTreeSet::new(),
                named: false,
            },
        );
    }
    for (dataset, sources) in seen(walk) {
        for found in sources {
            let (Some(gateway), Some(datasource), Some(source)) = (&found.gateway, &found.datasource, &found.databricks) else {
                continue;
            };
            let id = TargetId::powerbi(gateway, datasource);
            if !candidates.contains_key(&id) && !uses_workspace(Some(source), workspaces) {
                continue;
            }
            let candidate = candidates.entry(id).or_insert_with(|| Candidate {
                gateway: gateway.clone(),
                datasource: datasource.clone(),
                source: source.clone(),
                datasets: Vec::new(),
                on_gateway: None,
                rows: BTreeSet::new(),
                named: false,
            });
            if !uses(&candidate.datasets, &(dataset.group.clone(), dataset.id.clone())) {
                candidate.datasets.push(dataset.clone());
            }
        }
    }
    candidates
}

/// Every dataset whose sources were seen, in the order of their ids.
fn seen(walk: &Walk) -> impl Iterator<Item = (DatasetRef, &Vec<crate::clients::powerbi::DatasetSource>)> {
    walk.sources.iter().filter_map(|((group, id), sources)| {
        let dataset = walk.datasets.get(group)?.as_ref()?.iter().find(|dataset| dataset.id == *id)?;
        let reference = DatasetRef {
            workspace: walk.groups.get(group).map(|group| group.name.clone()).unwrap_or_default(),
            group: group.clone(),
            name: dataset.name.clone(),
            id: id.clone(),
            owner: dataset.configured_by.clone(),
        };
        Some((reference, sources.as_ref()?))
    })
}

/// The one thing with this id, or else this name.
fn one<'a, K: Clone>(what: &str, text: &str, things: impl Iterator<Item = (K, &'a str, &'a str)>) -> Result<K, Problem> {
    let found: Vec<_> = things.filter(|(_, id, name)| is_named(text, id, name)).collect();
    if let Some((key, ..)) = found.iter().find(|(_, id, _)| text.eq_ignore_ascii_case(id)) {
        return Ok(key.clone());
    }
    let spoken = if what == "datasource" { "data source" } else { what };
    match &found[..] {
        [(key, ..)] => Ok(key.clone()),
        [] => Err(Problem::new(&format!("{what}-not-found"), format!("the identity sees no {spoken} `{text}`"))),
        several => {
            let mut ids: Vec<_> = several.iter().map(|(_, id, _)| format!("`{id}`")).collect();
            ids.sort();
            let message = format!("{} {spoken}s are called `{text}`: {}", several.len(), ids.join(", "));
            Err(Problem::new(&format!("{what}-ambiguous"), message).hint("use the id of the one that is meant"))
        }
    }
}

/// Keeps a hint that is there.
fn hinted(problem: Problem, hint: &str) -> Problem {
    if problem.hint.is_some() { problem } else { problem.hint(hint) }
}
