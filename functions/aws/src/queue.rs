//! Where no work queue is set up: what an invocation leaves waits for the schedule.

use std::time::Duration;

use async_trait::async_trait;
use lakekey_core::error::Error;
use lakekey_core::work::{Message, WorkQueue};

/// No queue.
pub(crate) struct NoQueue;

#[async_trait]
impl WorkQueue for NoQueue {
    async fn send(&self, _: &Message, _: Duration) -> Result<(), Error> {
        Err(Error::failed("queue-missing", "no work queue is set up, so what is left waits for the schedule")
            .hint("set LAKEKEY_QUEUE_URL to the URL of an SQS queue that invokes this function"))
    }
}
