//! The work queues of the platforms, as this program's environment names them.

use std::sync::Arc;

use super::{App, Surroundings};
use crate::config::hosts::HostPolicy;
use crate::error::Error;
use crate::http::Http;
use crate::identity::Audience;
use crate::work::{StorageQueue, WorkQueue};

impl App {
    /// The work queue of Azure Functions. Nothing is sent yet.
    pub fn storage_queue(&self) -> Result<Arc<dyn WorkQueue>, Error> {
        let Surroundings { transport, clock, random, environment, .. } = &self.surroundings;
        let address = StorageQueue::address(environment, &self.config.endpoints.queue)?;
        let timeout = self.config.state.request_timeout;
        let http = Http::new(Arc::clone(transport), HostPolicy::only(&address), clock.clone(), random.clone(), timeout);
        Ok(Arc::new(StorageQueue::new(http, self.identities.ambient(&Audience::Storage), &address)))
    }
}
