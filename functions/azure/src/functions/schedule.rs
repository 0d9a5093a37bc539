//! `schedule`: the timer. Its payload says nothing that matters but that a tick was missed, and that tick has come now.

use lakekey_core::app::App;
use lakekey_core::error::Error;
use tracing::info;

use super::{Said, told};
use crate::envelope::Envelope;

pub(super) async fn schedule(app: &App, envelope: &Envelope) -> Result<Said, Error> {
    let past_due = envelope.payload()?.get("IsPastDue").is_some_and(|past_due| past_due == true);
    info!(past_due, "a tick of the timer");
    told(&app.tick().await?)
}
