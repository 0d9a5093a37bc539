//! Which of the data sources seen each row of `select` means. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Left;
use super::connections::{Connections, is_on_network};
use super::walk::Walk;
use crate::clients::fabric::{Connection, ConnectionType};
use crate::clients::powerbi::{DatabricksSource, Dataset, DatasetSource, GatewaySource};
use crate::config::Selector;
use crate::error::Problem;
use crate::ids::{DatasetId, DatasourceId, GatewayId, GroupId, TargetId, WarehouseId, Workspace};
use crate::targets::DatasetRef;
use crate::targets::condition::Holding;

/// A data source on one of the credential's workspaces.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// `None` for a connection that shows none.
    pub(super) gateway: Option<GatewayId>,
    pub(super) datasource: DatasourceId,
    pub(super) source: DatabricksSource,
    pub(super) datasets: Vec<DatasetRef>,
    /// As its gateway shows it, where the identity administers the gateway.
    pub(super) on_gateway: Option<Box<GatewaySource>>,
    /// Rows that select it, each once and in their order.
    pub(super) rows: Vec<usize>,
    /// Whether one of them names it or a dataset that uses it.
    pub(super) named: bool,
    /// Whether one of them names it as a Fabric connection.
    pub(super) by_connection: bool,
}

impl Candidate {
    fn new(gateway: Option<&GatewayId>, datasource: &DatasourceId, source: &DatabricksSource) -> Self {
        Self {
            gateway: gateway.cloned(),
            datasource: datasource.clone(),
            source: source.clone(),
            datasets: Vec::new(),
            on_gateway: None,
            rows: Vec::new(),
            named: false,
            by_connection: false,
        }
    }

    /// Rows are looked at one after the other.
    fn select(&mut self, row: usize) {
        if self.rows.last() != Some(&row) {
            self.rows.push(row);
        }
    }
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

/// The Databricks workspaces in question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hosts<'a> {
    /// Whichever there are.
    Every,
    /// Those of a credential.
    Of(&'a [Workspace]),
}

impl Hosts<'_> {
    pub(super) fn have(self, source: Option<&DatabricksSource>) -> bool {
        source.is_some_and(|source| match self {
            Self::Every => true,
            Self::Of(workspaces) => workspaces.iter().any(|workspace| source.host == workspace.host()),
        })
    }
}

fn is_on(source: &DatabricksSource, warehouse: &WarehouseId) -> bool {
    source.warehouse.as_ref().is_some_and(|own| own.as_str().eq_ignore_ascii_case(warehouse.as_str()))
}

impl Matched {
    pub(super) fn new(walk: &Walk, connections: &Connections, hosts: Hosts<'_>, rows: &[Selector]) -> Self {
        let candidates = candidates(walk, connections, hosts, rows);
        let mut matched = Self { candidates, ..Self::default() };
        for (row, selector) in rows.iter().enumerate() {
            match selector {
                Selector::All => matched.mark(row, |_| true),
                Selector::Warehouse(id) => matched.mark(row, |candidate| is_on(&candidate.source, id)),
                Selector::Dataset { workspace, dataset } => matched.dataset(walk, row, workspace, dataset),
                Selector::Gateway { gateway, datasource } => matched.gateway(walk, connections, row, (gateway, datasource)),
                Selector::Connection(id) => matched.connection(connections, row, id),
                Selector::Mapped(wanted) => matched.mapped(walk, connections, hosts, (row, wanted)),
            }
        }
        matched.unbound(walk, hosts, rows);
        if rows.iter().any(|row| matches!(row, Selector::All | Selector::Warehouse(_))) {
            matched.unseen(walk);
            matched.unused(connections, hosts, rows);
        }
        matched.candidates.retain(|_, candidate| !candidate.rows.is_empty());
        matched
    }

    /// Candidates of which only Fabric can tell how they are reached, or what they must keep.
    pub(super) fn unexplained(&self, walk: &Walk) -> BTreeSet<DatasourceId> {
        let is_unexplained = |candidate: &&Candidate| {
            candidate.gateway.as_ref().is_none_or(|gateway| !walk.gateways.contains_key(gateway))
                || candidate.on_gateway.as_ref().is_none_or(|source| source.privacy_level.is_none())
        };
        self.candidates.values().filter(is_unexplained).map(|candidate| candidate.datasource.clone()).collect()
    }

    /// Gateways of named connections, whose members each need a ciphertext.
    pub(super) fn sealed_by_member(&self, connections: &Connections) -> BTreeSet<GatewayId> {
        let is_sealed = |candidate: &&Candidate| {
            let connection = connections.get(&candidate.datasource).filter(|_| candidate.by_connection);
            connection.and_then(|found| found.connectivity.writable()) == Some(ConnectionType::OnPremisesGateway)
        };
        self.candidates.values().filter(is_sealed).filter_map(|candidate| candidate.gateway.clone()).collect()
    }

    fn mark(&mut self, row: usize, is_meant: impl Fn(&Candidate) -> bool) {
        for candidate in self.candidates.values_mut().filter(|candidate| is_meant(candidate)) {
            candidate.select(row);
        }
    }

    pub(super) fn name(&mut self, row: usize, is_meant: impl Fn(&Candidate) -> bool) {
        for candidate in self.candidates.values_mut().filter(|candidate| is_meant(candidate)) {
            candidate.select(row);
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

    fn gateway(&mut self, walk: &Walk, connections: &Connections, row: usize, (gateway, datasource): (&str, &str)) {
        let administered = walk.gateways.values().map(|found| (found.id.clone(), found.name.clone().unwrap_or_default()));
        let networks = connections.networks.iter().map(|(id, name)| (id.clone(), name.clone()));
        let gateways: Vec<_> = administered.chain(networks).collect();
        let gateways = gateways.iter().map(|(id, name)| (id.clone(), id.as_str(), name.as_str()));
        let id = match one("gateway", gateway, gateways) {
            Ok(id) => id,
            Err(problem) => {
                return self
                    .answer(row, hinted(problem, "check the name, and that the identity is an administrator of the gateway"));
            }
        };
        let named: Vec<(DatasourceId, &str)> = if connections.networks.contains_key(&id) {
            let on_it = connections.shown().filter(|found| found.gateway.as_ref() == Some(&id));
            on_it.map(|found| (found.id.clone(), found.name.as_deref().unwrap_or_default())).collect()
        } else {
            let Some(Some(sources)) = walk.gateway_sources.get(&id) else {
                let problem =
                    Problem::new("no-gateway-right", format!("the data sources of gateway `{gateway}` cannot be listed"));
                return self.answer(row, problem.hint("make the identity an administrator of the gateway"));
            };
            sources.iter().map(|found| (found.id.clone(), found.name.as_deref().unwrap_or_default())).collect()
        };
        match one("datasource", datasource, named.iter().map(|(id, name)| (id.clone(), id.as_str(), *name))) {
            Ok(source) => {
                self.name(row, |candidate| candidate.gateway.as_ref() == Some(&id) && candidate.datasource == source);
            }
            Err(mut problem) => {
                problem.message = format!("{} on gateway `{gateway}`", problem.message);
                self.answer(row, hinted(problem, "check the name, or use the id"));
            }
        }
    }

    fn connection(&mut self, connections: &Connections, row: usize, id: &DatasourceId) {
        if connections.get(id).is_none() {
            let problem = Problem::new("connection-not-found", format!("Fabric shows the identity no connection `{id}`"));
            let hint =
                "check the id, and give the identity the Owner role on the connection or make it an administrator of its gateway";
            return self.answer(row, problem.hint(hint));
        }
        self.name(row, |candidate| candidate.datasource == *id);
        for candidate in self.candidates.values_mut().filter(|candidate| candidate.datasource == *id) {
            candidate.by_connection = true;
        }
    }

    pub(super) fn answer(&mut self, row: usize, problem: Problem) {
        self.answered.insert(row);
        self.problems.push(problem);
    }

    /// Data sources that are not bound to a connection have no credential of their own to write.
    fn unbound(&mut self, walk: &Walk, hosts: Hosts<'_>, rows: &[Selector]) {
        for (dataset, sources) in seen(walk) {
            for source in sources.iter().filter(|source| source.gateway.is_none() || source.datasource.is_none()) {
                let Some(databricks) = source.databricks.as_ref().filter(|own| hosts.have(Some(own))) else {
                    continue;
                };
                let meant = rows.iter().any(|row| match row {
                    Selector::All => true,
                    Selector::Warehouse(id) => is_on(databricks, id),
                    Selector::Dataset { workspace, dataset: name } => {
                        is_named(workspace, dataset.group.as_str(), &dataset.workspace)
                            && is_named(name, dataset.id.as_str(), &dataset.name)
                    }
                    Selector::Gateway { .. } | Selector::Connection(_) | Selector::Mapped(_) => false,
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

    /// Connections that a wide row might mean: the identity has a role on them, but what uses them is out of its sight.
    fn unused(&mut self, connections: &Connections, hosts: Hosts<'_>, rows: &[Selector]) {
        let covered: BTreeSet<&DatasourceId> = self.candidates.values().map(|candidate| &candidate.datasource).collect();
        let mut left = Vec::new();
        for connection in connections.shown().filter(|found| !covered.contains(&found.id)) {
            let Some(source) = connection.databricks.as_ref().filter(|own| hosts.have(Some(own))) else {
                continue;
            };
            let meant = rows.iter().any(|row| match row {
                Selector::All => true,
                Selector::Warehouse(id) => is_on(source, id),
                Selector::Dataset { .. } | Selector::Gateway { .. } | Selector::Connection(_) | Selector::Mapped(_) => false,
            });
            if meant && Holding::of(connection.credential_type.as_deref()).may_be_replaced(false) {
                let id = TargetId::of(connection.gateway.as_ref(), &connection.id).to_string();
                let reason = format!(
                    "a Fabric connection that no dataset in the identity's sight uses: `{{ connection: {} }}` selects it",
                    connection.id
                );
                left.push(Left { id, reason });
            }
        }
        self.left.extend(left);
    }

    /// What may use the same host, out of the identity's sight.
    fn unseen(&mut self, walk: &Walk) {
        for group in walk.groups.values().filter(|group| group.is_personal) {
            let reason =
                format!("`{}` is a personal workspace, closed to service principals: only its owner sees into it", group.name);
            self.left.insert(Left { id: format!("workspace:{}", group.id), reason });
        }
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

/// Whether a row names a gateway that Power BI does not list: it may stand on a virtual network.
pub(super) fn names_unknown_gateway(walk: &Walk, rows: &[Selector]) -> bool {
    rows.iter().any(|row| match row {
        Selector::Gateway { gateway, .. } => {
            !walk.gateways.values().any(|found| is_named(gateway, found.id.as_str(), found.name.as_deref().unwrap_or_default()))
        }
        Selector::Dataset { .. } | Selector::Warehouse(_) | Selector::All | Selector::Connection(_) | Selector::Mapped(_) => {
            false
        }
    })
}

/// Every data source seen on these workspaces, by target id, with every dataset seen to use it.
pub(super) fn candidates(
    walk: &Walk,
    connections: &Connections,
    hosts: Hosts<'_>,
    rows: &[Selector],
) -> BTreeMap<TargetId, Candidate> {
    let mut candidates = BTreeMap::new();
    // The gateway's own word comes first: it is what the write is checked against.
    for on_gateway in walk.on_gateways() {
        let Some(source) = on_gateway.databricks.as_ref().filter(|own| hosts.have(Some(own))) else { continue };
        let mut candidate = Candidate::new(Some(&on_gateway.gateway), &on_gateway.id, source);
        candidate.on_gateway = Some(Box::new(on_gateway.clone()));
        candidates.insert(TargetId::powerbi(&on_gateway.gateway, &on_gateway.id), candidate);
    }
    for (dataset, sources) in seen(walk) {
        for found in sources {
            let (Some(gateway), Some(datasource), Some(source)) = (&found.gateway, &found.datasource, &found.databricks) else {
                continue;
            };
            let id = TargetId::powerbi(gateway, datasource);
            if !candidates.contains_key(&id) && !hosts.have(Some(source)) {
                continue;
            }
            let candidate = candidates.entry(id).or_insert_with(|| Candidate::new(Some(gateway), datasource, source));
            if !uses(&candidate.datasets, &(dataset.group.clone(), dataset.id.clone())) {
                candidate.datasets.push(dataset.clone());
            }
        }
    }
    candidates.values_mut().for_each(|candidate: &mut Candidate| candidate.datasets.shrink_to_fit());
    // A connection's id is its data source's: what Power BI shows already is not taken twice.
    let shown: BTreeSet<DatasourceId> = candidates.values().map(|candidate| candidate.datasource.clone()).collect();
    let named: BTreeSet<&DatasourceId> = rows.iter().filter_map(Selector::connection).collect();
    let is_meant = |connection: &&Connection| {
        (named.contains(&connection.id) || is_on_network(connection)) && !shown.contains(&connection.id)
    };
    for connection in connections.shown().filter(is_meant) {
        let Some(source) = connection.databricks.as_ref().filter(|own| hosts.have(Some(own))) else { continue };
        let id = TargetId::of(connection.gateway.as_ref(), &connection.id);
        candidates.insert(id, Candidate::new(connection.gateway.as_ref(), &connection.id, source));
    }
    candidates
}

/// Every dataset whose sources were seen, in the order of their ids.
fn seen(walk: &Walk) -> impl Iterator<Item = (DatasetRef, &Vec<DatasetSource>)> {
    walk.datasets.iter().flat_map(move |(group, list)| {
        let workspace = walk.groups.get(group).map(|group| group.name.clone()).unwrap_or_default();
        let by_id: BTreeMap<&DatasetId, &Dataset> =
            list.as_deref().into_iter().flatten().map(|dataset| (&dataset.id, dataset)).collect();
        by_id.into_values().filter_map(move |dataset| {
            let reference = DatasetRef {
                workspace: workspace.clone(),
                group: group.clone(),
                name: dataset.name.clone(),
                id: dataset.id.clone(),
                owner: dataset.configured_by.clone(),
            };
            let sources = walk.sources.get(&(group.clone(), dataset.id.clone()))?;
            Some((reference, sources.as_ref()?))
        })
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
