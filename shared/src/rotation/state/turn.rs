//! Changes of direction, and what a plan that has ended leaves behind.

use super::{Held, Holder, Open, State};
use crate::error::Problem;
use crate::ids::Generation;
use crate::rotation::event::{PlanKind, Turn};

impl State {
    /// What is open is given up as soon as its runner hears of it; whoever works next goes the new way.
    pub(super) fn turned(&mut self, turn: &Turn) -> Result<(), &'static str> {
        match (&self.turn, turn) {
            (Some(Turn::Rollback { .. }), Turn::Rollback { .. }) => return Err("a rollback is asked for while one is under way"),
            (Some(Turn::Revoke { .. }), _) => return Err("a change of direction is asked for while a revoke is under way"),
            (None, Turn::Rollback { .. }) | (_, Turn::Revoke { .. }) => {}
        }
        match turn {
            Turn::Revoke { .. } => {}
            Turn::Rollback { to: Some(to), .. } => drop(self.alive(*to)?),
            Turn::Rollback { to: None, canary } if canary.is_none() => return Err("a rollback to nowhere"),
            Turn::Rollback { to: None, .. } => {}
        }
        self.turn = Some(turn.clone());
        Ok(())
    }

    /// What was open has ended, well or not.
    pub(super) fn settled(&mut self, problem: Option<&Problem>) -> Result<(), &'static str> {
        let mut open = self.open.take().ok_or("nothing is open that could be settled")?;
        if problem.is_some() {
            self.fail_as_before(&mut open);
        }
        let moved = match open.plan.kind {
            PlanKind::Rotate | PlanKind::Rollback | PlanKind::Revoke => true,
            PlanKind::Reapply | PlanKind::Join => false,
        };
        self.draining |= problem.is_none() && moved;
        if self.is_its_turn(&open) {
            self.end_turn(problem.is_none());
        }
        Ok(())
    }

    /// A plan that ended before it came to a place that had failed has mended nothing there.
    fn fail_as_before(&mut self, open: &mut Open) {
        for (id, failures) in std::mem::take(&mut open.left) {
            let passed = |holder: &&mut Holder| holder.planned && holder.failures.is_none() && holder.attempts == 0;
            if let Some(holder) = self.holder_mut(&id).filter(passed) {
                holder.failures = Some(Box::new(failures));
            }
        }
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
        match (&self.turn, open.plan.kind) {
            (Some(Turn::Rollback { .. }), PlanKind::Rollback) | (Some(Turn::Revoke { .. }), PlanKind::Revoke) => true,
            (_, PlanKind::Rotate | PlanKind::Reapply | PlanKind::Join | PlanKind::Rollback | PlanKind::Revoke) => false,
        }
    }

    /// Whether what is open is to be given up for another direction.
    pub fn is_turning(&self) -> bool {
        self.turn.is_some() && !self.open.as_ref().is_some_and(|open| self.is_its_turn(open))
    }

    /// What a revoke that is under way may delete: whatever is not its own new secret, foreign ones only where asked.
    pub(super) fn revocable(&self, generation: Option<Generation>) -> Result<(), &'static str> {
        let Some(Turn::Revoke { foreign }) = self.turn else { return Err("a secret is revoked although nobody asked for that") };
        let Some(open) = self.open.as_ref().filter(|open| open.plan.kind == PlanKind::Revoke) else {
            return Err("a secret is revoked outside a revoke");
        };
        match generation {
            None if !foreign => Err("a foreign secret is revoked although nobody asked for that"),
            Some(_) if generation == open.generation => Err("a revoke condemns its own secret"),
            Some(_) | None => Ok(()),
        }
    }

    fn end_turn(&mut self, well: bool) {
        match self.turn.take() {
            Some(Turn::Rollback { canary: Some(canary), .. }) => {
                self.quarantine = Some(canary.problem.clone());
                self.failed_canaries = canary.targets;
            }
            Some(Turn::Rollback { canary: None, .. }) if well => self.held = self.current.map(|generation| Held { generation }),
            Some(Turn::Rollback { .. } | Turn::Revoke { .. }) | None => {}
        }
    }
}
