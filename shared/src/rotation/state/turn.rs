//! Changes of direction, and what a plan that has ended leaves behind.

use super::{Held, Open, State};
use crate::error::Problem;
use crate::rotation::event::{PlanKind, Turn};

impl State {
    /// What is open is given up as soon as its runner hears of it; whoever works next goes the new way.
    pub(super) fn turned(&mut self, turn: &Turn) -> Result<(), &'static str> {
        match (&self.turn, turn) {
            (Some(Turn::Rollback { .. }), Turn::Rollback { .. }) => return Err("a rollback is asked for while one is under way"),
            (None, Turn::Rollback { .. }) => {}
        }
        match turn {
            Turn::Rollback { to: Some(to), .. } => drop(self.alive(*to)?),
            Turn::Rollback { to: None, canary } if canary.is_none() => return Err("a rollback to nowhere"),
            Turn::Rollback { to: None, .. } => {}
        }
        self.turn = Some(turn.clone());
        Ok(())
    }

    /// What was open has ended, well or not.
    pub(super) fn settled(&mut self, problem: Option<&Problem>) -> Result<(), &'static str> {
        let open = self.open.take().ok_or("nothing is open that could be settled")?;
        let moved = match open.plan.kind {
            PlanKind::Rotate | PlanKind::Rollback => true,
            PlanKind::Reapply => false,
        };
        self.draining |= problem.is_none() && moved;
        if self.is_its_turn(&open) {
            self.end_turn(problem.is_none());
        }
        Ok(())
    }

    /// The turn cannot be carried out.
    pub(super) fn turn_ended(&mut self) -> Result<(), &'static str> {
        match self.turn.is_some() && self.open.is_none() {
            true => self.end_turn(false),
            false => return Err("a turn ends that never was, or whose plan is open"),
        }
        Ok(())
    }

    /// Whether the open plan is the one that carries out the change of direction.
    pub fn is_its_turn(&self, open: &Open) -> bool {
        matches!((&self.turn, open.plan.kind), (Some(Turn::Rollback { .. }), PlanKind::Rollback))
    }

    fn end_turn(&mut self, well: bool) {
        match self.turn.take() {
            Some(Turn::Rollback { canary: Some(canary), .. }) => {
                self.quarantine = Some(canary.problem.clone());
                self.failed_canaries = canary.targets;
            }
            Some(Turn::Rollback { canary: None, .. }) if well => self.held = self.current.map(|generation| Held { generation }),
            Some(Turn::Rollback { .. }) | None => {}
        }
    }
}
