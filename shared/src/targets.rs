//! Targets: the places outside lakekey that hold a credential, and how one is moved to a new generation.

pub(crate) mod condition;
mod connection;
pub mod datasource;
mod failure;
pub mod gateway_seal;
pub mod spec;

pub use datasource::{Applied, PowerBiTargets};
pub use failure::{ApplyError, Landed};
pub use spec::{DatasetRef, SourceKind, TargetKind, TargetSpec};
