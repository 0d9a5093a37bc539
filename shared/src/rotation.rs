//! The rotation: moving every target from one generation to the next without a minute in which one holds a dead secret.
//!
//! **Expected flow.** [`drive`] loops over three things: [`next`](next::next) decides from the folded journal, what was
//! observed and the time; `perform` does that one thing; the journal records it.
//!
//! **Guarantees.** G1–G8 of `docs/guarantees.md`. Every effect is either safe to repeat or has an intent recorded before it.
//!
//! **Assumptions.** Clocks of runners and services differ by at most `state.skew`; a request that was given up takes effect
//! within `request_timeout + 2 × skew` or, for a create, is recognised by its lifetime whenever it surfaces.
//!
//! **Caveats.** Any future here may be dropped at any await; the journal is the only memory.
//!
//! The deciding part — `event`, `state`, `next`, `recover`, `due`, `waves`, `slices`, `refresh`, `stake`, `quarantine`, `led` — contains no IO, no async
//! and no clock.

pub mod drive;
pub mod due;
pub mod event;
pub mod led;
pub mod next;
mod perform;
pub mod preflight;
pub mod quarantine;
pub mod recover;
pub mod refresh;
pub mod slices;
pub mod stake;
pub mod state;
#[cfg(test)]
mod tests;
pub mod waves;
