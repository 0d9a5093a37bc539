//! Many seeds on every core, one runtime for each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use lakekey_core::clock::Clock;

use crate::broken::Variant;
use crate::counts::Counts;
use crate::course;
use crate::plan::Plan;
use crate::universe::held;
use crate::watch::Violation;

/// How many, from where, for how long.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Not longer than this.
    pub time: Option<Duration>,
    /// On so many threads.
    pub threads: usize,
    /// Whether to go on after a seed that failed.
    pub keep_going: bool,
    /// A deliberate defect.
    pub variant: Option<Variant>,
    /// The plan of a seed.
    pub plan: fn(u64) -> Plan,
}

/// What is told on the way.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// How far it is, after so long.
    Progress(&'a Counts, Duration),
    /// A seed has failed.
    Failed(u64, &'a Violation),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Came {
    /// Summed over all seeds.
    pub counts: Counts,
    /// The failing seeds found, in order, and what failed.
    pub failed: Vec<(u64, Violation)>,
    /// A plan that could not even begin.
    pub error: Option<String>,
    /// Real time.
    pub took: Duration,
}

/// Runs seeds until all are done, one has failed, or the time is over; `tell` is told now and then.
pub fn swarm(asked: &Asked, tell: &(dyn Fn(Told<'_>) + Sync)) -> Came {
    let clock = Clock::wall();
    let start = clock.now();
    let since = |now: Timestamp| Duration::try_from(now.duration_since(start)).unwrap_or_default();
    let (next, stop) = (AtomicU64::new(asked.first), AtomicBool::new(false));
    let came = Mutex::new(Came { counts: Counts::default(), failed: Vec::new(), error: None, took: Duration::ZERO });
    let told = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..asked.threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let took = since(clock.now());
                    if seed >= asked.first.saturating_add(asked.seeds) || asked.time.is_some_and(|time| took >= time) {
                        break;
                    }
                    let went = course::run(&(asked.plan)(seed), asked.variant, false);
                    let mut came = held(&came);
                    match went {
                        Ok(went) => {
                            came.counts.add(&went.counts);
                            if let Some(violation) = went.violation {
                                stop.fetch_or(!asked.keep_going, Ordering::Relaxed);
                                tell(Told::Failed(seed, &violation));
                                came.failed.push((seed, violation));
                            }
                        }
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            came.error = Some(format!("seed {seed}: {error:#}"));
                        }
                    }
                    if took.as_secs() / TELL_EVERY_S > told.fetch_max(took.as_secs() / TELL_EVERY_S, Ordering::Relaxed) {
                        tell(Told::Progress(&came.counts, took));
                    }
                }
            });
        }
    });
    let mut came = came.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    came.failed.sort_by_key(|(seed, _)| *seed);
    came.took = since(clock.now());
    came
}

const TELL_EVERY_S: u64 = 5;
