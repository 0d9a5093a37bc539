//! Dataflows and reports of a workspace, with their data sources. Reports other than paginated ones use a dataset and have
//! no data sources of their own here.

use serde_json::{Value, json};

use super::groups::entered;
use super::{Item, ItemKind, Role, Use, not_found, value_list};
use crate::wire::Answer;
use crate::world::World;

pub(super) fn dataflows(world: &World, caller: &str, group: &str) -> Answer {
    let group = &entered(world, caller, group, Role::Viewer)?.id;
    let flows = items(world, group).filter(|(_, item)| item.kind == ItemKind::Dataflow);
    Ok(value_list(world, "dataflows", flows.map(|(id, item)| dataflow(id, item)).collect()))
}

pub(super) fn reports(world: &World, caller: &str, group: &str) -> Answer {
    let group = &entered(world, caller, group, Role::Viewer)?.id;
    let reports = items(world, group).filter(|(_, item)| item.kind != ItemKind::Dataflow);
    Ok(value_list(world, "reports", reports.map(|(id, item)| report(id, item)).collect()))
}

pub(super) fn sources(world: &World, caller: &str, group: &str, kind: &str, id: &str) -> Answer {
    let group = &entered(world, caller, group, Role::Viewer)?.id;
    let is_meant = |item: &&Item| item.group == *group && (item.kind == ItemKind::Dataflow) == (kind == "dataflows");
    let item = world.bi.items.get(id).filter(is_meant).ok_or_else(not_found)?;
    Ok(value_list(world, "datasources", item.uses.iter().map(|used| used_source(world, used)).collect::<Vec<Value>>()))
}

/// A data source as what uses it names it.
pub(super) fn used_source(world: &World, used: &Use) -> Value {
    let mut row = json!({ "datasourceType": used.details.type_name(), "connectionDetails": used.details.of_dataset() });
    if let Some(source) = used.source.as_ref().and_then(|id| world.bi.sources.get(id)) {
        row["datasourceId"] = source.id.clone().into();
        row["gatewayId"] = source.gateway.clone().into();
    }
    row
}

pub(super) fn items<'a>(world: &'a World, group: &'a str) -> impl Iterator<Item = (&'a String, &'a Item)> {
    world.bi.items.iter().filter(move |(_, item)| item.group == group)
}

pub(super) fn dataflow(id: &str, item: &Item) -> Value {
    json!({ "objectId": id, "name": item.name, "configuredBy": item.owner })
}

pub(super) fn report(id: &str, item: &Item) -> Value {
    let kind = if item.kind == ItemKind::PaginatedReport { "PaginatedReport" } else { "PowerBIReport" };
    json!({ "id": id, "name": item.name, "reportType": kind })
}
