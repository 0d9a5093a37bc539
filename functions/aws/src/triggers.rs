//! One file for each trigger: the event in, one call of the core, the answer out.

pub(crate) mod call;
pub(crate) mod messages;
pub(crate) mod schedule;
pub(crate) mod step;
