//! When rotations may start.
/// A recurring window.
#[derive(Clone, Debug)]
pub struct Window;
