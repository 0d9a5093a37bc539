//! The work queue: each message by itself, so that one that cannot be worked off keeps none of its neighbours from it, not
//! even by a defect. Those that are to come again are named in the answer; the event source mapping must be told to read it
//! (`ReportBatchItemFailures`).
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use lakekey_core::app::App;
use lakekey_core::work::Worked;
use serde_json::{Value, json};
use tracing::{Instrument, error, info_span, warn};

use crate::event::Message;

/// Works a batch off, one message after another: the credential of each has a lease, and this is one runner.
pub(crate) async fn work(app: &App, messages: &[Message]) -> Value {
    let mut failures = Vec::new();
    for message in messages {
        let span = info_span!("message", message_id = message.id);
        if !done(app, message).instrument(span).await {
            failures.push(json!({ "itemIdentifier": message.id }));
        }
    }
    json!({ "batchItemFailures": failures })
}

/// Whether the message need not come again. One that nobody can work off comes again too: after some times the queue puts it
/// aside, where people find it.
async fn done(app: &App, message: &Message) -> bool {
    match AssertUnwindSafe(Box::pin(app.work(&message.body))).catch_unwind().await {
        Ok(Ok(Worked::Done)) => true,
        // The core has said why.
        Ok(Ok(Worked::Refused(_))) => false,
        Ok(Err(error)) => {
            warn!(code = error.code(), hint = error.problem().hint, "a message could not be worked off: {error}");
            false
        }
        Err(_) => {
            error!("a message was broken off by a defect of lakekey; every target still holds a live secret");
            false
        }
    }
}
