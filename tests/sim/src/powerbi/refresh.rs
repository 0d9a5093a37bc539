//! Refreshes (facts §1.4): accepted at once, done after a while, and then good or bad by what the dataset's sources hold
//! at that very time.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::groups::dataset;
use super::{Role, error, not_found, value_list};
use crate::clock::{later, written};
use crate::connect;
use crate::wire::{Answer, Call, Reply, number, text};
use crate::world::World;

#[derive(Clone)]
pub(crate) struct Refresh {
    pub(crate) id: String,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) enhanced: bool,
    /// `None` while it runs, then why it failed, if it did.
    pub(crate) outcome: Option<Result<(), String>>,
}

pub(super) fn start(world: &mut World, caller: &str, call: &Call, group: &str, id: &str) -> Answer {
    let dataset = dataset(world, caller, group, id, Role::Contributor)?;
    let body = call.object().ok_or_else(|| error(400, "BadRequest", "the body is not a JSON object"))?;
    let option = text(&body, "notifyOption");
    let enhanced = body.as_object().is_some_and(|body| body.keys().any(|key| key != "notifyOption"));
    if option.is_some_and(|option| option != "NoNotification") || (enhanced && option.is_some()) {
        return Err(error(400, "BadRequest", "notifyOption does not apply to service principals or enhanced refreshes"));
    }
    if enhanced && !world.settings.dedicated_capacity {
        return Err(error(400, "BadRequest", "enhanced refresh needs a dedicated capacity"));
    }
    if dataset.refreshes.iter().any(|refresh| refresh.outcome.is_none()) {
        let text = "Invalid dataset refresh request. Another refresh request is already executing";
        return Err(error(400, "RefreshInProgressException", text));
    }
    let (start, end) = (world.now, later(world.now, world.settings.refresh_time));
    let refresh = Refresh { id: world.rng.uuid().to_string(), start, end, enhanced, outcome: None };
    let mut reply = Reply::empty(202);
    if enhanced {
        let place = format!("{}/v1.0/myorg/groups/{group}/datasets/{id}/refreshes/{}", world.addresses.powerbi, refresh.id);
        reply = reply.with("location", place).with("x-ms-request-id", refresh.id.clone());
    }
    if let Some(dataset) = world.bi.datasets.get_mut(id) {
        dataset.refreshes.push(refresh);
    }
    world.bi.refreshing.insert(id.to_owned());
    Ok(reply)
}

pub(super) fn history(world: &World, caller: &str, call: &Call, group: &str, id: &str) -> Answer {
    let dataset = dataset(world, caller, group, id, Role::Viewer)?;
    let top =
        number(call, "$top", 60).filter(|&top| top > 0).ok_or_else(|| error(400, "BadRequest", "$top must be at least 1"))?;
    let rows = dataset.refreshes.iter().rev().take(top).map(shown).collect();
    Ok(value_list(world, "refreshes", rows))
}

/// Only enhanced refreshes have details; their times are UTC and don't say so.
pub(super) fn detail(world: &World, caller: &str, (group, id): (&str, &str), refresh: &str) -> Answer {
    let dataset = dataset(world, caller, group, id, Role::Viewer)?;
    let found = dataset.refreshes.iter().find(|known| known.enhanced && known.id == refresh).ok_or_else(not_found)?;
    let naive = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S.%2f").to_string();
    let mut body =
        json!({ "startTime": naive(found.start), "type": "Full", "currentRefreshType": "Full", "numberOfAttempts": 1 });
    let (http, status, extended) = match &found.outcome {
        None => (202, "Unknown", "InProgress"),
        Some(Ok(())) => (200, "Completed", "Completed"),
        Some(Err(_)) => (200, "Failed", "Failed"),
    };
    if found.outcome.is_some() {
        body["endTime"] = naive(found.end).into();
    }
    body["status"] = status.into();
    body["extendedStatus"] = extended.into();
    Ok(Reply::json(http, &body))
}

/// Ends what has run its time. It runs before anything else happens, so that the state is that of the end.
pub(crate) fn settle(world: &mut World) {
    let mut ended = Vec::new();
    for dataset in world.bi.refreshing.iter().filter_map(|id| world.bi.datasets.get(id)) {
        for (at, refresh) in dataset.refreshes.iter().enumerate() {
            if refresh.outcome.is_none() && refresh.end <= world.now {
                let sources = dataset.uses.iter().map(|used| used.source.as_ref().and_then(|id| world.bi.sources.get(id)));
                let mut failures = sources.filter_map(|source| match source {
                    None => Some(CREDENTIALS.to_owned()),
                    Some(source) => connect::check(world, &source.details, &source.credential, refresh.end)
                        .err()
                        .map(|_| CREDENTIALS.to_owned()),
                });
                ended.push((dataset.id.clone(), at, failures.next().map_or(Ok(()), Err)));
            }
        }
    }
    for (id, at, outcome) in ended {
        if let Some(dataset) = world.bi.datasets.get_mut(&id) {
            dataset.refreshes[at].outcome = Some(outcome);
        }
        world.bi.refreshing.remove(&id);
    }
}

fn shown(refresh: &Refresh) -> Value {
    let kind = if refresh.enhanced { "ViaEnhancedApi" } else { "ViaApi" };
    let mut row =
        json!({ "requestId": refresh.id, "refreshType": kind, "startTime": written(refresh.start), "status": "Unknown" });
    let Some(outcome) = &refresh.outcome else { return row };
    row["endTime"] = written(refresh.end).into();
    let mut attempt = json!({ "attemptId": 1, "startTime": row["startTime"], "endTime": row["endTime"], "type": "Data" });
    match outcome {
        Ok(()) => row["status"] = "Completed".into(),
        Err(code) => {
            let exception = json!({ "errorCode": code }).to_string();
            row["status"] = "Failed".into();
            row["serviceExceptionJson"] = exception.clone().into();
            attempt["serviceExceptionJson"] = exception.into();
        }
    }
    row["refreshAttempts"] = json!([attempt]);
    row
}

const CREDENTIALS: &str = "ModelRefreshFailed_CredentialsNotSpecified";
