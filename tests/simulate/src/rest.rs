//! When the faults have ended: within a bounded number of runs everything is as it should be, and the next rotation is not
//! held up by anything that was.

use std::sync::Arc;
use std::time::Duration;

use lakekey_core::command::{Command, Outcome};
use lakekey_core::config::StoreLocation;
use lakekey_core::error::ExitStatus;
use lakekey_core::ids::TargetId;
use lakekey_core::report::{MoveOutcome, Phase};
use lakekey_core::rotation::drive;
use lakekey_core::rotation::state::State;
use lakekey_sim::SecretTruth;
use object_store::ObjectStore;

use crate::invoke::{Finished, Start, ask, invoke};
use crate::plan::{Act, Ask, Edit, Plan};
use crate::process::sleep;
use crate::setup::Stage;
use crate::universe::held;
use crate::watch::is_covered;

/// Runs until nothing is left to do, then one rotation more.
pub async fn come_to_rest(stage: &Stage, plan: &Plan) {
    // What people did last is in every list by then, and lakekey no longer takes it for a list that lags behind a create.
    sleep(Duration::from_secs(11 * 60)).await;
    if plan.other_principal {
        ask_with_another_principal(stage).await;
    }
    // A target that the last rotation was told to leave out, that failed for a day, or that a person wrote, may hold what it held.
    let narrowed = plan.shifts.iter().any(|shift| matches!(shift.edit, Some(Edit::FewerTargets | Edit::NoTakeOver)));
    let hindered = plan.has_act(|act| matches!(act, Act::Hides(_) | Act::TakesGateway(_) | Act::Mistypes(_)));
    let all = if narrowed || hindered || plan.fleet.hidden { Expected::Some } else { Expected::All };
    if !settle(stage, "after the faults", all).await {
        return;
    }
    // Who died before it had anything to finish may have left its lease.
    sleep(Duration::from_secs(plan.config.lease) + Duration::from_millis(2 * plan.skew_ms())).await;
    if forget_what_is_gone(stage).await && !settle(stage, "after forgetting what is gone", all).await {
        return;
    }
    let mut forced = invoke(stage, Start::plain("at-rest", Ask::Force)).await;
    for _ in 0..WAITS_MAX {
        if !waits_for_a_refresh(&forced) {
            break;
        }
        sleep(Duration::from_secs(20 * 60)).await;
        forced = invoke(stage, Start::plain("at-rest", Ask::Rotate)).await;
    }
    if stage.universe.violation().is_some() {
        return;
    }
    let rotated = forced.moved().is_some_and(|moved| moved.outcome == MoveOutcome::Rotated);
    check(stage, "G5", rotated, || format!("a forced rotation at rest came to {}", outcome(&forced)));
    if rotated && settle(stage, "after a forced rotation", Expected::All).await {
        verify_journal(stage).await;
    }
}

/// A dataset that the last plan refreshes is left until that has ended, for an hour at most.
fn waits_for_a_refresh(finished: &Finished) -> bool {
    let error = finished.moved().and_then(|moved| moved.error.as_ref());
    error.is_some_and(|problem| problem.code == "waiting" && problem.message.contains("is being refreshed"))
}

/// Whether every data source must hold the current generation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    All,
    Some,
}

/// An open rotation is bound to its principal: a config that names another is refused until it is closed.
async fn ask_with_another_principal(stage: &Stage) {
    let start = Start { edit: Some(Edit::OtherPrincipal), ..Start::plain("misled", Ask::Rotate) };
    if folded(stage).await.is_none_or(|state| state.open.is_none()) {
        return;
    }
    let finished = invoke(stage, start).await;
    let code = finished.moved().and_then(|moved| moved.error.as_ref()).map(|problem| problem.code.clone());
    check(stage, "G3", code.as_deref() == Some("principal-changed"), || {
        format!("with another principal in the config an open rotation came to {}", outcome(&finished))
    });
}

/// A person's word that data sources which no list shows any more do not count; says whether there are any.
async fn forget_what_is_gone(stage: &Stage) -> bool {
    let Some(state) = folded(stage).await else { return false };
    let mut any = false;
    let gone = state.places().filter(|(_, holder)| !holder.planned);
    for target in gone.map(|(id, _)| id.clone()) {
        let name = stage.config.credentials[0].name.clone();
        let source = stage.universe.cloud.sources().into_iter().find(|source| source.target_id == target.as_str());
        if let Some(source) = source {
            stage.universe.watch().meddled.insert(source.id);
        }
        let forgotten = ask(stage, Command::Forget { name, target: target.clone() }).await;
        check(stage, "G5", forgotten.is_ok(), || format!("`forget {target}` came to {:?}", forgotten.as_ref().err()));
        any = true;
    }
    any
}

/// Runs `rotate` every now and then until all is as asked; says whether it came to that.
async fn settle(stage: &Stage, when: &str, expected: Expected) -> bool {
    let mut last = String::new();
    let mut forces = 0;
    let mut ask = Ask::Rotate;
    for run in 0..RUNS_MAX {
        let finished = invoke(stage, Start::plain("at-rest", ask)).await;
        ask = Ask::Rotate;
        let canary_failed = finished.moved().is_some_and(|moved| {
            moved.phase == Phase::Quarantined && moved.error.as_ref().is_some_and(|problem| problem.code == "canary-failed")
        });
        let held = folded(stage).await.is_some_and(|state| state.held.is_some());
        if (canary_failed || held) && forces < FORCES_MAX {
            // A person has looked at the canary, or at what the rollback was for: no timer rotates before that.
            forces += 1;
            ask = Ask::Force;
        }
        if stage.universe.violation().is_some() {
            return false;
        }
        last = outcome(&finished);
        let departed = stage.universe.watch().departed.clone();
        if !stage.universe.cloud.sources().iter().any(|source| is_covered(source) && !departed.contains(&source.id)) {
            // People have deleted everything that was to be moved: nothing can be asked of lakekey.
            return false;
        }
        let done = matches!(&finished.answer, Some(Ok(answer)) if answer.exit_status() == ExitStatus::Done);
        let phase = finished.moved().map(|moved| moved.phase);
        let unchanged = finished.moved().is_some_and(|moved| moved.outcome == MoveOutcome::Unchanged);
        if done && !unchanged {
            // What it could not see when it planned, or was added since, it leaves to the next run.
            continue;
        }
        if done && (phase == Some(Phase::Idle) || phase == Some(Phase::Draining) && is_explained(stage).await) {
            at_rest(stage, expected).await;
            return stage.universe.violation().is_none();
        }
        // Nothing is to be done before grace has passed.
        let left = finished.moved().and_then(|moved| Some(moved.retire_after?.duration_since(stage.universe.clock.now())));
        if let Some(left) = left.filter(|left| done && left.is_positive()) {
            sleep(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1)).await;
            continue;
        }
        // Often at first; then as a timer would, with a second look soon after, for lists lag behind.
        let pause = if run < 8 || run % 2 == 0 { 20 * 60 } else { 6 * 3_600 };
        sleep(Duration::from_secs(pause)).await;
    }
    let pinned = folded(stage).await.map(|state| pinned(&state)).unwrap_or_default();
    check(stage, "G5", false, || format!("{when}, {RUNS_MAX} runs did not come to rest; the last came to {last}{pinned}"));
    false
}

/// Whether all that still drains is kept for places that nobody can ask any more: a target that has vanished may hold it.
async fn is_explained(stage: &Stage) -> bool {
    let Some(state) = folded(stage).await else { return false };
    let gone = |id: &TargetId| state.place(id).is_some_and(|holder| !holder.planned);
    let mut superseded = state.living().filter(|(generation, _)| Some(*generation) != state.current);
    superseded.all(|(generation, _)| state.gates(generation).next().is_some() && state.gates(generation).all(gone))
        && state.undeleted().next().is_none()
}

/// What keeps superseded generations alive.
fn pinned(state: &State) -> String {
    let superseded = state.living().filter(|(generation, _)| Some(*generation) != state.current);
    superseded
        .map(|(generation, known)| {
            let holders: Vec<&str> = state.gates(generation).map(|id| id.as_str()).collect();
            let expiry = known.minted.expires_at.map(|at| format!("{at:.0}")).unwrap_or_default();
            format!("; generation {generation}, expiring {expiry}, is kept for {}", holders.join(", "))
        })
        .collect()
}

/// Everything that must be so when lakekey says that nothing is left to do.
async fn at_rest(stage: &Stage, expected: Expected) {
    let universe = &stage.universe;
    let cloud = &universe.cloud;
    let now = cloud.now();
    let Some(state) = folded(stage).await else {
        return check(stage, "G8", false, || "the journal cannot be read".to_owned());
    };
    let current = state.current.and_then(|current| state.generations.get(&current));
    let Some(minted) = current.map(|known| &known.minted) else {
        return check(stage, "G5", false, || "nothing is current at rest".to_owned());
    };
    let current = minted.secret_id.as_str().to_owned();
    let secrets = cloud.secrets(&cloud.cast().principal.application_id);
    let ours: Vec<String> = {
        let watch = universe.watch();
        let counts = |secret: &&SecretTruth| stage.expired_count || secret.expires > now;
        let alive = secrets.iter().filter(|secret| secret.deleted.is_none()).filter(counts);
        alive.map(|secret| secret.id.clone()).filter(|id| watch.is_ours(id) || watch.adopted.contains(id)).collect()
    };
    // A generation that a person has deleted may still be waited for; one that nobody knows may not live.
    let known: Vec<&str> = state.living().map(|(_, known)| known.minted.secret_id.as_str()).collect();
    let stray = ours.iter().find(|id| !known.contains(&id.as_str()));
    check(stage, "G2", stray.is_none(), || format!("at rest {stray:?} of lakekey's lives, and its generations are {known:?}"));
    check(stage, "G2", ours.contains(&current), || format!("at rest the current secret {current} is gone"));
    // A store that was moved has the value of the next rotation.
    let stored = universe.store(&StoreLocation::from(&minted.store).to_string());
    let stored = lakekey_core::stores::SecretStore::current(&stored).await.ok().flatten().and_then(|value| value.secret_id);
    check(stage, "G2", stored.as_ref().is_some_and(|id| id.as_str() == current), || {
        format!("the store has {stored:?} as its current value, not {current}")
    });
    let departed = universe.watch().departed.clone();
    for source in cloud.sources().into_iter().filter(is_covered).filter(|source| !departed.contains(&source.id)) {
        let holds = source.secret_id.as_deref() == Some(current.as_str());
        check(stage, "G5", holds || expected == Expected::Some, || {
            format!("at rest {} holds {:?}, not {current}", source.target_id, source.secret_id)
        });
        let alive = secrets.iter().any(|secret| secret.id == current && secret.expires > now);
        check(stage, "G1", source.connects || !alive || !holds, || format!("at rest {} does not connect", source.target_id));
    }
}

async fn verify_journal(stage: &Stage) {
    let verified = ask(stage, Command::History { names: Vec::new(), verify: true }).await;
    let whole = match &verified {
        Ok(Outcome::History(report)) => report.credentials.iter().all(|history| history.verified == Some(true)),
        Ok(_) | Err(_) => false,
    };
    check(stage, "G8", whole, || "`history --verify` does not trust the journal".to_owned());
    let status = ask(stage, Command::Status { names: Vec::new() }).await;
    let now = stage.universe.cloud.now();
    stage.universe.watch().shown("the history or the status", &format!("{verified:?} {status:?}"), now);
}

/// The journal's fold. What every process reads from its beginning, the simulation reads on.
async fn folded(stage: &Stage) -> Option<State> {
    let known = held(&stage.folded).take();
    let folded = match known {
        Some(known) => drive::read_on(known).await,
        None => {
            let objects: Arc<dyn ObjectStore> = Arc::clone(&stage.universe.objects) as Arc<dyn ObjectStore>;
            drive::read(objects, &stage.universe.cloud.cast().principal.application_id, None, false).await
        }
    };
    let folded = folded.ok()?;
    let state = folded.1.clone();
    *held(&stage.folded) = Some(folded);
    Some(state)
}

fn check(stage: &Stage, guarantee: &'static str, holds: bool, why: impl FnOnce() -> String) {
    let now = stage.universe.cloud.now();
    let mut watch = stage.universe.watch();
    watch.counts.checked(guarantee);
    if !holds {
        watch.broken(guarantee, now, why());
    }
}

fn outcome(finished: &Finished) -> String {
    match (&finished.answer, finished.moved()) {
        (_, Some(moved)) => format!("{} {:?} {:?}", moved.outcome.as_str(), moved.phase, moved.error),
        (Some(Err(error)), _) => error.to_string(),
        (Some(Ok(_)), None) => "another answer".to_owned(),
        (None, _) => "a crash".to_owned(),
    }
}

/// What failed canaries and rollbacks ask of a person, in one wait for rest.
const FORCES_MAX: u32 = 3;
/// An hour and a bit, in which a forced rotation may be left waiting.
const WAITS_MAX: u32 = 5;
/// Seventeen days: longer than any secret of a plan lives.
const RUNS_MAX: u32 = 130;
