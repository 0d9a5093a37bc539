//! The config: read, checked, resolved.
pub mod duration;
pub mod env_vars;
pub mod hosts;
pub mod model;
mod problem;
pub mod reference;
pub mod schedule;
pub use model::*;
pub use problem::ConfigProblem;
