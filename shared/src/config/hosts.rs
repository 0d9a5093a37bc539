//! Where credentials may go.
/// Hosts that credentials may be sent to.
#[derive(Clone, Debug)]
pub struct HostPolicy;
