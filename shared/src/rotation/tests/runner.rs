//! One runner: `perform` and `drive` as they are, but on the [`World`]. Dies or falls behind wherever the real one can.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::world::{By, Create, LANDING, LEASE, LIFETIME_S, Manner, REQUEST_TIMEOUT, SKEW, TakeOver, World};
use crate::error::Problem;
use crate::ids::{ApplicationId, CredentialName, Generation, RunnerId, SecretId, ServicePrincipalId, TargetId, Workspace};
use crate::rotation::event::{Begun, Condemnation, Event, Fate, Minted, Place, PlanKind, Planned, TakenOver, WaveResult};
use crate::rotation::next::{DeleteSent, Goal, Observed, Policy, SLOTS_USED_MAX, Step, next, past};
use crate::rotation::recover::{self, Listed};
use crate::rotation::state::State;
use crate::targets::DatasetRef;

/// Steps of one run before it counts as going in circles.
const STEPS_MAX: u32 = 300;
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(super) fn seconds(&mut self, limit: i64) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.below(u64::try_from(limit).unwrap())).unwrap())
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    pub(super) dice: Dice,
    /// Chance in percent of each fault that is not scripted.
    pub(super) chance: u64,
    /// Dies at the crash point with this number, counted down.
    pub(super) crash_in: Option<u32>,
    /// What becomes of the next creates; then they are answered.
    pub(super) creates: Vec<Create>,
    pub(super) take_over: TakeOver,
    /// Whether Databricks refuses every sign-in, whatever the secret.
    pub(super) locked_out: bool,
    /// Whether the smoke query fails.
    pub(super) unreadable: bool,
    /// Whether Databricks refuses to delete.
    pub(super) undeletable: bool,
}

impl Faults {
    pub(super) fn none() -> Self {
        Self {
            dice: Dice(1),
            chance: 0,
            crash_in: None,
            creates: Vec::new(),
            take_over: TakeOver::Rebinds,
            locked_out: false,
            unreadable: false,
            undeletable: false,
        }
    }
}

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

type Did = Result<(), End>;

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
    Policy { rotate_every: Some(hours(7 * 24)), grace: hours(24), skew: SKEW, may_start_at: Some(Timestamp::MIN) }
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
        if runner.state.lease.as_ref().is_some_and(|lease| !locks && past(lease.until, SKEW) > now) {
            return Err(End::Held);
        }
        let landing_ms = i64::try_from(LANDING.as_millis()).unwrap();
        let event = Event::LeaseTaken { epoch: runner.state.epoch + 1, until: past(now, LEASE), landing_ms };
        runner.record(world, event)?;
        Ok(runner)
    }

    /// One turn of the loop; `None` to go on.
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
        if end != End::Crashed && end != End::Held {
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

    fn record(&mut self, world: &mut World, event: Event) -> Did {
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
    fn point(faults: &mut Faults) -> Did {
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
            Step::Unquarantine { forced } => self.record(world, Event::Unquarantined { forced }),
            Step::Quarantine(problem) => {
                self.seen.quarantined = true;
                self.record(world, Event::Quarantined { problem })
            }
            Step::Plan { kind, reason } => {
                let plan = plan(world, &self.state, kind, reason);
                self.record(world, Event::Planned(Box::new(plan)))
            }
            Step::Grant => self.record(world, Event::Granted),
            Step::Mint => self.mint(world, faults),
            Step::Adopt { secret_id, attempt } => {
                assert!(world.slots.contains(&secret_id));
                self.minted(world, &secret_id, attempt)
            }
            Step::Condemn { secret_id, reason } => {
                assert!(world.secrets[&secret_id].by == By::Lakekey, "G3: foreign `{secret_id}` is condemned");
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
            Step::Promote { generation } => {
                let secret_id = self.value(world, generation)?;
                assert!(!world.is_condemned(&secret_id), "deletion discipline: condemned `{secret_id}` is promoted");
                world.stored = Some(secret_id);
                Self::point(faults)?;
                self.record(world, Event::Promoted { generation })
            }
            Step::Settle(problem) => {
                let kind = self.state.open.as_ref().unwrap().plan.kind;
                self.record(world, Event::Settled { problem: problem.clone() })?;
                self.seen.settled.push((kind, problem));
                Ok(())
            }
            Step::Wait { .. } | Step::Done | Step::Stop(_) => unreachable!(),
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
        self.record(world, Event::Begun(Begun { credential, application_id, adopted }))
    }

    fn look(&mut self, world: &mut World, faults: &mut Faults) -> Did {
        if faults.dice.percent(faults.chance / 4) {
            return Err(End::Failed);
        }
        let age = SignedDuration::from_secs(world.list_age.as_secs());
        let age = if faults.chance > 0 && age > SignedDuration::ZERO { faults.dice.seconds(age.as_secs()) } else { age };
        self.seen.listing = Some(world.list(age));
        self.seen.values = world.slots.clone();
        self.seen.values.extend(world.stored.clone().filter(|id| self.state.generation_of(id).is_some()));
        Ok(())
    }

    fn mint(&mut self, world: &mut World, faults: &mut Faults) -> Did {
        let listing = self.seen.listing.take().unwrap();
        let may_land = self.state.attempts.iter().filter(|attempt| match attempt.fate {
            crate::rotation::state::AttemptFate::Unanswered { until } => until > world.now + self.off,
            _ => false,
        });
        assert!(listing.len() + may_land.count() <= SLOTS_USED_MAX, "G4: minted with too few slots: {listing:?}");
        let lost = self.seen.values.iter().find(|id| !world.is_condemned(id) && self.state.generation_of(id).is_none());
        assert!(lost.is_none(), "G2: {lost:?} is staged, and another is minted");
        let attempt = self.state.attempts.last().map_or(1, |last| last.number + 1);
        let lifetime_s = LIFETIME_S - 61 - faults.dice.below(3_539);
        let known: BTreeSet<SecretId> = listing.iter().map(|listed| listed.id.clone()).collect();
        self.record(world, Event::MintIntended { attempt, known, lifetime_s })?;
        Self::point(faults)?;
        let scripted = (!faults.creates.is_empty()).then(|| faults.creates.remove(0));
        let fate = scripted.unwrap_or_else(|| chance_of_create(faults));
        match world.create(lifetime_s, fate) {
            Err(()) => {
                let problem = Problem::new("refused", "refused");
                self.record(world, Event::MintRefused { attempt, problem: problem.clone() })?;
                self.seen.mint_refusals.push(problem);
                Ok(())
            }
            Ok(None) => {
                Self::point(faults)?;
                self.record(world, Event::MintUnanswered { attempt })
            }
            Ok(Some(listed)) => {
                if faults.dice.percent(faults.chance / 8) {
                    // It dies while the slot is being written.
                    world.stage_late(&listed.id, faults.dice.seconds(120));
                    return Err(End::Crashed);
                }
                Self::point(faults)?;
                world.slots.insert(listed.id.clone());
                Self::point(faults)?;
                self.seen.values.insert(listed.id.clone());
                self.minted(world, &listed.id, attempt)
            }
        }
    }

    fn minted(&mut self, world: &mut World, id: &SecretId, attempt: u32) -> Did {
        let listed = &world.secrets[id].listed;
        let shown = self.state.attempts.iter().any(|attempt| recover::bears(listed, attempt));
        let event = Event::Minted(minted(listed, self.state.next_generation(), attempt, shown));
        self.record(world, event)
    }

    fn delete(&mut self, world: &mut World, faults: &mut Faults, id: &SecretId, condemned_by: u64) -> Did {
        let entry = &world.journal[usize::try_from(condemned_by).unwrap() - 1].2;
        assert!(matches!(entry, Event::Condemned { secret_id, .. } if secret_id == id), "deletion discipline: {entry:?}");
        let accepted = !faults.undeletable && !faults.dice.percent(faults.chance / 2);
        if accepted {
            world.delete(id);
        }
        Self::point(faults)?;
        let last = world.now + self.off;
        let sent = self.seen.deletes.entry(id.clone()).or_insert(DeleteSent { tries: 0, last, accepted });
        *sent = DeleteSent { tries: sent.tries + 1, last, accepted: sent.accepted || accepted };
        match accepted {
            true => self.seen.listing = None,
            false => self.seen.undeleted = Some(Problem::new("undeletable", "undeletable")),
        }
        Ok(())
    }

    fn value(&self, world: &World, generation: Generation) -> Result<SecretId, End> {
        let id = self.state.generations[&generation].minted.secret_id.clone();
        let at_hand = world.slots.contains(&id) || world.stored.as_ref() == Some(&id);
        at_hand.then_some(id).ok_or(End::Failed)
    }

    fn signs_in(&mut self, world: &mut World, faults: &mut Faults, generation: Generation) -> Result<bool, End> {
        let id = self.value(world, generation)?;
        if faults.dice.percent(faults.chance / 4) {
            return Err(End::Failed);
        }
        let signs_in = world.alive(&id) && !faults.locked_out;
        if signs_in {
            self.seen.signs_in = Some((generation, world.now + self.off));
        } else {
            world.pass(SignedDuration::from_mins(1));
            self.seen.refused = Some((generation, Problem::new("verification-failed", "it does not sign in")));
            self.seen.listing = None;
        }
        Ok(signs_in)
    }

    fn take_over(&mut self, world: &mut World, faults: &mut Faults, datasets: Vec<DatasetRef>) -> Did {
        if self.state.taking_over.is_empty() {
            self.record(world, Event::TakeOverStarted { datasets: datasets.clone() })?;
        }
        Self::point(faults)?;
        let mut results = Vec::new();
        for dataset in datasets {
            let how = if faults.chance > 0 { chance_of_take_over(faults) } else { faults.take_over };
            let taken = world.take_over(&dataset.id, how);
            let problem = taken.is_none().then(|| Problem::new("take-over-refused", "refused"));
            results.push(TakenOver { dataset, targets: taken.unwrap_or_default(), problem });
        }
        Self::point(faults)?;
        self.record(world, Event::TakenOver { results })
    }

    fn wave(&mut self, world: &mut World, faults: &mut Faults, generation: Generation, targets: &[TargetId]) -> Did {
        let Ok(secret) = self.value(world, generation) else {
            self.seen.lost = Some(generation);
            self.seen.listing = None;
            return Ok(());
        };
        self.record(world, Event::WaveStarted { generation, targets: targets.to_vec() })?;
        let not_after = self.state.lease.as_ref().map(|lease| lease.until - REQUEST_TIMEOUT - SKEW).unwrap();
        let mut results = Vec::new();
        for target in targets {
            if Self::point(faults).is_err() {
                // The process dies with the request sent: it may land for as long as a request lives.
                if faults.dice.percent(50) {
                    let after = faults.dice.seconds((REQUEST_TIMEOUT + SKEW).as_secs());
                    world.begin_write(target, &secret);
                    world.write_late(target, &secret, after);
                }
                return Err(End::Crashed);
            }
            let (fate, earlier_may_land) = match world.now + self.off > not_after {
                true => (Fate::NotTried, false),
                false => write(world, faults, target, &secret),
            };
            let problem = (!matches!(fate, Fate::Moved | Fate::NotTried)).then(|| Problem::new("target", "it does not take it"));
            results.push(WaveResult { target: target.clone(), at: world.now + self.off, fate, earlier_may_land, problem });
        }
        Self::point(faults)?;
        self.record(world, Event::WaveEnded { results })
    }
}

fn write(world: &mut World, faults: &mut Faults, target: &TargetId, secret: &SecretId) -> (Fate, bool) {
    world.begin_write(target, secret);
    let lives = (REQUEST_TIMEOUT + SKEW).as_secs();
    let manner = match faults.dice.percent(faults.chance) {
        false => world.sites[target].manner,
        true => match faults.dice.below(4) {
            0 => Manner::Refuses,
            1 => Manner::Silent(None),
            2 => Manner::Silent(Some(SignedDuration::ZERO)),
            _ => Manner::Silent(Some(faults.dice.seconds(lives))),
        },
    };
    match manner {
        Manner::Takes => {
            world.put(target, secret);
            let earlier = faults.dice.percent(faults.chance / 2);
            if earlier {
                let after = faults.dice.seconds(lives);
                world.write_late(target, secret, after);
            }
            (Fate::Moved, earlier)
        }
        Manner::Refuses => (Fate::Refused, false),
        Manner::Changed => (Fate::NotWritten, false),
        Manner::Silent(after) => {
            if let Some(after) = after {
                world.write_late(target, secret, after);
            }
            (Fate::Unknown, false)
        }
    }
}

fn chance_of_create(faults: &mut Faults) -> Create {
    if !faults.dice.percent(faults.chance) {
        return Create::Answered;
    }
    match faults.dice.below(6) {
        0 => Create::Doubled,
        1 => Create::Refused,
        2 => Create::Lost(None),
        3 => Create::Lost(Some(SignedDuration::ZERO)),
        4 => Create::Lost(Some(faults.dice.seconds((REQUEST_TIMEOUT + SKEW).as_secs()))),
        _ => Create::Lost(Some(faults.dice.seconds(48 * 3_600))),
    }
}

fn chance_of_take_over(faults: &mut Faults) -> TakeOver {
    match faults.dice.below(4) {
        0 => TakeOver::Bares,
        1 => TakeOver::Rebinds,
        2 => TakeOver::Refused,
        _ => TakeOver::RebindsUnheard,
    }
}

fn minted(listed: &Listed, generation: Generation, attempt: u32, fingerprint_shown: bool) -> Minted {
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
        waves: vec![world.selection.iter().map(|id| world.spec(id)).collect()],
    }
}

/// Why each condemned secret was.
pub(super) fn condemnations(world: &World) -> BTreeMap<SecretId, Condemnation> {
    let of = |event: &Event| match event {
        Event::Condemned { secret_id, reason } => Some((secret_id.clone(), *reason)),
        _ => None,
    };
    world.journal.iter().filter_map(|(_, _, event)| of(event)).collect()
}
