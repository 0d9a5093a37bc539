//! One runner: `perform` and `drive` as they are, but on the [`World`]. Dies or falls behind wherever the real one can.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::faults::Faults;
use super::workers::end_wave;
use super::world::{By, LANDING, LEASE, LIFETIME_S, SKEW, World};
use crate::config::schedule::Calendar;
use crate::error::Problem;
use crate::ids::{ApplicationId, CredentialName, Generation, RunnerId, SecretId, ServicePrincipalId, Workspace};
use crate::rotation::event::{Begun, Condemnation, Event, Minted, Place, PlanKind, Planned, Turn};
use crate::rotation::next::{Goal, Observed, Policy, Step, lacking, next, past};
use crate::rotation::recover::Listed;
use crate::rotation::state::State;
use crate::rotation::waves;
use crate::targets::TargetSpec;

/// Steps of one run before it counts as going in circles.
const STEPS_MAX: u32 = 300;
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// How a run ended, or why it broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Waiting(Timestamp),
    Stopped(Problem),
    /// It died on the spot.
    Crashed,
    /// An error, such as an answer that never came; the lease was given back if it was still its own.
    Failed,
    /// Somebody else holds the lease.
    Held,
}

pub(super) type Did = Result<(), End>;

pub(super) struct Runner {
    pub(super) id: RunnerId,
    pub(super) state: State,
    pub(super) seen: Observed,
    pub(super) goal: Goal,
    pub(super) policy: Policy,
    /// How far its clock is off.
    pub(super) off: SignedDuration,
    read: usize,
    steps: u32,
    pub(super) trace: Vec<Step>,
}

pub(super) fn policy() -> Policy {
    let hours = SignedDuration::from_hours;
    Policy { rotate_every: Some(hours(7 * 24)), grace: hours(24), skew: SKEW, calendar: Calendar::default() }
}

impl Runner {
    /// Folds the journal and takes the lease. With `locks`, the state's OS lock ends a dead runner's lease.
    pub(super) fn open(world: &mut World, id: &str, goal: Goal, off: SignedDuration, locks: bool) -> Result<Self, End> {
        let state = world.fold();
        let id = RunnerId::new(id);
        let read = world.journal.len();
        let mut runner =
            Self { id, state, seen: Observed::default(), goal, policy: policy(), off, read, steps: 0, trace: Vec::new() };
        let now = world.now + off;
        if runner.state.wave_out().is_some() {
            if !end_wave(world, &runner.id, off) {
                return Err(End::Held);
            }
            (runner.state, runner.read) = (world.fold(), world.journal.len());
        }
        if runner.state.lease.as_ref().is_some_and(|lease| !locks && past(lease.until, SKEW) > now) {
            return Err(End::Held);
        }
        let landing_ms = i64::try_from(LANDING.as_millis()).unwrap();
        let event = Event::LeaseTaken { epoch: runner.state.epoch + 1, until: past(now, LEASE), landing_ms };
        runner.record(world, event)?;
        Ok(runner)
    }

    /// One turn of the loop; `None` to go on.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever does not end the run is performed")]
    pub(super) fn turn(&mut self, world: &mut World, faults: &mut Faults) -> Option<End> {
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "in circles: {:?}", &self.trace[self.trace.len().saturating_sub(12)..]);
        let now = world.now + self.off;
        let step = next(&self.state, &self.seen, self.goal, &self.policy, now);
        self.trace.push(step.clone());
        let lease = self.state.lease.as_ref().map(|lease| lease.until);
        let did = match step {
            Step::Done => Err(End::Done),
            Step::Stop(problem) => Err(End::Stopped(problem)),
            Step::Rest { until, .. } => {
                assert!(until > now, "a rest until what is past");
                Err(End::Waiting(until))
            }
            Step::Wait { until, .. } => {
                assert!(until > now, "a wait for what is past");
                if past(now, PATIENCE) < until {
                    Err(End::Waiting(until))
                } else {
                    world.pass(until.duration_since(now));
                    Ok(())
                }
            }
            step => {
                world.pass(SignedDuration::from_millis(200));
                if lease.is_none_or(|until| until <= now) {
                    Err(End::Failed)
                } else {
                    self.renew_and_perform(world, faults, step)
                }
            }
        };
        let end = did.err()?;
        if end != End::Crashed && end != End::Held && self.state.wave_out().is_none() {
            // A lease that is another's by now cannot be given back.
            let _ = self.record(world, Event::LeaseReleased);
        }
        Some(end)
    }

    fn renew_and_perform(&mut self, world: &mut World, faults: &mut Faults, step: Step) -> Did {
        let now = world.now + self.off;
        if self.state.lease.as_ref().is_some_and(|lease| lease.until - LEASE / 2 < now) {
            self.record(world, Event::LeaseRenewed { until: past(now, LEASE) })?;
        }
        self.perform(world, faults, step)
    }

    pub(super) fn record(&mut self, world: &mut World, event: Event) -> Did {
        if self.read != world.journal.len() {
            return Err(End::Failed);
        }
        let at = world.now + self.off;
        let seq = self.read as u64 + 1;
        self.state.apply(seq, at, &self.id, &event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        world.append(at, &self.id, event);
        self.read += 1;
        Ok(())
    }

    /// A place where a process can die.
    pub(super) fn point(faults: &mut Faults) -> Did {
        if let Some(left) = &mut faults.crash_in {
            if *left == 0 {
                faults.crash_in = None;
                return Err(End::Crashed);
            }
            *left -= 1;
        }
        match faults.dice.percent(faults.chance / 8) {
            true => Err(End::Crashed),
            false => Ok(()),
        }
    }

    fn perform(&mut self, world: &mut World, faults: &mut Faults, step: Step) -> Did {
        Self::point(faults)?;
        match step {
            Step::Begin => self.begin(world),
            Step::Look => self.look(world, faults),
            Step::Survey => {
                self.seen.selected = Some(world.selection.clone());
                Ok(())
            }
            Step::Unquarantine { forced } => self.record(world, Event::Unquarantined { forced }),
            Step::Quarantine(problem) => {
                self.seen.quarantined = true;
                self.record(world, Event::Quarantined { problem })
            }
            Step::Plan { kind, reason, refresh } => {
                let mut plan = plan(world, &self.state, kind, reason);
                if refresh {
                    plan.refresh.clone_from(&world.refresh);
                }
                self.record(world, Event::Planned(Arc::new(plan)))
            }
            Step::Grant => self.record(world, Event::Granted),
            Step::Mint => self.mint(world, faults),
            Step::Adopt { secret_id, attempt } => {
                assert!(world.slots.contains(&secret_id));
                self.minted(world, &secret_id, attempt)
            }
            Step::Condemn { secret_id, reason } => {
                assert!(
                    reason == Condemnation::Revoked || world.secrets[&secret_id].by == By::Lakekey,
                    "G3: foreign `{secret_id}` is condemned"
                );
                self.record(world, Event::Condemned { secret_id, reason })
            }
            Step::Delete { secret_id, condemned_by } => self.delete(world, faults, &secret_id, condemned_by),
            Step::RecordDeleted { secret_id } => {
                world.slots.remove(&secret_id);
                self.seen.values.remove(&secret_id);
                Self::point(faults)?;
                self.record(world, Event::Deleted { secret_id })
            }
            Step::Verify { generation } => {
                if self.signs_in(world, faults, generation)? {
                    if faults.unreadable {
                        self.seen.refused = Some((generation, Problem::new("verification-failed", "unreadable")));
                        return Ok(());
                    }
                    self.record(world, Event::Verified { generation })?;
                }
                Ok(())
            }
            Step::CheckSignIn { generation } => self.signs_in(world, faults, generation).map(drop),
            Step::TakeOver { datasets } => self.take_over(world, faults, datasets),
            Step::Wave { generation, targets } => self.wave(world, faults, generation, &targets),
            Step::Park { targets } => self.record(world, Event::Parked { targets }),
            Step::RecordDrained => self.record(world, Event::Drained),
            Step::Promote { generation } => {
                let secret_id = self.value(world, generation)?;
                assert!(!world.is_condemned(&secret_id), "deletion discipline: condemned `{secret_id}` is promoted");
                world.stored = Some(secret_id);
                Self::point(faults)?;
                self.seen.stored = Some(generation);
                self.record(world, Event::Promoted { generation })
            }
            Step::PromoteAgain { generation } => {
                world.stored = Some(self.value(world, generation)?);
                self.seen.stored = Some(generation);
                Self::point(faults)
            }
            Step::Settle(problem) => {
                let kind = self.state.open.as_ref().unwrap().plan.kind;
                let quarantined = self.state.quarantine.is_some();
                self.record(world, Event::Settled { problem: problem.clone() })?;
                self.seen.quarantined |= self.state.quarantine.is_some() && !quarantined;
                self.seen.settled.push((kind, problem));
                Ok(())
            }
            Step::Refresh { datasets } => self.refresh(world, faults, datasets),
            Step::PollRefreshes { datasets } => self.poll(world, faults, datasets),
            Step::Turn { turn, reason } => self.record(world, Event::Turned { turn, reason, operation: None }),
            Step::EndTurn(problem) => {
                self.record(world, Event::TurnEnded { problem: problem.clone() })?;
                self.seen.quarantined |= self.state.quarantine.is_some();
                self.seen.settled.push((PlanKind::Rollback, Some(problem)));
                Ok(())
            }
            Step::Wait { .. } | Step::Rest { .. } | Step::Done | Step::Stop(_) => unreachable!(),
        }
    }

    fn begin(&mut self, world: &mut World) -> Did {
        let adopted = world.stored.clone().filter(|id| world.alive(id)).map(|id| {
            world.slots.insert(id.clone());
            // What lakekey adopts is its own from then on.
            world.secrets.get_mut(&id).unwrap().by = By::Lakekey;
            minted(&world.secrets[&id].listed, Generation(1), 0, false)
        });
        let (credential, application_id) = (CredentialName::new("sales-bi"), ApplicationId::new("app"));
        self.record(world, Event::Begun(Begun { credential, application_id, adopted, forgiven: Vec::new() }))
    }

    fn look(&mut self, world: &World, faults: &mut Faults) -> Did {
        if faults.dice.percent(faults.chance / 4) {
            return Err(End::Failed);
        }
        let age = SignedDuration::from_secs(world.list_age.as_secs());
        let age = if faults.chance > 0 && age > SignedDuration::ZERO { faults.dice.seconds(age.as_secs()) } else { age };
        self.seen.listing = Some(world.list(age));
        self.seen.values = world.slots.clone();
        self.seen.stored = world.stored.as_ref().and_then(|id| self.state.generation_of(id));
        self.seen.values.extend(world.stored.clone().filter(|_| self.seen.stored.is_some()));
        Ok(())
    }
}

pub(super) fn minted(listed: &Listed, generation: Generation, attempt: u32, fingerprint_shown: bool) -> Minted {
    Minted {
        attempt,
        generation,
        secret_id: listed.id.clone(),
        created_at: listed.created_at,
        expires_at: listed.expires_at,
        scopes: Vec::new(),
        store: Place::File("store".into()),
        fingerprint_shown,
    }
}

pub(super) fn plan(world: &World, state: &State, kind: PlanKind, reason: String) -> Planned {
    assert!(state.open.is_none());
    Planned {
        kind,
        credential: CredentialName::new("sales-bi"),
        workspace: Workspace::parse("adb-1.7.azuredatabricks.net").unwrap(),
        service_principal_id: ServicePrincipalId::new("1"),
        application_id: ApplicationId::new("app"),
        reason,
        config: String::new(),
        lifetime_s: LIFETIME_S,
        grace_s: 86_400,
        scopes: Vec::new(),
        store: Place::File("store".into()),
        copies: world.copies.clone(),
        grants: Vec::new(),
        verify_warehouse: None,
        verify_tables: Vec::new(),
        waves: waves(world, state, kind),
        refresh: if kind == PlanKind::Rotate { world.refresh.clone() } else { Vec::new() },
    }
}

fn waves(world: &World, state: &State, kind: PlanKind) -> Vec<Vec<Arc<TargetSpec>>> {
    let selected = || world.selection.iter().map(|id| Arc::new(world.spec(id))).collect();
    match (kind, &state.turn) {
        (PlanKind::Rotate, _) => {
            let failing = state.places().filter(|(_, holder)| holder.failures.is_some());
            let failing = failing.map(|(id, _)| id.clone()).collect();
            waves::split(&CredentialName::new("sales-bi"), &world.waves, selected(), &failing)
        }
        (PlanKind::Rollback, Some(Turn::Rollback { to: Some(to), .. })) => {
            let holders = state.holders.values().filter(|holder| holder.planned && holder.may_hold_other_than(*to));
            vec![holders.filter_map(|holder| holder.spec.clone()).collect()]
        }
        (PlanKind::Join, _) => {
            let lacking = lacking(state, state.current.unwrap(), &world.selection, world.now);
            vec![lacking.iter().map(|id| Arc::new(world.spec(id))).collect()]
        }
        (PlanKind::Reapply | PlanKind::Rollback | PlanKind::Revoke, _) => vec![selected()],
    }
}

/// Why each condemned secret was.
pub(super) fn condemnations(world: &World) -> BTreeMap<SecretId, Condemnation> {
    in_order(world).into_iter().collect()
}

/// The same, in the order of the journal.
pub(super) fn in_order(world: &World) -> Vec<(SecretId, Condemnation)> {
    let events = world.journal.iter().map(|(_, _, event)| event);
    events
        .filter_map(|event| {
            let Event::Condemned { secret_id, reason } = event else { return None };
            Some((secret_id.clone(), *reason))
        })
        .collect()
}
