//! The crash matrix: a rotation from generation 1 to 2 with drain and retirement is run once to count its effects; then a
//! process dies at each of them, at each moment of it, and is followed by the same runner, by another, or by two at once.

use jiff::SignedDuration;

use crate::broken::Variant;
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
    /// Whether it is the run that retires the superseded generation; else the rotation itself.
    pub retiring: bool,
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
    /// Whether the one that went on did.
    pub died_again: bool,
}

/// The moments of each effect; a request in flight lands half its time later.
pub const MOMENTS: [When; 4] = [When::Before, When::InFlight(20_000), When::AfterEffect, When::AfterAnswer];
/// The moments of a pair: to die after an effect, answered or not, leaves the same behind as to die before the next one.
const PAIRED: [When; 2] = [When::Before, When::InFlight(20_000)];
/// Who may go on.
pub const RESUMED: [Resumed; 3] = [Resumed::Same, Resumed::Other, Resumed::Two];

/// The credential of the matrix: two cloud targets, of which one must be taken over, and one on a gateway; a copy.
pub fn plan(targets: usize, locked: bool) -> Plan {
    let mut plan = Plan::calm(7, targets, true);
    plan.config.copy = true;
    plan.locked = locked;
    plan
}

/// The credential of the pairs: as little as shows every kind of step but those of gateways and copies.
pub fn small_plan() -> Plan {
    Plan::calm(11, 1, false)
}

/// The first of each pair of crashes, with and without a lock.
pub fn first_crashes(plan: &Plan) -> anyhow::Result<Vec<(Crash, bool)>> {
    let (rotation, _) = effects(plan)?;
    let crashes = (1..=rotation).flat_map(|at| PAIRED.map(|when| Crash { at, when }));
    Ok(crashes.flat_map(|crash| [(crash, true), (crash, false)]).collect())
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

/// Every cell: each effect of a rotation, of the run that retires and (`pairs`) of whoever goes on after a first crash.
pub fn cells(plan: &Plan) -> anyhow::Result<Vec<Cell>> {
    let (rotation, retirement) = effects(plan)?;
    let mut cells = Vec::new();
    for (retiring, effects) in [(false, rotation), (true, retirement)] {
        for at in 1..=effects {
            // After the answer to its last effect there is nothing left that it could die before.
            for when in MOMENTS.into_iter().filter(|when| at < effects || *when != When::AfterAnswer) {
                for resumed in RESUMED {
                    for locked in [true, false] {
                        cells.push(Cell { retiring, first: Crash { at, when }, second: None, resumed, locked });
                    }
                }
            }
        }
    }
    Ok(cells)
}

/// Every pair of crashes of a rotation: who goes on after the first one dies too, at each of its effects until it lives
/// through them all.
pub fn pairs(plan: &Plan, locked: bool, first: Crash, mut each: impl FnMut(Cell, Came)) -> anyhow::Result<()> {
    for at in 1.. {
        let mut died = false;
        for when in PAIRED {
            let second = Some(Crash { at, when });
            let cell = Cell { retiring: false, first, second, resumed: Resumed::Other, locked };
            let came = run(plan, cell)?;
            died |= came.died_again;
            each(cell, came);
        }
        if !died {
            break;
        }
    }
    Ok(())
}

/// Runs one cell.
pub fn run(plan: &Plan, cell: Cell) -> anyhow::Result<Came> {
    run_with(plan, cell, None)
}

/// Runs one cell with a deliberate defect.
pub fn run_with(plan: &Plan, cell: Cell, variant: Option<Variant>) -> anyhow::Result<Came> {
    in_paused_time(async {
        let stage = setup::stage(&Plan { locked: cell.locked, ..plan.clone() }, variant, false)?;
        begin(&stage).await;
        let mut ask = Ask::Force;
        if cell.retiring {
            drop(invoke(&stage, Start::plain("runner", Ask::Force)).await);
            drain_time(plan).await;
            ask = Ask::Rotate;
        }
        let first = Start { crash: Some(cell.first), ..Start::plain("runner", ask) };
        let died = invoke(&stage, first).await.answer.is_none();
        let died_again = resume(&stage, plan, cell).await;
        if stage.universe.violation().is_none() {
            rest::come_to_rest(&stage, plan).await;
        }
        let counts = stage.universe.watch().counts.clone();
        Ok(Came { counts, violation: stage.universe.violation(), died, died_again })
    })
}

async fn begin(stage: &Stage) {
    drop(invoke(stage, Start::plain("runner", Ask::Rotate)).await);
}

async fn drain_time(plan: &Plan) {
    let grace = SignedDuration::from_secs(i64::try_from(plan.config.grace).unwrap_or_default());
    sleep(grace.unsigned_abs() + std::time::Duration::from_secs(600)).await;
}

/// Goes on; says whether whoever did so died as well. Without a lock, a second crash has to wait for the first one's lease.
async fn resume(stage: &Stage, plan: &Plan, cell: Cell) -> bool {
    if cell.second.is_some() && !cell.locked {
        sleep(std::time::Duration::from_millis(plan.config.lease * 1_000 + 2 * plan.skew_ms())).await;
    }
    let start = |name: &str| Start { crash: cell.second, ..Start::plain(name, Ask::Rotate) };
    let went_on = match cell.resumed {
        Resumed::Same => invoke(stage, start("runner")).await,
        Resumed::Other => invoke(stage, start("another")).await,
        Resumed::Two => {
            let one = Box::pin(invoke(stage, start("another")));
            let two = Box::pin(invoke(stage, Start::plain("a-third", Ask::Rotate)));
            futures::join!(one, two).0
        }
    };
    went_on.answer.is_none()
}
