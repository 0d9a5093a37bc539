//! Sending one generation to many places, and taking datasets over before. Two journal entries a wave, however many
//! targets it has: one that says who may hold the generation from here on, and one that says what became of each. Between
//! the two, this runner writes to all of them, or workers do, each to one slice (`slices`).

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures::{FutureExt, StreamExt};

use super::busy::Looks;
use crate::credential::StoredCredential;
use crate::error::{Error, Problem};
use crate::ids::{Generation, TargetId, Workspace};
use crate::rotation::drive::Run;
use crate::rotation::event::{Event, Fate, TakenOver, WaveResult};
use crate::targets::{Applied, ApplyError, DatasetRef, Landed};

/// The code of a write that was not started for lack of time.
const OUT_OF_TIME: &str = "out-of-time";
/// Take-overs under way at once.
const TAKE_OVERS_AT_ONCE: usize = 8;

impl Run<'_> {
    pub(super) async fn wave(&mut self, generation: Generation, targets: Vec<TargetId>) -> Result<(), Error> {
        let value = match self.value(generation).await {
            Ok(value) => value,
            Err(error) if error.code() == super::VALUE_LOST => {
                self.seen.lost = Some(generation);
                self.seen.listing = None;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let total = targets.len();
        self.say(format!("moving {total} place{} to generation {generation}", if total == 1 { "" } else { "s" }), 0, total);
        self.changed = true;
        if self.is_sent_out(&targets) && self.will_be_looked_after().await {
            return self.send_out(generation, targets).await;
        }
        self.record(Event::WaveStarted { generation, targets: targets.clone(), slice_size: None }).await?;
        let results = self.write_all(&targets, &value).await;
        self.touch(targets);
        self.record(Event::WaveEnded { results, counted: Vec::new() }).await.map(drop)
    }

    /// Notes that the report is about these too.
    pub(super) fn touch(&mut self, targets: Vec<TargetId>) {
        self.touched.extend(targets);
    }

    /// Writes to places, some at once, and says what became of each. An invocation that ends breaks off what is under way.
    pub(super) async fn write_all(&self, targets: &[TargetId], value: &StoredCredential) -> Vec<WaveResult> {
        let total = targets.len();
        let at_once = self.ports.credential.targets.as_ref().map_or(1, |targets| targets.concurrency);
        let (looks, begun) = (Looks::default(), Mutex::new(BTreeSet::new()));
        // Each is made only when its turn comes: ten thousand of them would take more memory than all else.
        let writes = futures::stream::iter(targets.to_vec()).map(|id| {
            let (looks, begun) = (&looks, &begun);
            let write = async move {
                begun.lock().expect("no code panics while it holds the set").insert(id.clone());
                self.write(&id, value, looks).await
            };
            write.boxed()
        });
        let mut writes = writes.buffer_unordered(at_once);
        let mut over = std::pin::pin!(self.invocation_over());
        let mut results: Vec<WaveResult> = Vec::with_capacity(total);
        loop {
            let result = tokio::select! {
                result = writes.next() => result,
                () = &mut over => None,
            };
            let Some(result) = result else { break };
            let step = if result.fate == Fate::Moved { "moved" } else { "not moved" };
            self.say(format!("{step}: `{}`", result.target), results.len() + 1, total);
            results.push(result);
        }
        drop(writes);
        let ended: BTreeSet<TargetId> = results.iter().map(|result| result.target.clone()).collect();
        let begun = begun.into_inner().unwrap_or_default();
        results.extend(targets.iter().filter(|id| !ended.contains(*id)).map(|id| self.broken_off(id, begun.contains(id))));
        results.sort_by(|left, right| left.target.cmp(&right.target));
        results
    }

    /// Ends when this invocation does, or never.
    async fn invocation_over(&self) {
        match &self.ports.invocation {
            Some(invocation) => {
                let left = invocation.break_off_at.duration_since(self.ports.clock.now());
                self.ports.clock.sleep(left.try_into().unwrap_or_default()).await;
            }
            None => std::future::pending().await,
        }
    }

    pub(super) fn broken_off(&self, id: &TargetId, begun: bool) -> WaveResult {
        let problem = begun.then(|| Problem::new(OUT_OF_TIME, format!("the invocation ended before `{id}` had answered")));
        let fate = if begun { Fate::Unknown } else { Fate::NotTried };
        WaveResult { target: id.clone(), at: self.ports.clock.now(), fate, earlier_may_land: false, problem }
    }

    async fn write(&self, id: &TargetId, value: &StoredCredential, looks: &Looks) -> WaveResult {
        if self.still_leased().is_err() || self.is_fenced().await {
            return self.broken_off(id, false);
        }
        if let Some(targets) = &self.ports.targets
            && let Some(problem) = self.in_the_way(targets, id, looks).await
        {
            let at = self.ports.clock.now();
            return WaveResult { target: id.clone(), at, fate: Fate::Busy, earlier_may_land: false, problem: Some(problem) };
        }
        let outcome = match self.state.place(id).and_then(|holder| holder.spec.as_ref()) {
            Some(spec) => match &self.ports.targets {
                Some(targets) => targets.apply(spec, &value.client_id, &value.client_secret, self.not_after()).await,
                None => Err(unreachable_now("the config no longer has a `targets` section to reach it with")),
            },
            None => self.write_copy(id, value).await,
        };
        let at = self.ports.clock.now();
        let earlier_may_land = outcome.as_ref().is_ok_and(|applied| applied.earlier_may_land);
        let (fate, problem) = match outcome {
            Ok(_) => (Fate::Moved, None),
            Err(ApplyError { landed: Landed::No, problem }) if problem.code == OUT_OF_TIME => (Fate::NotTried, None),
            Err(ApplyError { landed, problem }) => {
                let fate = match landed {
                    Landed::No => Fate::NotWritten,
                    Landed::Refused => Fate::Refused,
                    Landed::Maybe => Fate::Unknown,
                };
                (fate, Some(problem))
            }
        };
        WaveResult { target: id.clone(), at, fate, earlier_may_land, problem }
    }

    async fn write_copy(&self, id: &TargetId, value: &StoredCredential) -> Result<Applied, ApplyError> {
        let Some(copy) = self.copy(id) else {
            return Err(unreachable_now("the config no longer names this copy"));
        };
        let mut value = value.clone();
        value.journal = self.journal.head().map(str::to_owned);
        self.still_leased().map_err(|_| out_of_time())?;
        copy.write(&value, self.not_after()).await
    }

    pub(super) async fn take_over(&mut self, datasets: Vec<DatasetRef>) -> Result<(), Error> {
        if self.state.taking_over.is_empty() {
            self.say(
                format!("taking over {} dataset{}", datasets.len(), if datasets.len() == 1 { "" } else { "s" }),
                0,
                datasets.len(),
            );
            self.record(Event::TakeOverStarted { datasets: datasets.clone() }).await?;
        }
        self.changed = true;
        let workspaces: Vec<Workspace> = self.ports.workspaces.keys().cloned().collect();
        let take_overs = futures::stream::iter(datasets).map(|dataset| self.take_one_over(dataset, &workspaces).boxed());
        let results: Vec<TakenOver> = take_overs.buffered(TAKE_OVERS_AT_ONCE).collect().await;
        self.record(Event::TakenOver { results }).await.map(drop)
    }

    async fn take_one_over(&self, dataset: DatasetRef, workspaces: &[Workspace]) -> TakenOver {
        let taken = match &self.ports.targets {
            Some(targets) => targets.take_over(&dataset, workspaces, self.not_after()).await,
            None => Err(unreachable_now("the config no longer has a `targets` section to reach it with")),
        };
        match taken {
            Ok(targets) => TakenOver { dataset, targets, problem: None },
            Err(error) => TakenOver { dataset, targets: Vec::new(), problem: Some(error.problem) },
        }
    }
}

fn out_of_time() -> ApplyError {
    ApplyError { landed: Landed::No, problem: Problem::new(OUT_OF_TIME, "the lease ended before it was written") }
}

fn unreachable_now(why: &str) -> ApplyError {
    ApplyError {
        landed: Landed::No,
        problem: Problem::new("target-unreachable", why)
            .hint("put the section back until the rotation has finished, or wait until the target is parked"),
    }
}
