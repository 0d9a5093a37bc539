//! The crash matrix: a rotation from generation 1 to 2 with drain and retirement is run once to count its effects; then a
//! process dies at each of them, at each moment of it, and is followed by the same runner, by another, or by two at once.

use jiff::SignedDuration;
use lakekey_core::ids::RunnerId;

use crate::counts::Counts;
use crate::course::in_paused_time;
use crate::invoke::{Start, invoke};
use crate::plan::{Ask, Plan};
use crate::process::{Crash, When, sleep};
use crate::rest;
use crate::setup::{self, Stage};
use crate::watch::Violation;

/// Who goes on after the crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The same runner.
    Same,
    /// Another one.
    Other,
    /// Two others at the same moment.
    Two,
}

/// One cell: where the first process dies, where its successor does, and who goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The first death.
    pub first: Crash,
    /// The death of the one that goes on, if it dies too.
    pub second: Option<Crash>,
    /// Who goes on.
    pub resumed: Resumed,
    /// Whether the state has a lock.
    pub locked: bool,
}

/// What came of one cell.
#[derive(Clone, Debug)]
pub struct Came {
    /// What was done.
    pub counts: Counts,
    /// What did not hold.
    pub violation: Option<Violation>,
    /// Whether the first process lived to its crash.
    pub died: bool,
}

/// The moments of each effect; a request in flight lands half its time later.
pub const MOMENTS: [When; 4] = [When::Before, When::InFlight(20_000), When::AfterEffect, When::AfterAnswer];
/// Who may go on.
pub const RESUMED: [Resumed; 3] = [Resumed::Same, Resumed::Other, Resumed::Two];

/// The credential of the matrix: two cloud targets, of which one must be taken over, and one on a gateway; a copy.
pub fn plan(targets: usize, locked: bool) -> Plan {
    let mut plan = Plan::calm(7, targets, true);
    plan.config.copy = true;
    plan.locked = locked;
    plan
}

/// Effects of the run that begins after generation 1 is at rest and ends when generation 2 is promoted, and of the run that
/// retires generation 1.
pub fn effects(plan: &Plan) -> anyhow::Result<(u64, u64)> {
    in_paused_time(async {
        let stage = setup::stage(plan, None, false)?;
        begin(&stage).await;
        let rotation = invoke(&stage, Start::plain("runner", Ask::Force)).await.effects;
        drain_time(plan).await;
        let retirement = invoke(&stage, Start::plain("runner", Ask::Rotate)).await.effects;
        Ok((rotation, retirement))
    })
}

/// Runs one cell of the rotation itself (`retiring` is false) or of the run that retires the superseded generation.
pub fn run(plan: &Plan, cell: Cell, retiring: bool) -> anyhow::Result<Came> {
    in_paused_time(async {
        let stage = setup::stage(&Plan { locked: cell.locked, ..plan.clone() }, None, false)?;
        begin(&stage).await;
        let mut ask = Ask::Force;
        if retiring {
            drop(invoke(&stage, Start::plain("runner", Ask::Force)).await);
            drain_time(plan).await;
            ask = Ask::Rotate;
        }
        let first = Start { crash: Some(cell.first), ..Start::plain("runner", ask) };
        let died = invoke(&stage, first).await.answer.is_none();
        resume(&stage, cell).await;
        if stage.universe.violation().is_none() {
            rest::come_to_rest(&stage, plan).await;
        }
        let counts = stage.universe.watch().counts.clone();
        Ok(Came { counts, violation: stage.universe.violation(), died })
    })
}

async fn begin(stage: &Stage) {
    drop(invoke(stage, Start::plain("runner", Ask::Rotate)).await);
}

async fn drain_time(plan: &Plan) {
    let grace = SignedDuration::from_secs(i64::try_from(plan.config.grace).unwrap_or_default());
    sleep(grace.unsigned_abs() + std::time::Duration::from_secs(600)).await;
}

async fn resume(stage: &Stage, cell: Cell) {
    let start = |name: &str| Start { runner: RunnerId::new(name), crash: cell.second, ..Start::plain(name, Ask::Rotate) };
    match cell.resumed {
        Resumed::Same => drop(invoke(stage, start("runner")).await),
        Resumed::Other => drop(invoke(stage, start("another")).await),
        Resumed::Two => {
            let one = Box::pin(invoke(stage, start("another")));
            let two = Box::pin(invoke(stage, Start::plain("a-third", Ask::Rotate)));
            drop(futures::join!(one, two));
        }
    }
}
