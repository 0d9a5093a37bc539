//! Everything that the rows need to know of Power BI, each question asked once; Fabric's part is in `connections.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use futures::future::join;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::rows::{Hosts, is_named};
use crate::clients::powerbi::{Dataset, DatasetSource, Gateway, GatewaySource, Group, PowerBi, ScannedGroup, is_refusal};
use crate::config::Selector;
use crate::error::Error;
use crate::http::HttpError;
use crate::ids::{DatasetId, GatewayId, GroupId};
use crate::targets::condition::is_on_premises;

/// Requests in flight at most.
const CONCURRENCY: usize = 16;

/// What the identity sees. `None` in a map: it may not see that.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) groups: Arc<BTreeMap<GroupId, Group>>,
    pub(super) datasets: BTreeMap<GroupId, Option<Arc<Vec<Dataset>>>>,
    pub(super) sources: BTreeMap<(GroupId, DatasetId), Option<Vec<DatasetSource>>>,
    /// On-premises gateways that the identity administers.
    pub(super) gateways: BTreeMap<GatewayId, Gateway>,
    pub(super) gateway_sources: BTreeMap<GatewayId, Option<Arc<Vec<GatewaySource>>>>,
}

impl Walk {
    /// `scanned` is what a scan has told already, and need not be asked again.
    pub(super) async fn run(
        powerbi: &PowerBi,
        hosts: Hosts<'_>,
        rows: &[Selector],
        scanned: &[ScannedGroup],
    ) -> Result<Self, Error> {
        let mut walk = Self::default();
        let (datasets_read, gateways) = join(walk.read_datasets(powerbi, rows, scanned), powerbi.gateways()).await;
        datasets_read?;
        walk.find_gateways(powerbi, hosts, gateways).await?;
        let gateways = walk.wanted_gateways(hosts, rows);
        walk.gateway_sources = each(gateways, |gateway| async move { powerbi.gateway_sources(&gateway).await }).await?;
        Ok(walk)
    }

    async fn read_datasets(&mut self, powerbi: &PowerBi, rows: &[Selector], scanned: &[ScannedGroup]) -> Result<(), Error> {
        if rows.iter().any(|row| !matches!(row, Selector::Gateway { .. } | Selector::Connection(_))) {
            self.groups = powerbi.groups().await?;
        }
        let groups = self.wanted_groups(rows);
        self.datasets = each(groups, |group| async move { powerbi.datasets(&group).await }).await?;
        let mut datasets = self.wanted_datasets(rows);
        let mut told = BTreeMap::new();
        for (group, (dataset, sources)) in scanned.iter().flat_map(|one| one.datasets.iter().map(|found| (&one.group.id, found)))
        {
            let key = (group.clone(), dataset.id.clone());
            if datasets.remove(&key) {
                told.insert(key, Some(sources.clone()));
            }
        }
        self.sources = each(datasets, |(group, dataset)| async move { powerbi.dataset_sources(&group, &dataset).await }).await?;
        self.sources.extend(told);
        Ok(())
    }

    /// Where the list of gateways is closed to the identity, each gateway in question is asked for by itself.
    async fn find_gateways(
        &mut self,
        powerbi: &PowerBi,
        hosts: Hosts<'_>,
        listed: Result<Vec<Gateway>, HttpError>,
    ) -> Result<(), Error> {
        let found = match listed {
            Ok(gateways) => gateways,
            Err(error) if is_refusal(&error) => {
                let used = self.used_gateways(hosts);
                let found = each(used, |gateway| async move { powerbi.gateway(&gateway).await }).await?;
                found.into_values().flatten().collect()
            }
            Err(error) => return Err(error.into()),
        };
        self.gateways = found.into_iter().filter(is_on_premises).map(|gateway| (gateway.id.clone(), gateway)).collect();
        Ok(())
    }

    fn wanted_groups(&self, rows: &[Selector]) -> BTreeSet<GroupId> {
        wanted_groups(self.groups.values(), rows)
    }

    fn wanted_datasets(&self, rows: &[Selector]) -> BTreeSet<(GroupId, DatasetId)> {
        let wanted = |(group, dataset): &(&GroupId, &Dataset)| {
            is_wide(rows)
                || rows.iter().any(|row| match row {
                    Selector::Dataset { workspace, dataset: name } => {
                        let known =
                            self.groups.get(*group).is_some_and(|group| is_named(workspace, group.id.as_str(), &group.name));
                        known && is_named(name, dataset.id.as_str(), &dataset.name)
                    }
                    Selector::Warehouse(_)
                    | Selector::All
                    | Selector::Gateway { .. }
                    | Selector::Connection(_)
                    | Selector::Mapped(_) => false,
                })
        };
        self.listed().filter(wanted).map(|(group, dataset)| (group.clone(), dataset.id.clone())).collect()
    }

    /// Every dataset that was listed, with its workspace.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&GroupId, &Dataset)> {
        let lists = self.datasets.iter().filter_map(|(group, datasets)| Some((group, datasets.as_deref()?)));
        lists.flat_map(|(group, datasets)| datasets.iter().map(move |dataset| (group, dataset)))
    }

    /// Every data source that a gateway shows.
    pub(super) fn on_gateways(&self) -> impl Iterator<Item = &GatewaySource> {
        self.gateway_sources.values().filter_map(Option::as_deref).flatten()
    }

    fn wanted_gateways(&self, hosts: Hosts<'_>, rows: &[Selector]) -> BTreeSet<GatewayId> {
        let used = self.used_gateways(hosts);
        let wanted = |gateway: &&Gateway| {
            is_wide(rows)
                || used.contains(&gateway.id)
                || rows.iter().any(|row| match row {
                    Selector::Gateway { gateway: name, .. } => {
                        is_named(name, gateway.id.as_str(), gateway.name.as_deref().unwrap_or_default())
                    }
                    Selector::Warehouse(_)
                    | Selector::All
                    | Selector::Dataset { .. }
                    | Selector::Connection(_)
                    | Selector::Mapped(_) => false,
                })
        };
        self.gateways.values().filter(wanted).map(|gateway| gateway.id.clone()).collect()
    }

    fn used_gateways(&self, hosts: Hosts<'_>) -> BTreeSet<GatewayId> {
        let sources = self.sources.values().flatten().flatten();
        sources.filter(|source| hosts.have(source.databricks.as_ref())).filter_map(|source| source.gateway.clone()).collect()
    }
}

/// The workspaces that rows look into. Personal ones are closed.
pub(super) fn wanted_groups<'a>(groups: impl Iterator<Item = &'a Group>, rows: &[Selector]) -> BTreeSet<GroupId> {
    let wanted = |group: &&Group| {
        !group.is_personal
            && (is_wide(rows)
                || rows.iter().any(|row| match row {
                    Selector::Dataset { workspace, .. } => is_named(workspace, group.id.as_str(), &group.name),
                    Selector::Warehouse(_)
                    | Selector::All
                    | Selector::Gateway { .. }
                    | Selector::Connection(_)
                    | Selector::Mapped(_) => false,
                }))
    };
    groups.filter(wanted).map(|group| group.id.clone()).collect()
}

pub(super) fn is_wide(rows: &[Selector]) -> bool {
    rows.iter().any(|row| matches!(row, Selector::Warehouse(_) | Selector::All | Selector::Mapped(_)))
}

/// Asks the same of every key, some at a time; a refusal is `None`.
pub(super) async fn each<K: Ord + Clone, T, F: Future<Output = Result<T, HttpError>>>(
    keys: BTreeSet<K>,
    ask: impl Fn(K) -> F,
) -> Result<BTreeMap<K, Option<T>>, Error> {
    let asked = keys.into_iter().map(|key| {
        let answer = ask(key.clone());
        async move {
            match answer.await {
                Ok(answer) => Ok((key, Some(answer))),
                Err(error) if is_refusal(&error) => Ok((key, None)),
                Err(error) => Err(Error::from(error)),
            }
        }
    });
    stream::iter(asked).buffer_unordered(CONCURRENCY).try_collect().await
}

#[cfg(test)]
mod tests;
