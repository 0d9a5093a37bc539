//! Datasets of a workspace, their data sources, and taking one over.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::groups::{dataset, entered};
use super::items::used_source;
use super::{Credential, Dataset, Details, Home, Role, Source, value_list};
use crate::history::Happened;
use crate::settings::TakeOver;
use crate::wire::{Answer, Reply};
use crate::world::World;

pub(super) fn list(world: &World, caller: &str, group: &str) -> Answer {
    let group = &entered(world, caller, group, Role::Viewer)?.id;
    let rows = world.bi.datasets.in_group(group).map(|dataset| shown(world, dataset)).collect();
    Ok(value_list(world, "datasets", rows))
}

pub(super) fn get(world: &World, caller: &str, group: &str, id: &str) -> Answer {
    Ok(Reply::json(200, &shown(world, dataset(world, caller, group, id, Role::Viewer)?)))
}

pub(super) fn sources(world: &World, caller: &str, group: &str, id: &str) -> Answer {
    let dataset = dataset(world, caller, group, id, Role::Viewer)?;
    let rows = dataset.uses.iter().map(|used| used_source(world, used)).collect();
    Ok(value_list(world, "datasources", rows))
}

pub(super) fn take_over(world: &mut World, caller: &str, group: &str, id: &str) -> Answer {
    let old = dataset(world, caller, group, id, Role::Contributor)?;
    if old.owner != caller {
        let mut uses = old.uses.clone();
        if world.settings.take_over == TakeOver::Rebinds {
            for used in &mut uses {
                let Some(from) = used.source.take() else { continue };
                let to = rebound(world, caller, from.clone());
                if from != to {
                    world.happened(Happened::Rebound { dataset: id.to_owned(), from, to: to.clone() });
                }
                used.source = Some(to);
            }
        }
        world.bi.datasets.rebind(id, caller, uses);
    }
    Ok(Reply::empty(200))
}

/// The data source that the new owner's dataset is bound to: a shared one stays, a person's own gives way to a new one
/// that has no credentials; other datasets taken over by the same owner meet it again.
fn rebound(world: &mut World, caller: &str, id: String) -> String {
    let Some(old) = world.bi.sources.get(&id).filter(|old| old.home.is_cloud() && old.owner != caller) else {
        return id;
    };
    if old.home == Home::ShareableCloud && old.shared_with.contains_key(caller) {
        return id;
    }
    // One that has been pointed elsewhere since is no source of this dataset.
    let same =
        |source: &&Source| source.owner == caller && source.replaces.as_ref() == Some(&old.id) && source.details == old.details;
    if let Some(known) = world.bi.sources.values().find(same) {
        return known.id.clone();
    }
    let new = Source {
        id: world.rng.uuid().to_string(),
        gateway: world.rng.uuid().to_string(),
        home: Home::PersonalCloud,
        owner: caller.to_owned(),
        shared_with: BTreeMap::from([(caller.to_owned(), true)]),
        credential: Credential::Missing,
        writes: 0,
        written_at: None,
        replaces: Some(old.id.clone()),
        ..old.clone()
    };
    let id = new.id.clone();
    world.bi.sources.insert(id.clone(), new);
    id
}

fn shown(world: &World, dataset: &Dataset) -> Value {
    let on_premises = |source: &String| world.bi.sources.get(source).is_some_and(|source| source.home == Home::OnPremises);
    let needs_gateway = dataset.uses.iter().filter_map(|used| used.source.as_ref()).any(on_premises);
    // Not refreshable says nothing about credentials: DirectQuery models are not.
    let refreshable = !dataset.uses.iter().any(|used| used.details == Details::Unknown);
    json!({
        "id": dataset.id,
        "name": dataset.name,
        "webUrl": format!("https://app.powerbi.com/groups/{}/datasets/{}", dataset.group, dataset.id),
        "addRowsAPIEnabled": false,
        "configuredBy": dataset.owner,
        "isRefreshable": refreshable,
        "isEffectiveIdentityRequired": false,
        "isEffectiveIdentityRolesRequired": false,
        "isOnPremGatewayRequired": needs_gateway,
        "targetStorageMode": "Abf",
        "upstreamDataflows": [],
        "users": [],
    })
}
