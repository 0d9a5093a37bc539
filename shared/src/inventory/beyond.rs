//! What else uses the same hosts and cannot be covered: dataflows and paginated reports, whose credentials are entered by
//! hand. Looked for in the workspaces that the rows look into, and only where somebody wants to read of it.

use std::collections::BTreeSet;

use futures::future::join;

use super::Left;
use super::rows::Hosts;
use super::walk::{each, wanted_groups};
use crate::clients::powerbi::{DatasetSource, Group, Item, PowerBi};
use crate::config;
use crate::error::Error;
use crate::ids::{GroupId, Workspace};

/// Dataflows and paginated reports on these Databricks workspaces, in the workspaces of Power BI that the rows look into.
pub async fn beyond(powerbi: &PowerBi, workspaces: &[Workspace], targets: &config::Targets) -> Result<Vec<Left>, Error> {
    let groups = powerbi.groups().await?;
    // A list may name data sources anywhere.
    let everywhere = [config::Selector::All];
    let rows = if targets.mapping.is_some() { &everywhere } else { &targets.select[..] };
    let wanted = wanted_groups(groups.values(), rows);
    let items = items(powerbi, wanted).await?;
    Ok(items.iter().filter_map(|(group, item, sources)| left(groups.get(group)?, item, sources, Hosts::Of(workspaces))).collect())
}

/// Dataflows and paginated reports with their data sources, as far as they are shown.
pub(super) async fn items(
    powerbi: &PowerBi,
    groups: BTreeSet<GroupId>,
) -> Result<Vec<(GroupId, Item, Vec<DatasetSource>)>, Error> {
    let (flows, reports) = join(
        each(groups.clone(), |group| async move { powerbi.dataflows(&group).await }),
        each(groups, |group| async move { powerbi.paginated_reports(&group).await }),
    )
    .await;
    let listed = flows?.into_iter().chain(reports?);
    let found: BTreeSet<(GroupId, Item)> =
        listed.flat_map(|(group, items)| items.into_iter().flatten().map(move |item| (group.clone(), item))).collect();
    let sources = each(found, |(group, item)| async move { powerbi.item_sources(&group, &item).await }).await?;
    Ok(sources.into_iter().filter_map(|((group, item), sources)| Some((group, item, sources?))).collect())
}

/// Why such a thing is left, if it uses one of the hosts.
pub(super) fn left(group: &Group, item: &Item, sources: &[DatasetSource], hosts: Hosts<'_>) -> Option<Left> {
    let source = sources.iter().filter_map(|source| source.databricks.as_ref()).find(|source| hosts.have(Some(source)))?;
    let (kind, personal) = (item.kind.name(), if group.is_personal { "personal " } else { "" });
    let reason = format!(
        "{kind} `{}` in {personal}workspace `{}` uses {}: lakekey does not cover {kind}s, its credential is entered in its settings",
        item.name, group.name, source.host
    );
    Some(Left { id: format!("{}:{}", item.kind.prefix(), item.id), reason })
}
