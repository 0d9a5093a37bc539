//! `worker`: one message of the work queue. A failure brings it back after a while, and in the end to `lakekey-work-poison`,
//! where it does no harm: a message grants nothing, and the schedule finds what was left behind.

use lakekey_core::app::App;
use lakekey_core::error::Error;
use lakekey_core::work::Worked;
use tracing::info;

use super::Said;
use crate::envelope::Envelope;

pub(super) async fn worker(app: &App, envelope: &Envelope) -> Result<Said, Error> {
    let payload = envelope.payload()?;
    let text = payload.as_str().map_or_else(|| payload.to_string(), str::to_owned);
    info!(delivery = envelope.number("DequeueCount"), "a message of the work queue");
    match app.work(&text).await? {
        Worked::Done => Ok(vec!["worked off".to_owned()]),
        // Delivered again it would be no other message.
        Worked::Refused(problem) => Ok(vec![format!("passed over: {}: {}", problem.code, problem.message)]),
    }
}
