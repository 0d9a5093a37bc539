//! The scanner API (facts §1.5): for identities that the tenant lets in, with the hourly limits that the reference states.
//! A scan takes its time, and shows what was there when it ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::items::{dataflow, items, report, used_source};
use super::{Dataset, Group, ItemKind, Use, error, not_found};
use crate::clock::{later, until};
use crate::settings::Scanner;
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

/// Scans and who asked for what, in the last hour.
#[derive(Default)]
pub(crate) struct Scans {
    known: BTreeMap<String, Scan>,
    asked: BTreeMap<(&'static str, String), VecDeque<Timestamp>>,
}

struct Scan {
    caller: String,
    workspaces: Vec<String>,
    created: Timestamp,
    done: Timestamp,
}

pub(super) fn modified(world: &mut World, caller: &str, call: &Call) -> Answer {
    let_in(world, caller, ("modified", 30))?;
    for (name, value) in &call.query {
        let known = match name.as_str() {
            "excludePersonalWorkspaces" | "excludeInActiveWorkspaces" => flag(value).is_some(),
            "modifiedSince" => value.parse::<Timestamp>().is_ok(),
            _ => false,
        };
        if !known {
            return Err(error(400, "BadRequest", &format!("The query parameter {name} is invalid")));
        }
    }
    let without_personal = call.asked("excludePersonalWorkspaces").and_then(flag).unwrap_or(false);
    let groups = world.bi.groups.values().filter(|group| !(without_personal && group.personal));
    // A bare list: no `value` around it.
    Ok(Reply::json(200, &groups.map(|group| json!({ "id": group.id })).collect::<Vec<Value>>().into()))
}

pub(super) fn start(world: &mut World, caller: &str, call: &Call) -> Answer {
    let_in(world, caller, ("getInfo", 500))?;
    let bad = |why: &str| error(400, "BadRequest", why);
    for (name, value) in &call.query {
        if !PARTS.contains(&name.as_str()) || flag(value).is_none() {
            return Err(bad(&format!("The query parameter {name} is invalid")));
        }
    }
    let body = call.object().ok_or_else(|| bad("The body is not JSON"))?;
    let ids = body["workspaces"].as_array().ok_or_else(|| bad("workspaces is missing"))?;
    let workspaces: Vec<String> = ids.iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
    let unique: BTreeSet<&String> = workspaces.iter().collect();
    let valid = workspaces.iter().all(|id| Uuid::parse_str(id).is_ok()) && unique.len() == ids.len();
    if !valid || !(1..=WORKSPACES_MAX).contains(&ids.len()) {
        return Err(bad("workspaces takes 1 to 100 different ids"));
    }
    let running = world.bi.scans.known.values().filter(|scan| scan.caller == caller && scan.done > world.now).count();
    if running >= AT_ONCE_MAX {
        return Err(Reply::empty(429).with("retry-after", "5"));
    }
    let id = world.rng.uuid().to_string();
    let (created, done) = (world.now, later(world.now, world.settings.scan_time));
    world.bi.scans.known.insert(id.clone(), Scan { caller: caller.to_owned(), workspaces, created, done });
    Ok(Reply::json(202, &json!({ "id": id, "createdDateTime": created.to_string(), "status": "NotStarted" })))
}

pub(super) fn status(world: &mut World, caller: &str, id: &str) -> Answer {
    let_in(world, caller, ("scanStatus", 10_000))?;
    let scan = known(world, caller, id)?;
    let state = if scan.done <= world.now { "Succeeded" } else { "Running" };
    Ok(Reply::json(200, &json!({ "id": id, "createdDateTime": scan.created.to_string(), "status": state })))
}

pub(super) fn result(world: &mut World, caller: &str, id: &str) -> Answer {
    let_in(world, caller, ("scanResult", 500))?;
    let scan = known(world, caller, id)?;
    if scan.done > world.now || until(scan.done, world.now) >= KEPT {
        return Err(not_found());
    }
    let mut instances: BTreeMap<String, Value> = BTreeMap::new();
    let mut workspaces = Vec::new();
    for group in scan.workspaces.iter().filter_map(|id| world.bi.groups.get(id)) {
        for used in uses(world, &group.id) {
            if let Some(id) = &used.source {
                instances.insert(id.clone(), used_source(world, used));
            }
        }
        workspaces.push(shown(world, group));
    }
    let instances: Vec<Value> = instances.into_values().collect();
    Ok(Reply::json(200, &json!({ "workspaces": workspaces, "datasourceInstances": instances })))
}

fn uses<'a>(world: &'a World, group: &'a str) -> impl Iterator<Item = &'a Use> {
    let datasets = world.bi.datasets.in_group(group);
    let flows = items(world, group).filter(|(_, item)| item.kind == ItemKind::Dataflow);
    datasets.flat_map(|dataset| &dataset.uses).chain(flows.flat_map(|(_, flow)| &flow.uses))
}

fn shown(world: &World, group: &Group) -> Value {
    let dataset = |dataset: &Dataset| {
        json!({
            "id": dataset.id,
            "name": dataset.name,
            "configuredBy": dataset.owner,
            "targetStorageMode": "Abf",
            "datasourceUsages": usages(&dataset.uses),
        })
    };
    let datasets = world.bi.datasets.in_group(&group.id).map(dataset);
    let (mut flows, mut reports) = (Vec::new(), Vec::new());
    for (id, item) in items(world, &group.id) {
        if item.kind == ItemKind::Dataflow {
            let mut row = dataflow(id, item);
            row["datasourceUsages"] = usages(&item.uses);
            flows.push(row);
        } else {
            // What a paginated report connects to is not among what the definitions say of a scan.
            reports.push(report(id, item));
        }
    }
    json!({
        "id": group.id,
        "name": group.name,
        "type": if group.personal { "PersonalGroup" } else { "Workspace" },
        "state": "Active",
        "isOnDedicatedCapacity": false,
        "datasets": datasets.collect::<Vec<Value>>(),
        "dataflows": flows,
        "reports": reports,
        "dashboards": [],
    })
}

fn usages(uses: &[Use]) -> Value {
    uses.iter().filter_map(|used| Some(json!({ "datasourceInstanceId": used.source.as_ref()? }))).collect()
}

fn known<'a>(world: &'a World, caller: &str, id: &str) -> Result<&'a Scan, Reply> {
    world.bi.scans.known.get(id).filter(|scan| scan.caller == caller).ok_or_else(not_found)
}

/// Whom the tenant lets in, and whether this hour has another request of the kind for them.
fn let_in(world: &mut World, caller: &str, (kind, per_hour): (&'static str, usize)) -> Result<(), Reply> {
    match world.settings.scanner {
        Scanner::Closed { status } => return Err(error(status, "PowerBINotAuthorizedException", "")),
        Scanner::Open => {}
    }
    let now = world.now;
    let asked = world.bi.scans.asked.entry((kind, caller.to_owned())).or_default();
    while asked.front().is_some_and(|&at| until(at, now) >= HOUR) {
        asked.pop_front();
    }
    if let Some(&oldest) = asked.front().filter(|_| asked.len() >= per_hour) {
        let wait = (HOUR - until(oldest, now)).as_secs() + 1;
        return Err(Reply::empty(429).with("retry-after", wait.to_string()));
    }
    asked.push_back(now);
    Ok(())
}

fn flag(text: &str) -> Option<bool> {
    text.to_lowercase().parse().ok()
}

const PARTS: [&str; 5] = ["lineage", "datasourceDetails", "datasetSchema", "datasetExpressions", "getArtifactUsers"];
const WORKSPACES_MAX: usize = 100;
const AT_ONCE_MAX: usize = 16;
const HOUR: Duration = Duration::from_secs(3_600);
/// How long a result can be fetched.
const KEPT: Duration = Duration::from_secs(24 * 3_600);
