//! A queue of SQS, which invokes the function of AWS with what is in it.

use std::time::Duration;

use async_trait::async_trait;

use super::{DELAY_MAX, Message, WorkQueue};
use crate::aws::{self, Aws};
use crate::error::Error;

/// A queue of SQS.
pub struct SqsQueue {
    aws: Aws,
    url: String,
}

impl SqsQueue {
    /// The queue at `url`; nothing is sent yet.
    pub fn new(aws: Aws, url: &str) -> Self {
        Self { aws, url: url.to_owned() }
    }
}

#[async_trait]
impl WorkQueue for SqsQueue {
    async fn send(&self, message: &Message, delay: Duration) -> Result<(), Error> {
        let seconds = i32::try_from(delay.min(DELAY_MAX).as_secs()).unwrap_or_default();
        let call =
            self.aws.sqs().await?.send_message().queue_url(&self.url).message_body(message.to_text()).delay_seconds(seconds);
        let sent = call.send().await.map_err(|error| aws::failure("queue what is left", "SQS", error));
        sent.map(drop).map_err(Error::from)
    }
}
