//! The loop: decide, perform, record. A [`Run`] holds the lease of one principal for as long as it lives; it may be dropped
//! at any await, and the next one goes on from the journal.

mod lease;
mod leave;
mod trust;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use object_store::ObjectStore;
use tracing::info;

pub(super) use lease::SUPERSEDED;
use lease::{superseded, take_lock};
pub use trust::check_stores;

use super::event::{Asked, Event, Place};
use super::led::{LedStep, Rest};
use super::next::{Decide, Goal, Observed, Policy, Step, past};
use super::preflight::{Preflight, Principal};
use super::state::State;
use crate::clients::databricks::Databricks;
use crate::clock::Clock;
use crate::command::{Progress, ProgressEvent};
use crate::config::schedule::Calendar;
use crate::config::{Credential, StateConfig, StoreLocation};
use crate::error::{Error, Problem};
use crate::http::Http;
use crate::ids::{RunnerId, SecretId, TargetId, Workspace};
use crate::journal::{Entry, Journal, JournalError, StateKey, names};
use crate::random::Random;
use crate::stop::Stop;
use crate::storage::Storage;
use crate::stores::SecretStore;
use crate::targets::PowerBiTargets;
use crate::work::Invocation;

/// A wait of at most this long is waited out; a longer one ends the run.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// Steps of one run; more means that two parts of the program disagree.
const STEPS_MAX: usize = 10_000;

/// Everything that one credential's run takes from outside.
pub struct Ports {
    /// Its config.
    pub credential: Credential,
    /// SHA-256 of the config document.
    pub config_digest: String,
    /// The state's place and timing.
    pub state_config: StateConfig,
    /// The state itself.
    pub state: Arc<dyn ObjectStore>,
    /// Signs the journal.
    pub state_key: Option<Arc<StateKey>>,
    /// The principal.
    pub principal: Principal,
    /// A client for each workspace in which the principal is used.
    pub workspaces: BTreeMap<Workspace, Databricks>,
    /// Power BI and Fabric; `None` when the credential has no targets.
    pub targets: Option<PowerBiTargets>,
    /// The seam, for requests that the new secret itself signs.
    pub http: Arc<Http>,
    /// Opens state and stores.
    pub storage: Arc<dyn Storage>,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Who this process is.
    pub runner: RunnerId,
    /// Who listens.
    pub progress: Progress,
    /// What decides.
    pub decide: Decide,
    /// Who asked, where that was another than whoever started this process.
    pub asked: Option<Asked>,
    /// Whether even a large fleet with nothing due is searched for data sources that were added.
    pub searches: bool,
    /// Asks the run to leave.
    pub stop: Stop,
    /// The call of a platform's function that this run is in, where it is in one.
    pub invocation: Option<Invocation>,
}

impl Ports {
    /// The workspace where the secrets are managed.
    pub fn databricks(&self) -> &Databricks {
        &self.workspaces[&self.credential.workspace]
    }

    /// How long after giving up on it a write may still land.
    pub fn landing(&self) -> SignedDuration {
        signed(self.state_config.request_timeout).saturating_add(signed(self.state_config.skew).saturating_mul(2))
    }

    /// The principal's journal, folded; one without any signature is taken as it is.
    pub async fn read(&self) -> Result<Folded, Error> {
        read(Arc::clone(&self.state), self.principal.application_id.as_str(), self.state_key.clone(), true).await
    }

    /// What decisions need to know of the config.
    pub fn policy(&self) -> Policy {
        policy(&self.credential, &self.state_config)
    }
}

/// What decisions need to know of the config.
pub fn policy(credential: &Credential, state: &StateConfig) -> Policy {
    Policy {
        rotate_every: credential.rotate_every.map(signed),
        grace: signed(credential.grace),
        skew: signed(state.skew),
        calendar: Calendar::new(credential.window.clone(), credential.freeze.clone(), credential.name.as_str()),
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All is as asked, as far as that is possible now.
    Done,
    /// Nothing more can be done before then.
    Waiting {
        /// Until when.
        until: Timestamp,
        /// What for.
        why: String,
    },
    /// A led rotation rests.
    Resting {
        /// Where.
        at: Rest,
        /// When the schedule goes on with it.
        until: Timestamp,
        /// What is to be asked for.
        next: LedStep,
    },
    /// Another invocation goes on, not before then.
    Left {
        /// When.
        at: Timestamp,
        /// Why not this one.
        why: String,
    },
    /// It cannot go on, and why.
    Stopped(Problem),
}

/// One runner at work on one principal.
pub struct Run<'a> {
    pub(super) ports: &'a Ports,
    pub(super) journal: Journal<Event>,
    /// The fold of the journal.
    pub state: State,
    /// What this run has seen.
    pub seen: Observed,
    /// When the list that it has seen was asked for.
    pub(super) listed_at: Timestamp,
    pub(super) preflight: Option<Preflight>,
    /// Secrets deleted in this run.
    pub retired: Vec<SecretId>,
    /// Targets that were sent anything in this run.
    pub touched: BTreeSet<TargetId>,
    /// Whether anything outside the journal was changed in this run.
    pub changed: bool,
    /// Heads of a lost journal that a person's `--force` lets this one take the place of.
    pub(super) forgiven: Vec<String>,
    /// Whether this run has taken the lease.
    leased: bool,
    /// Released when the run ends, however it ends.
    lock: Option<Box<dyn Send + Sync>>,
}

/// A principal's journal as far as it has been read, and its fold.
pub type Folded = (Journal<Event>, State);

/// Opens a principal's journal and folds it. Reads only.
pub async fn read(
    store: Arc<dyn ObjectStore>,
    name: &str,
    key: Option<Arc<StateKey>>,
    trust_unsigned: bool,
) -> Result<Folded, Error> {
    read_aloud(store, name, key, trust_unsigned, |_| {}).await
}

/// What was read, and what has been appended since.
pub async fn read_on((mut journal, mut state): Folded) -> Result<Folded, Error> {
    fold(&mut state, &journal.refresh().await?)?;
    Ok((journal, state))
}

/// As [`read`], and gives each entry to `listener` as well.
pub async fn read_aloud(
    store: Arc<dyn ObjectStore>,
    name: &str,
    key: Option<Arc<StateKey>>,
    trust_unsigned: bool,
    mut listener: impl FnMut(&Entry<Event>),
) -> Result<Folded, Error> {
    let mut state = State::default();
    let mut folded = Ok(());
    let reader = |entry: Entry<Event>| {
        listener(&entry);
        if folded.is_ok() {
            folded = fold_one(&mut state, &entry);
        }
    };
    let journal = match trust_unsigned {
        true => Journal::open_trusting_unsigned(store, name, key, reader).await?,
        false => Journal::open(store, name, key, reader).await?,
    };
    folded?;
    Ok((journal, state))
}

/// Adds entries to a state.
fn fold(state: &mut State, entries: &[Entry<Event>]) -> Result<(), Error> {
    entries.iter().try_for_each(|entry| fold_one(state, entry))
}

fn fold_one(state: &mut State, entry: &Entry<Event>) -> Result<(), Error> {
    state.apply(entry.seq, entry.at, &entry.by, &entry.event).map_err(|error| {
        Error::quarantined("journal-broken", format!("journal entry {} cannot follow what the journal says before it", error.seq))
            .hint("restore the state folder from a backup; nothing was deleted or changed")
            .caused_by(error)
    })
}

impl<'a> Run<'a> {
    /// Takes the principal's lock where the state has one, and reads on from what has been read of its journal. The lease is
    /// taken when something is to be done: a timer that finds nothing due leaves no entry.
    pub async fn open(ports: &'a Ports, goal: Goal, preflight: Option<Preflight>, mut read: Folded) -> Result<Self, Error> {
        let force = goal == Goal::Rotate { force: true };
        let lock = take_lock(ports, ports.principal.application_id.as_str())?;
        if !force {
            read.0.refuse_unsigned()?;
        }
        let (mut journal, mut state) = read_on(read).await?;
        let entries = (&mut journal, &mut state);
        let forgiven = trust::check_before_work(&*ports.storage, &ports.credential, entries, force).await?;
        let run = Self {
            ports,
            journal,
            state,
            seen: Observed::default(),
            listed_at: Timestamp::MIN,
            preflight,
            retired: Vec::new(),
            touched: BTreeSet::new(),
            changed: false,
            forgiven,
            lock,
            leased: false,
        };
        run.check_same_credential()?;
        Ok(run)
    }

    /// As [`open`](Self::open), with the lease.
    pub async fn open_leased(ports: &'a Ports, goal: Goal) -> Result<Self, Error> {
        let read = ports.read().await?;
        let mut run = Self::open(ports, goal, None, read).await?;
        run.begin_work().await?;
        Ok(run)
    }

    /// Works towards `goal` until it is reached, must wait long, or cannot go on.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other step is performed")]
    pub async fn drive(&mut self, goal: Goal) -> Result<Ended, Error> {
        let policy = self.ports.policy();
        for steps in 0..STEPS_MAX {
            if self.ports.stop.is_asked() {
                return Ok(Ended::Stopped(stopped()));
            }
            if self.state.wave_out().is_some() {
                if !self.end_wave().await? && self.state.wave_out().is_some() {
                    return self.wave_is_out();
                }
                continue;
            }
            if !self.leased && self.state.lease.is_some() {
                // Nobody gave it back: what its holder had under way counts as unanswered once the next lease is taken.
                self.begin_work().await?;
            }
            let now = self.ports.clock.now();
            if let Some(left) = self.out_of_time(now, steps) {
                return Ok(left);
            }
            let step = (self.ports.decide)(&self.state, &self.seen, goal, &policy, now);
            match step {
                Step::Done => return Ok(Ended::Done),
                Step::Rest { at, until, next } => return Ok(Ended::Resting { at, until, next }),
                Step::Stop(problem) => return Ok(Ended::Stopped(problem)),
                Step::Wait { until, why } if past(now, self.patience(now)) < until => return Ok(self.come_again(until, why)),
                Step::Look | Step::Survey if !self.leased => Box::pin(self.perform(step)).await?,
                _ if !self.leased => self.begin_work().await?,
                Step::Wait { until, why } => {
                    self.say(format!("waiting until {until:.0}: {why}"), 0, 0);
                    self.pause(until.duration_since(now)).await?;
                    // What was waited for may have changed the list.
                    self.seen.listing = None;
                }
                step => {
                    self.keep_lease().await?;
                    Box::pin(self.perform(step)).await?;
                }
            }
        }
        Err(Error::unfinished("too-many-steps", format!("the rotation did not come to rest within {STEPS_MAX} steps"))
            .hint("this is a defect of lakekey; every target still holds a live secret; please report it with `lakekey history`"))
    }

    /// Takes the lease. If others have written meanwhile, what was seen before counts no more: lakekey changes nothing that the
    /// journal did not say first.
    async fn begin_work(&mut self) -> Result<(), Error> {
        names::remember(&*self.ports.state, &self.ports.credential.name, self.ports.principal.application_id.as_str()).await?;
        self.catch_up().await?;
        if self.state.wave_out().is_some() {
            self.end_wave().await?;
        }
        self.take_lease().await?;
        self.leased = true;
        if let Some(asked) = &self.ports.asked {
            self.record(Event::Asked(asked.clone())).await?;
        }
        Ok(())
    }

    /// Reads what others have written meanwhile.
    pub(super) async fn catch_up(&mut self) -> Result<(), Error> {
        let fresh = self.journal.refresh().await?;
        if !fresh.is_empty() {
            fold(&mut self.state, &fresh)?;
            self.check_same_credential()?;
            self.seen = Observed::default();
        }
        Ok(())
    }

    /// Leaves the lease to the workers of a wave: it ends with that.
    pub(super) fn hand_over(&mut self) {
        self.leased = false;
    }

    /// Whether the state has a lock, which this run holds.
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Notes that Secrets Manager asks for a step; with the lease, which is taken where it is not held yet.
    pub async fn lead(&mut self, token: &str, step: LedStep) -> Result<(), Error> {
        if !self.leased {
            self.begin_work().await?;
        }
        self.record(Event::Led { token: token.to_owned(), step }).await.map(drop)
    }

    /// Takes the lease for work that no step of the loop is.
    pub(super) async fn take_part(&mut self) -> Result<(), Error> {
        if self.leased { Ok(()) } else { self.begin_work().await }
    }

    /// Records a person's word that a place does not count any more.
    pub async fn forget(&mut self, target: TargetId) -> Result<(), Error> {
        self.record(Event::Forgotten { target }).await.map(drop)
    }

    /// Leaves: nothing of this run is under way any more.
    pub async fn close(mut self) -> Result<State, Error> {
        if self.leased {
            self.record(Event::LeaseReleased).await?;
        }
        drop(self.lock.take());
        Ok(self.state)
    }

    /// Appends a fact and folds it. One that cannot follow is not appended: nobody could fold the journal after it.
    pub(super) async fn record(&mut self, event: Event) -> Result<u64, Error> {
        let at = self.ports.clock.now();
        let prepared = self.journal.prepare(&self.ports.random, at, &self.ports.runner, event)?;
        let seq = prepared.entry.seq;
        let mut state = self.state.clone();
        state.apply(seq, at, &self.ports.runner, &prepared.entry.event).map_err(|error| {
            Error::unfinished("journal-inconsistent", "what was done cannot follow what the journal says before it")
                .hint("this is a defect of lakekey; every target still holds a live secret; please report it with `lakekey history`")
                .caused_by(error)
        })?;
        match self.journal.put(&prepared).await {
            Ok(()) => {}
            Err(JournalError::Lost { .. }) => return Err(superseded()),
            Err(error) => return Err(error.into()),
        }
        self.state = state;
        Ok(seq)
    }

    /// What is open is bound to the principal and workspace that it was planned for.
    fn check_same_credential(&self) -> Result<(), Error> {
        let Some(open) = &self.state.open else { return Ok(()) };
        if open.plan.workspace != self.ports.credential.workspace {
            return Err(Error::failed(
                "workspace-changed",
                format!(
                    "a rotation of `{}` is open on {}, but the config now names {}",
                    open.plan.credential, open.plan.workspace, self.ports.credential.workspace
                ),
            )
            .hint("put the former workspace back, let `lakekey rotate` finish, then change it"));
        }
        Ok(())
    }

    pub(super) fn store(&self, place: &Place) -> Result<Arc<dyn SecretStore>, Error> {
        self.ports.storage.store(&StoreLocation::from(place))
    }

    pub(super) fn say(&self, step: impl Into<String>, done: usize, total: usize) {
        let step = step.into();
        info!(credential = %self.ports.credential.name, "{step}");
        self.ports.progress.say(ProgressEvent { credential: self.ports.credential.name.clone(), step, done, total });
    }
}

fn stopped() -> Problem {
    Problem::new("stopped", "stopped; every target still holds a live secret")
        .hint("`lakekey rotate` goes on where this was stopped")
}

pub(super) fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
