//! What people do meanwhile.

use std::time::Duration;

use lakekey_sim::{Level, Role, SourceTruth};

use crate::plan::Act;
use crate::universe::Universe;
use crate::watch::is_covered;

/// A person does something now.
pub fn act(universe: &Universe, act: Act) {
    let cloud = &universe.cloud;
    universe.trace("person", || format!("{act:?}"));
    universe.watch().counts.acts += 1;
    match act {
        Act::Mints => drop(cloud.person_mints(&cloud.cast().principal.application_id, MONTH)),
        Act::DeletesForeign => drop(foreign(universe).first().map(|id| cloud.person_deletes_secret(id))),
        Act::DeletesOurs(which) => {
            let ours = living(universe, true);
            if let Some(id) = ours.get(which % ours.len().max(1)) {
                cloud.person_deletes_secret(id);
            }
        }
        Act::Repoints(which) => {
            if let Some(source) = source(universe, which) {
                cloud.repoint(&source.id, "adb-999.9.azuredatabricks.net", "0123456789abcdef");
                universe.watch().departed.insert(source.id);
            }
        }
        Act::DeletesDataset(which) => {
            if let Some(dataset) = source(universe, which).and_then(|source| source.datasets.into_iter().next()) {
                cloud.delete_dataset(&dataset);
            }
        }
        Act::DeletesSource(which) => {
            if let Some(source) = source(universe, which) {
                cloud.delete_source(&source.id);
            }
        }
        Act::Owns(which) => {
            if let Some(dataset) = source(universe, which).and_then(|source| source.datasets.into_iter().next()) {
                cloud.set_owner(&dataset, "ada@contoso.example");
            }
        }
        Act::RevokesUse => {
            let cast = cloud.cast();
            cloud.set_warehouse_level(&cast.warehouses[0][0], &cast.principal.application_id, None);
        }
        Act::Hides(which) => hide(universe, which),
        Act::Shows => show(universe),
        Act::TakesGateway(which) => {
            if let Some(source) = source(universe, which) {
                cloud.set_gateway_admin(&source.gateway, &cloud.cast().powerbi.object_id, false);
            }
        }
        Act::Mistypes(which) => {
            if let Some(source) = source(universe, which) {
                cloud.person_writes_credential(&source.id, &cloud.cast().principal.application_id, "no secret");
            }
        }
        Act::AddsSource(which) => {
            let added = source(universe, which).and_then(|source| cloud.person_adds_source_like(&source.id));
            if let Some(added) = added {
                universe.watch().added(added);
            }
        }
        Act::StopsWarehouses => {
            for warehouse in cloud.cast().warehouses.iter().flatten() {
                cloud.stop_warehouse(warehouse);
            }
        }
    }
    universe.observe();
}

/// People tidy up after themselves: lakekey's identity and principal have their rights again, and every secret of theirs that nobody uses goes, so that there is room for lakekey's.
pub fn tidy(universe: &Universe) {
    show(universe);
    let cloud = &universe.cloud;
    let cast = cloud.cast();
    cloud.set_warehouse_level(&cast.warehouses[0][0], &cast.principal.application_id, Some(Level::CanUse));
    for source in cloud.sources().into_iter().filter(is_covered) {
        cloud.set_gateway_admin(&source.gateway, &cast.powerbi.object_id, true);
    }
    for id in foreign(universe) {
        universe.cloud.person_deletes_secret(&id);
    }
    universe.observe();
}

/// Takes lakekey's identity out of the workspaces of a data source.
pub fn hide(universe: &Universe, which: usize) {
    let cloud = &universe.cloud;
    let Some(hidden) = source(universe, which) else { return };
    for dataset in cloud.truth().datasets.into_iter().filter(|dataset| hidden.datasets.contains(&dataset.id)) {
        cloud.leave_group(&dataset.group, &cloud.cast().powerbi.object_id);
    }
}

/// Puts lakekey's identity into every workspace that has one of its data sources.
fn show(universe: &Universe) {
    let cloud = &universe.cloud;
    let covered: Vec<String> = cloud.sources().into_iter().filter(is_covered).flat_map(|source| source.datasets).collect();
    for dataset in cloud.truth().datasets.into_iter().filter(|dataset| covered.contains(&dataset.id)) {
        cloud.join_group(&dataset.group, &cloud.cast().powerbi.object_id, Role::Admin);
    }
}

fn source(universe: &Universe, which: usize) -> Option<SourceTruth> {
    let covered: Vec<SourceTruth> = universe.cloud.sources().into_iter().filter(is_covered).collect();
    covered.get(which % covered.len().max(1)).cloned()
}

/// Living secrets of people that no data source holds.
fn foreign(universe: &Universe) -> Vec<String> {
    let used: Vec<String> = universe.cloud.sources().into_iter().filter_map(|source| source.secret_id).collect();
    living(universe, false).into_iter().filter(|id| !used.contains(id)).collect()
}

fn living(universe: &Universe, ours: bool) -> Vec<String> {
    let cloud = &universe.cloud;
    let secrets = cloud.secrets(&cloud.cast().principal.application_id);
    let watch = universe.watch();
    let alive = secrets.into_iter().filter(|secret| secret.deleted.is_none());
    alive.map(|secret| secret.id).filter(|id| watch.is_ours(id) == ours && !watch.adopted.contains(id)).collect()
}

const MONTH: Duration = Duration::from_secs(30 * 86_400);
