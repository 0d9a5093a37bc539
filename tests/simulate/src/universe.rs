//! Everything outside the processes of one seed: the cloud, the state, the stores, the lock, and who watches them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use lakekey_core::clock::Clock;
use lakekey_core::ids::RunnerId;
use lakekey_core::stores::memory::MemoryStore;
use lakekey_sim::Cloud;
use object_store::memory::InMemory;

use crate::broken::Variant;
use crate::dice::Dice;
use crate::logs::Logs;
use crate::people;
use crate::process::{Fate, Process};
use crate::queue::Queue;
use crate::setup::START;
use crate::watch::{Violation, Watch};

/// What all processes of one seed share.
pub struct Universe {
    /// The simulated services.
    pub cloud: Cloud,
    /// True time; each process has a skewed copy.
    pub clock: Clock,
    /// The state's objects.
    pub objects: Arc<InMemory>,
    /// Stores by place.
    pub stores: Mutex<BTreeMap<String, MemoryStore>>,
    /// The lock of a `file:` state; `None` where the lease alone decides.
    pub lock: Option<Arc<Mutex<Option<RunnerId>>>>,
    /// Trouble of state and stores: shares of writes that fail.
    pub trouble: Mutex<Trouble>,
    /// The deliberate defect, in tests of the checkers.
    pub variant: Option<Variant>,
    /// Processes so far.
    pub processes: AtomicU64,
    /// What they log.
    pub logs: Logs,
    /// Messages between invocations.
    pub queue: Queue,
    watch: Mutex<Watch>,
    dice: Mutex<Dice>,
    trace: Option<Arc<Mutex<Vec<String>>>>,
}

/// How often writes to state and stores fail, before or after their effect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// Journal entries.
    pub state: f64,
    /// Values.
    pub stores: f64,
}

/// What becomes of one write to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing.
    None,
    /// It fails without effect.
    Fails,
    /// It takes effect, and its answer is lost.
    Unanswered,
    /// It takes effect, is sent again by the store's own client, and is answered "exists".
    Repeated,
}

impl Universe {
    /// A universe around this cloud.
    pub fn new(cloud: Cloud, clock: Clock, seed: u64, locked: bool, traced: bool) -> Self {
        let watch = Mutex::new(Watch::new(&cloud));
        Self {
            cloud,
            clock,
            objects: Arc::new(InMemory::new()),
            stores: Mutex::default(),
            lock: locked.then(Arc::default),
            trouble: Mutex::default(),
            variant: None,
            processes: AtomicU64::new(0),
            logs: Logs::default(),
            queue: Queue::default(),
            watch,
            dice: Mutex::new(Dice::new(seed ^ 0x0b5e_55ed)),
            trace: traced.then(Arc::default),
        }
    }

    /// Another deployment's universe: the same services and time, and a state, stores and lock of its own.
    pub fn beside(&self, lakekey: &str) -> Self {
        Self {
            cloud: self.cloud.clone(),
            clock: self.clock.clone(),
            objects: Arc::new(InMemory::new()),
            stores: Mutex::default(),
            lock: Some(Arc::default()),
            trouble: Mutex::default(),
            variant: None,
            processes: AtomicU64::new(0),
            logs: self.logs.clone(),
            queue: Queue::default(),
            watch: Mutex::new(Watch::of(&self.cloud, lakekey)),
            dice: Mutex::new(held(&self.dice).clone()),
            trace: self.trace.clone(),
        }
    }

    /// The store at a place; the same place is always the same store.
    pub fn store(&self, place: &str) -> MemoryStore {
        held(&self.stores).entry(place.to_owned()).or_default().clone()
    }

    /// The watch, to ask or to tell it something.
    pub fn watch(&self) -> MutexGuard<'_, Watch> {
        held(&self.watch)
    }

    /// Looks at what has happened since the last look.
    pub fn observe(&self) {
        self.watch().observe(&self.cloud);
    }

    /// The first broken guarantee.
    pub fn violation(&self) -> Option<Violation> {
        self.watch().violation.clone()
    }

    /// Whether a write to the state or a store goes wrong now.
    pub fn mishap(&self, pick: fn(&Trouble) -> f64) -> Mishap {
        let share = pick(&held(&self.trouble));
        if share <= 0.0 {
            return Mishap::None;
        }
        let mut dice = held(&self.dice);
        let mishap = match (dice.chance(share), dice.below(3)) {
            (false, _) => return Mishap::None,
            (true, 0) => Mishap::Fails,
            (true, 1) => Mishap::Repeated,
            (true, _) => Mishap::Unanswered,
        };
        drop(dice);
        self.watch().counts.add_fault("storage");
        mishap
    }

    /// True so often, by the universe's own dice.
    pub fn chance(&self, share: f64) -> bool {
        held(&self.dice).chance(share)
    }

    /// A number in `low..=high`, by the universe's own dice.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        held(&self.dice).between(low, high)
    }

    /// Milliseconds since the start.
    pub fn passed_ms(&self) -> u64 {
        u64::try_from(self.clock.now().duration_since(START).as_millis()).unwrap_or_default()
    }

    /// An effect of a process is over: whatever its fate has in store happens now.
    pub async fn ended(&self, process: &Process, fate: Fate) {
        if let Some(act) = process.meanwhile(fate) {
            people::act(self, act);
        }
        process.end(fate).await;
    }

    /// A number for a new process.
    pub fn next_process(&self) -> u64 {
        self.processes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds a line to the trace, if there is one.
    pub fn trace(&self, who: &str, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let at: Timestamp = self.clock.now();
            held(trace).push(format!("{at:.3} {who} {}", line()));
        }
    }

    /// Whether there is a trace.
    pub fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// The trace so far.
    pub fn take_trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| std::mem::take(&mut *held(trace))).unwrap_or_default()
    }
}

/// No code here panics while it holds a lock, and a poisoned one is as good.
pub fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
