//! Workspaces, paged by `$top` and `$skip`; `$filter` knows `name eq '…'` and `contains(name,'…')`, quotes doubled.

use serde_json::{Value, json};

use super::{Dataset, Group, Role, error, not_authorized, not_found, value_list};
use crate::wire::{Answer, Call, Reply, number};
use crate::world::World;

pub(super) fn list(world: &World, caller: &str, call: &Call) -> Answer {
    let bad = |what: &str| error(400, "BadRequest", what);
    let top =
        number(call, "$top", TOP_MAX).filter(|top| (1..=TOP_MAX).contains(top)).ok_or_else(|| bad("$top must be 1 to 5000"))?;
    let skip = number(call, "$skip", 0).ok_or_else(|| bad("$skip must be a number"))?;
    let filter = call.asked("$filter").map(|text| parse(text).ok_or_else(|| bad("The $filter is invalid"))).transpose()?;
    let seen = world.bi.groups.values().filter(|group| group.members.contains_key(caller));
    let rows: Vec<Value> = seen
        .filter(|group| filter.as_ref().is_none_or(|filter| filter.matches(&group.name)))
        .skip(skip)
        .take(top)
        .map(|group| json!({ "id": group.id, "isReadOnly": false, "isOnDedicatedCapacity": false, "name": group.name }))
        .collect();
    Ok(value_list(world, "groups", rows))
}

/// The workspace, if the caller has at least this role; no access and no such workspace look alike.
pub(super) fn entered<'a>(world: &'a World, caller: &str, group: &str, role: Role) -> Result<&'a Group, Reply> {
    let group = world.bi.groups.get(group).ok_or_else(|| not_authorized(401))?;
    match group.members.get(caller) {
        None => Err(not_authorized(401)),
        Some(held) if *held < role => Err(not_authorized(403)),
        Some(_) => Ok(group),
    }
}

pub(super) fn dataset<'a>(world: &'a World, caller: &str, group: &str, dataset: &str, role: Role) -> Result<&'a Dataset, Reply> {
    let group = entered(world, caller, group, role)?;
    world.bi.datasets.get(dataset).filter(|dataset| dataset.group == group.id).ok_or_else(not_found)
}

enum Filter {
    Is(String),
    Has(String),
}

impl Filter {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Is(value) => name.to_lowercase() == value.to_lowercase(),
            Self::Has(value) => name.to_lowercase().contains(&value.to_lowercase()),
        }
    }
}

fn parse(filter: &str) -> Option<Filter> {
    if let Some(rest) = filter.trim().strip_prefix("contains(name,") {
        return quoted(rest.strip_suffix(')')?.trim()).map(Filter::Has);
    }
    quoted(filter.trim().strip_prefix("name eq ")?.trim()).map(Filter::Is)
}

fn quoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let plain = inner.replace("''", "\u{0}");
    (!plain.contains('\'')).then(|| plain.replace('\u{0}', "'"))
}

const TOP_MAX: usize = 5000;
