//! Stores: where the value of a credential is kept.
pub(crate) mod disk;
