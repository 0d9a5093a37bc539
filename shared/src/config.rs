//! The config: read, checked, resolved.
pub mod env_vars;
pub mod hosts;
pub mod model;
pub mod reference;
pub mod schedule;
pub use model::*;
