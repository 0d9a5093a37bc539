//! What people do meanwhile.

use std::time::Duration;

use lakekey_sim::SourceTruth;

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
        Act::StopsWarehouses => {
            for warehouse in cloud.cast().warehouses.iter().flatten() {
                cloud.stop_warehouse(warehouse);
            }
        }
    }
    universe.observe();
}

/// People tidy up after themselves: every secret of theirs that nobody uses goes, so that there is room for lakekey's.
pub fn tidy(universe: &Universe) {
    for id in foreign(universe) {
        universe.cloud.person_deletes_secret(&id);
    }
    universe.observe();
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
