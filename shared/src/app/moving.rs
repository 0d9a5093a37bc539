//! `rotate` and `reapply`: each credential's run, and the report of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt;
use jiff::Timestamp;

use tracing::{error, info, warn};

use super::sharing::Seen;
use super::{App, few_at_once, many_at_once};
use crate::command::Progress;
use crate::config::Credential;
use crate::error::{Error, ErrorKind, Problem};
use crate::ids::{ApplicationId, CredentialName, TargetId};
use crate::journal::names;
use crate::report::{CredentialMove, MoveOutcome, MoveReport, Phase, RefreshOutcome, TargetMove, TargetOutcome};
use crate::rotation::drive::{Ended, Ports, Run, policy, read};
use crate::rotation::event::PlanKind;
use crate::rotation::led::LedStep;
use crate::rotation::next::{Goal, retire_after};
use crate::rotation::preflight::Principal;
use crate::rotation::quarantine;
use crate::rotation::refresh::RefreshFate;
use crate::rotation::stake::{Urgency, at_stake};
use crate::rotation::state::{Holder, State};
use crate::targets::TargetSpec;

impl App {
    pub(super) async fn rotate(
        &self,
        credentials: &[&Credential],
        force: bool,
        progress: &Progress,
    ) -> Result<MoveReport, Error> {
        self.each(credentials, Goal::Rotate { force }, progress).await
    }

    pub(super) async fn reapply(
        &self,
        credentials: &[&Credential],
        refresh: bool,
        progress: &Progress,
    ) -> Result<MoveReport, Error> {
        self.each(credentials, Goal::Reapply { refresh }, progress).await
    }

    async fn each(&self, credentials: &[&Credential], goal: Goal, progress: &Progress) -> Result<MoveReport, Error> {
        self.surroundings.storage.open_state(&self.config.state.location).await?;
        let looks = credentials.iter().map(|credential| {
            let look = async move {
                match goal {
                    Goal::Rotate { .. } => self.find_or_create(credential).await,
                    Goal::Reapply { .. } | Goal::Rollback | Goal::Revoke | Goal::Step(_) => self.find(credential).await,
                }
            };
            look.boxed()
        });
        let found: Vec<Result<Principal, Error>> = many_at_once(looks.collect()).await;
        let shared = shared_principals(credentials, &found);
        let going = credentials.iter().zip(&found).filter(|(credential, _)| !shared.contains_key(&credential.name));
        let going: Vec<_> = going.filter_map(|(&credential, found)| Some((credential, found.as_ref().ok()?))).collect();
        let mut looked = self.preflights(&going, goal).await;
        let runs = credentials.iter().zip(found).map(|(credential, found)| {
            let shared = shared.get(&credential.name).cloned();
            let seen = looked.remove(&credential.name).unwrap_or_default();
            let run = async move {
                let outcome = match (found, shared) {
                    (Ok(_), Some(problem)) => Err(Error::new(ErrorKind::Failed, problem)),
                    (Ok(principal), None) => Box::pin(self.one(credential, (principal, seen), goal, progress)).await,
                    (Err(error), _) => Err(error),
                };
                match outcome {
                    Ok(report) => report,
                    Err(error) => {
                        let report = self.not_begun(credential, &error).await;
                        self.tell_of_failure(credential, &report).await;
                        report
                    }
                }
            };
            run.boxed()
        });
        Ok(MoveReport { credentials: few_at_once(runs.collect()).await })
    }

    /// Opens a run that goes on from what was seen before it.
    pub(super) async fn begun<'a>(&self, ports: &'a Ports, seen: Seen, goal: Goal) -> Result<Run<'a>, Error> {
        let read = match seen.read {
            Some(read) => read,
            None => ports.read().await?,
        };
        self.check_one_owner(ports, &read.1).await?;
        Run::open(ports, goal, seen.preflight, read).await
    }

    async fn one(
        &self,
        credential: &Credential,
        (principal, seen): (Principal, Seen),
        goal: Goal,
        progress: &Progress,
    ) -> Result<CredentialMove, Error> {
        let ports = self.ports(credential, principal, progress).await?;
        let run = self.begun(&ports, seen, goal).await?;
        let open = run.state.open.as_ref().map(|open| open.plan.kind);
        if matches!(goal, Goal::Reapply { .. })
            && (open.is_some_and(|kind| !matches!(kind, PlanKind::Reapply | PlanKind::Join)) || run.state.turn.is_some())
        {
            let _ = run.close().await;
            return Err(Error::unfinished("rotation-open", format!("a rotation of `{}` is open", credential.name))
                .hint("`lakekey rotate` finishes it and leaves every target with the same secret"));
        }
        Ok(Box::pin(self.driven(&ports, run, goal)).await)
    }

    /// Drives a run to where it ends, gives its lease back, and says what it came to.
    pub(super) async fn driven(&self, ports: &Ports, mut run: Run<'_>, goal: Goal) -> CredentialMove {
        let was = Was::of(&run.state);
        let ended = run.drive(goal).await;
        Box::pin(self.left(ports, run, was, ended)).await
    }

    /// Gives the lease back, and says what the run came to.
    pub(super) async fn left(&self, ports: &Ports, run: Run<'_>, was: Was, ended: Result<Ended, Error>) -> CredentialMove {
        let again = match &ended {
            Ok(Ended::Left { at, .. }) => Some(*at),
            Ok(Ended::Done | Ended::Waiting { .. } | Ended::Resting { .. } | Ended::Stopped(_)) | Err(_) => None,
        };
        let report = report(ports, &run, was, ended);
        let notices = self.notices(&run.state, &report);
        match run.close().await {
            Ok(_) => {}
            // The report says what matters; a lease that could not be given back ends by itself.
            Err(error) => warn!(credential = %report.name, code = error.code(), "could not give the lease back"),
        }
        if let Some(at) = again {
            self.leave_to_another(&report.name, at).await;
        }
        self.deliver(&notices).await;
        report
    }

    pub(super) async fn ports(&self, credential: &Credential, principal: Principal, progress: &Progress) -> Result<Ports, Error> {
        Ok(Ports {
            credential: credential.clone(),
            config_digest: self.config.digest.clone(),
            state_config: self.config.state.clone(),
            state: self.state().await?,
            state_key: self.state_key().await?,
            principal,
            workspaces: self.workspaces(credential)?,
            targets: self.targets(credential)?,
            http: Arc::clone(&self.http),
            storage: Arc::clone(&self.surroundings.storage),
            clock: self.surroundings.clock.clone(),
            random: self.surroundings.random.clone(),
            runner: self.surroundings.runner.clone(),
            progress: progress.clone(),
            decide: self.surroundings.decide,
            asked: self.asked.clone(),
            searches: self.searches,
            stop: self.stop.clone(),
            invocation: self.invocation.clone(),
        })
    }

    /// Nothing was begun. How the credential stands is what its journal says, as far as that can be read.
    pub(super) async fn not_begun(&self, credential: &Credential, error: &Error) -> CredentialMove {
        let known = self.last_known(credential).await.ok();
        let state = known.as_ref();
        let (outcome, phase, problem) = match error.kind() {
            ErrorKind::Usage | ErrorKind::Failed => {
                (MoveOutcome::Failed, state.map_or(Phase::Idle, State::phase), error.problem().clone())
            }
            ErrorKind::Unfinished => {
                (MoveOutcome::Incomplete, state.map_or(Phase::Applying, State::phase), error.problem().clone())
            }
            ErrorKind::Quarantined => {
                (MoveOutcome::Incomplete, Phase::Quarantined, quarantine::told(&credential.name, error.problem().clone()))
            }
        };
        let current = state.and_then(|state| state.generations.get(&state.meant()?));
        let now = self.surroundings.clock.now();
        let error = match state {
            Some(state) => with_stake(&credential.name, now, state, Some(problem)),
            None => Some(problem),
        };
        CredentialMove {
            name: credential.name.clone(),
            outcome,
            phase,
            generation: current.map(|known| known.minted.generation),
            secret_id: current.map(|known| known.minted.secret_id.clone()),
            expires_at: current.and_then(|known| known.minted.expires_at),
            targets: Vec::new(),
            retired: Vec::new(),
            retire_after: state
                .filter(|state| state.is_draining())
                .and_then(|state| retire_after(state, &policy(credential, &self.config.state))),
            error,
        }
    }

    /// One principal belongs to one credential, and one credential has one open principal at a time. `state` is that of the
    /// principal's journal.
    pub(super) async fn check_one_owner(&self, ports: &Ports, state: &State) -> Result<(), Error> {
        let name = &ports.credential.name;
        let journal = ports.principal.application_id.as_str();
        for other in names::journals_of(&*ports.state, name).await? {
            if other == journal {
                continue;
            }
            let (_, state) = read(Arc::clone(&ports.state), &other, ports.state_key.clone(), false).await?;
            if state.open.is_some_and(|open| open.plan.credential == *name) {
                return Err(Error::failed(
                    "principal-changed",
                    format!(
                        "a rotation of `{name}` is open for service principal `{other}`, but the config now names `{journal}`"
                    ),
                )
                .hint("put the former service principal back, let `lakekey rotate` finish, then change it"));
            }
        }
        let open = state.open.as_ref().map(|open| &open.plan.credential);
        let owner = open.or_else(|| state.begun.as_ref().map(|begun| &begun.credential));
        match owner {
            Some(owner) if owner != name && self.config.credentials.iter().any(|credential| credential.name == *owner) => {
                Err(Error::new(ErrorKind::Failed, principal_shared(name, owner, journal)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// How things stood when a run began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Was {
    open: bool,
    sent: bool,
}

impl Was {
    pub(super) fn of(state: &State) -> Self {
        Self { open: state.open.is_some() || state.turn.is_some(), sent: state.open.as_ref().is_some_and(|open| open.sent) }
    }
}

fn shared_principals(credentials: &[&Credential], found: &[Result<Principal, Error>]) -> BTreeMap<CredentialName, Problem> {
    let mut owners: BTreeMap<&ApplicationId, &CredentialName> = BTreeMap::new();
    let mut shared = BTreeMap::new();
    for (credential, principal) in credentials.iter().zip(found) {
        let Ok(principal) = principal else { continue };
        let id = &principal.application_id;
        if let Some(owner) = owners.insert(id, &credential.name) {
            shared.insert(credential.name.clone(), principal_shared(&credential.name, owner, id.as_str()));
            shared.insert(owner.clone(), principal_shared(owner, &credential.name, id.as_str()));
        }
    }
    shared
}

fn principal_shared(name: &CredentialName, other: &CredentialName, principal: &str) -> Problem {
    Problem::new("principal-shared", format!("`{name}` and `{other}` are the same service principal `{principal}`"))
        .hint("one principal belongs to one credential: put all its targets under one of them and remove the other")
}

fn report(ports: &Ports, run: &Run<'_>, was: Was, ended: Result<Ended, Error>) -> CredentialMove {
    let state = &run.state;
    let settled = run.seen.settled.last();
    let undeleted = run.seen.undeleted.clone().filter(|_| state.undeleted().next().is_some());
    let (outcome, error) = match (&ended, settled) {
        (Ok(_), Some(_)) if run.seen.quarantined => (MoveOutcome::Incomplete, state.quarantine.clone()),
        // A rotation that ended early after its first wave has left targets between two generations: it is due again.
        (_, Some((PlanKind::Rotate, Some(problem)))) if was.sent || !run.touched.is_empty() => {
            (MoveOutcome::Incomplete, Some(problem.clone()))
        }
        (_, Some((_, Some(problem)))) => (MoveOutcome::Failed, Some(problem.clone())),
        (Ok(Ended::Done), _) if undeleted.is_some() => (MoveOutcome::Incomplete, undeleted),
        (Ok(Ended::Done), Some((PlanKind::Rotate, None))) => (MoveOutcome::Rotated, None),
        (Ok(Ended::Done), Some((PlanKind::Rollback, None))) => (MoveOutcome::RolledBack, None),
        (Ok(Ended::Done), Some((PlanKind::Revoke, None))) => (MoveOutcome::Revoked, cut_off(run)),
        (Ok(Ended::Done), Some((PlanKind::Reapply | PlanKind::Join, None))) => all_reached(run, MoveOutcome::Reapplied),
        (Ok(Ended::Done), None) => all_reached(run, MoveOutcome::Unchanged),
        (Ok(Ended::Waiting { until, why }), _) => (MoveOutcome::Incomplete, Some(waiting(until, why))),
        (Ok(Ended::Resting { until, next, .. }), _) => (MoveOutcome::Incomplete, Some(resting(until, *next))),
        (Ok(Ended::Left { at, why }), _) => (MoveOutcome::Incomplete, Some(carried_on(at, why))),
        (Ok(Ended::Stopped(problem)), _) => (
            if state.open.is_some() || state.turn.is_some() || state.quarantine.is_some() {
                MoveOutcome::Incomplete
            } else {
                MoveOutcome::Failed
            },
            Some(problem.clone()),
        ),
        (Err(error), _) => {
            let unfinished = state.open.is_some() || was.open || run.changed || error.kind() == ErrorKind::Unfinished;
            (if unfinished { MoveOutcome::Incomplete } else { MoveOutcome::Failed }, Some(error.problem().clone()))
        }
    };
    let is_quarantined = state.quarantine.is_some() || ended.as_ref().is_err_and(|error| error.kind() == ErrorKind::Quarantined);
    let error = error.map(|problem| if is_quarantined { quarantine::told(&ports.credential.name, problem) } else { problem });
    let error = with_stake(&ports.credential.name, ports.clock.now(), state, error);
    let known = state.meant().and_then(|generation| state.generations.get(&generation));
    CredentialMove {
        name: ports.credential.name.clone(),
        outcome,
        phase: state.phase(),
        generation: known.map(|known| known.minted.generation),
        secret_id: known.map(|known| known.minted.secret_id.clone()),
        expires_at: known.and_then(|known| known.minted.expires_at),
        targets: targets(run),
        retired: run.retired.clone(),
        retire_after: retire_after(state, &ports.policy()).filter(|_| state.is_draining()),
        error,
    }
}

/// This outcome, unless a target that the run wrote to has refused.
fn all_reached(run: &Run<'_>, outcome: MoveOutcome) -> (MoveOutcome, Option<Problem>) {
    let failed = targets(run).into_iter().find(|target| target.outcome == TargetOutcome::Failed);
    match failed {
        None => (outcome, None),
        Some(target) => (
            MoveOutcome::Incomplete,
            target.error.or_else(|| Some(Problem::new("target-failed", format!("`{}` could not be reached", target.id)))),
        ),
    }
}

/// Whoever reads why it is not finished also reads what is at stake meanwhile, and how soon. The log says so even of a run
/// that found nothing to do: a parked target waits for a person all the same.
fn with_stake(name: &CredentialName, now: Timestamp, state: &State, problem: Option<Problem>) -> Option<Problem> {
    let Some(stake) = at_stake(state, now) else { return problem };
    match stake.urgency {
        Urgency::Notice => info!(credential = %name, "{stake}"),
        Urgency::Warning => warn!(credential = %name, "{stake}"),
        Urgency::Urgent | Urgency::Expired => error!(credential = %name, "{stake}"),
    }
    problem.map(|problem| Problem { message: format!("{}; {stake}", problem.message), ..problem })
}

/// Targets that did not take the new secret before the old ones went, whichever run tried.
fn cut_off(run: &Run<'_>) -> Option<Problem> {
    let lacks_it =
        |(_, holder): &(_, &Holder)| holder.planned && holder.confirmed != run.state.current && holder.failures.is_some();
    let behind = run.state.places().filter(lacks_it).count();
    (behind > 0).then(|| {
        Problem::new(
            "cut-off",
            format!(
                "{behind} target{} did not take the new secret, and the older ones are gone",
                if behind == 1 { "" } else { "s" }
            ),
        )
        .hint("mend them, then run `lakekey reapply`; the table says why each did not take it")
    })
}

/// Secrets Manager has the word.
fn resting(until: &Timestamp, next: LedStep) -> Problem {
    Problem::new("led", format!("Secrets Manager leads this rotation and is to ask for `{}` next", next.as_str())).hint(format!(
        "nothing need be done; if it does not ask, the schedule finishes the rotation after {until:.0}; every target holds a live secret meanwhile"
    ))
}

fn carried_on(at: &Timestamp, why: &str) -> Problem {
    Problem::new("carried-on", why.to_owned())
        .hint(format!("another invocation goes on from {at:.0}; every target holds a live secret meanwhile"))
}

fn waiting(until: &Timestamp, why: &str) -> Problem {
    Problem::new("waiting", why.to_owned()).hint(format!(
        "nothing more can be done before {until:.0}; every target holds a live secret meanwhile; run `lakekey rotate` again after that"
    ))
}

/// The targets of the open plan, or those that this run sent something to, or all that were last planned.
fn targets(run: &Run<'_>) -> Vec<TargetMove> {
    let state = &run.state;
    let named: BTreeSet<&TargetId> = match &state.open {
        Some(open) => open.targets().collect(),
        None => run.touched.iter().collect(),
    };
    let wanted = |id: &&TargetId, holder: &Holder| {
        named.contains(id) || state.open.is_none() && holder.failures.as_ref().is_some_and(|failures| failures.parked)
    };
    state
        .places()
        .filter_map(|(id, holder)| Some((id, holder, holder.spec.as_deref()?)))
        .filter(|(id, holder, _): &(_, _, &TargetSpec)| wanted(id, holder))
        .map(|(id, holder, spec)| {
            let number = state.open.as_ref().map_or(state.plans, |open| open.number);
            let done = holder.done.is_some_and(|(plan, generation)| plan == number && Some(generation) == state.meant());
            let failures = holder.failures.as_ref();
            let outcome = match failures {
                Some(failures) if failures.parked => TargetOutcome::Parked,
                Some(_) => TargetOutcome::Failed,
                None if done => TargetOutcome::Updated,
                None => TargetOutcome::Pending,
            };
            TargetMove {
                id: id.clone(),
                outcome,
                attempts: holder.attempts,
                error: failures.map_or_else(|| holder.busy.as_ref()?.problem.clone(), |failures| failures.problem.clone()),
                refresh: refreshed(state, spec),
            }
        })
        .collect()
}

/// What became of the refreshes of a target's datasets: one that failed shows, then one that has not ended.
fn refreshed(state: &State, spec: &TargetSpec) -> Option<RefreshOutcome> {
    let known = spec.datasets.iter().filter_map(|dataset| state.refreshes.get(&dataset.id));
    let shown = known.filter_map(|refresh| match &refresh.fate {
        RefreshFate::Wanted if refresh.credential_failures > 0 => Some(RefreshOutcome::Failed),
        RefreshFate::Wanted | RefreshFate::Asked { .. } => None,
        RefreshFate::Started { .. } => Some(RefreshOutcome::Started),
        RefreshFate::Over(outcome) => Some(*outcome),
    });
    shown.max_by_key(|outcome| match outcome {
        RefreshOutcome::Completed => 0,
        RefreshOutcome::Started => 1,
        RefreshOutcome::Failed => 2,
    })
}
