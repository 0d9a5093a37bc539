//! What carries requests when the caller brings nothing: the network.

use std::sync::Arc;

use lakekey_core::config::env_vars::Environment;
use lakekey_core::error::Error;
use lakekey_core::http::reqwest_transport::ReqwestTransport;
use lakekey_core::http::transport::Transport;

/// The production transport.
pub(crate) fn production(environment: &Environment) -> Result<Arc<dyn Transport>, Error> {
    Ok(Arc::new(ReqwestTransport::new(environment)?))
}
