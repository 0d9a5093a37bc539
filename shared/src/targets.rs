//! Targets: the places outside lakekey that hold a credential, and how one is moved to a new generation.

pub mod gateway_seal;
pub mod spec;

pub use spec::{DatasetRef, SourceKind, TargetKind, TargetSpec};
