//! Runs a plan: trouble first, with every invariant watched; then peace, in which everything must come to rest.

use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::broken::Variant;
use crate::counts::Counts;
use crate::invoke::{Start, invoke, runner_name};
use crate::people;
use crate::plan::{Ask, Plan, QueuePlan, Shift};
use crate::process::sleep;
use crate::queue::Waiting;
use crate::rest;
use crate::setup::{self, Stage};
use crate::watch::Violation;

/// How a plan went.
#[derive(Clone, Debug)]
pub struct Went {
    /// What was done.
    pub counts: Counts,
    /// The first guarantee that did not hold.
    pub violation: Option<Violation>,
    /// Every effect, if asked for.
    pub trace: Vec<String>,
}

/// Runs a plan in a runtime and a universe of its own.
pub fn run(plan: &Plan, variant: Option<Variant>, traced: bool) -> anyhow::Result<Went> {
    in_paused_time(async {
        let stage = setup::stage(plan, variant, traced)?;
        course(plan, &stage).await?;
        let mut counts = stage.universe.watch().counts.clone();
        counts.seeds = 1;
        for seen in stage.universe.cloud.requests() {
            if let Some(fault) = &seen.fault {
                // `late 52 ms` and `late 7 ms` are one kind.
                let is_name = |word: &&str| *word != "ms" && !word.bytes().all(|letter| letter.is_ascii_digit());
                counts.add_fault(&fault.split(' ').filter(is_name).collect::<Vec<_>>().join(" "));
            }
        }
        let passed = stage.universe.clock.now().duration_since(setup::START);
        counts.virtual_s = u64::try_from(passed.as_secs()).unwrap_or_default();
        let trace = stage.universe.take_trace();
        Ok(Went { counts, violation: stage.universe.violation(), trace })
    })
}

/// Runs `work` where time passes only when everybody waits.
pub fn in_paused_time<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.context("no runtime could be made")?.block_on(work)
}

async fn course(plan: &Plan, stage: &Stage) -> anyhow::Result<()> {
    setup::trouble(plan, &stage.universe);
    let mut rivals = Ok(());
    let counter = AtomicU64::new(0);
    {
        let mut shifts: FuturesUnordered<_> = plan.shifts.iter().map(|shift| shift_at(plan, stage, shift, &counter)).collect();
        let meanwhile = async {
            for (at, act) in &plan.acts {
                wait_until(stage, *at).await;
                people::act(&stage.universe, *act);
            }
            wait_until(stage, plan.calm_at_ms).await;
            setup::calm(&stage.universe);
        };
        let work = async { while shifts.next().await.is_some() && stage.universe.violation().is_none() {} };
        let work = async {
            match &plan.queue {
                Some(queue) => {
                    futures::future::select(pin!(work), pin!(deliver(plan, stage, *queue, &counter))).await;
                }
                None => work.await,
            }
        };
        let rivalry = async { rivals = rivalry(plan, stage).await };
        futures::join!(meanwhile, work, rivalry);
    }
    rivals?;
    people::tidy(&stage.universe);
    if stage.universe.violation().is_none() {
        rest::come_to_rest(stage, plan).await;
    }
    Ok(())
}

/// The platform starts an invocation for each message that is due, several at once; ends with the faults.
async fn deliver(plan: &Plan, stage: &Stage, queue: QueuePlan, counter: &AtomicU64) {
    let universe = &stage.universe;
    let mut running = FuturesUnordered::new();
    let mut deliveries = 0;
    while universe.passed_ms() < plan.calm_at_ms && universe.violation().is_none() {
        while let Some(waiting) = universe.queue.take(universe.passed_ms()) {
            deliveries += 1;
            if deliveries > DELIVERIES_MAX {
                // What a queue loses the schedule finds.
                continue;
            }
            running.push(worked(plan, stage, queue, waiting, counter));
        }
        let next = universe.queue.next_ms().unwrap_or(plan.calm_at_ms).min(plan.calm_at_ms);
        let due = sleep(Duration::from_millis(next.saturating_sub(universe.passed_ms())));
        tokio::select! {
            biased;
            Some(()) = running.next() => {}
            () = universe.queue.put_into() => {}
            () = due => {}
        }
    }
}

/// One delivery. What came to nothing is delivered again, a few times.
async fn worked(plan: &Plan, stage: &Stage, queue: QueuePlan, waiting: Waiting, counter: &AtomicU64) {
    let runner = counter.load(std::sync::atomic::Ordering::Relaxed) as usize % plan.skews_ms.len().max(1);
    let start = Start {
        skew_ms: plan.skews_ms.get(runner).copied().unwrap_or_default(),
        platform: Some(queue),
        message: Some(waiting.text.clone()),
        ..Start::plain(runner_name(counter, runner).as_str(), Ask::Rotate)
    };
    let finished = invoke(stage, start).await;
    if !matches!(finished.answer, Some(Ok(_))) && waiting.tries < AGAIN_MAX {
        let at_ms = stage.universe.passed_ms() + VISIBLE_AGAIN_MS;
        stage.universe.queue.put(Waiting { at_ms, tries: waiting.tries + 1, ..waiting });
    }
}

/// How often one message is delivered again.
const AGAIN_MAX: u32 = 4;
/// Deliveries of one seed; what is sent after that is lost.
const DELIVERIES_MAX: u32 = 200;
/// How long after it failed.
const VISIBLE_AGAIN_MS: u64 = 30_000;

/// Another deployment, which knows nothing of the first: what it does must harm neither.
async fn rivalry(plan: &Plan, stage: &Stage) -> anyhow::Result<()> {
    if plan.rivals.is_empty() {
        return Ok(());
    }
    let rival = setup::rival(plan, stage)?;
    for at in &plan.rivals {
        wait_until(stage, *at).await;
        drop(invoke(&rival, Start::plain("rival", Ask::Force)).await);
        if let Some(violation) = rival.universe.violation() {
            stage.universe.watch().broken(violation.guarantee, violation.at, format!("the rival: {}", violation.what));
        }
    }
    Ok(())
}

async fn shift_at(plan: &Plan, stage: &Stage, shift: &Shift, counter: &AtomicU64) {
    wait_until(stage, shift.at_ms).await;
    if stage.universe.violation().is_some() {
        return;
    }
    let start = Start {
        runner: runner_name(counter, shift.runner),
        skew_ms: plan.skews_ms.get(shift.runner).copied().unwrap_or_default(),
        ask: shift.ask,
        crash: shift.crash,
        freeze: shift.freeze,
        meanwhile: shift.meanwhile,
        edit: shift.edit,
        platform: plan.queue,
        message: None,
    };
    drop(invoke(stage, start).await);
}

async fn wait_until(stage: &Stage, at_ms: u64) {
    let passed = stage.universe.clock.now().duration_since(setup::START).as_millis();
    let left = u64::try_from(i128::from(at_ms) - passed).unwrap_or_default();
    sleep(Duration::from_millis(left)).await;
}
