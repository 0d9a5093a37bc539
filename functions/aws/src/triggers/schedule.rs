//! EventBridge Scheduler: starts what is due, resumes what is open, retires what is past grace.

use lakekey_core::app::App;
use lakekey_core::command::Outcome;
use lakekey_core::error::Error;
use lakekey_core::report::MoveReport;
use tracing::info;

use crate::event::Schedule;

/// One tick.
pub(crate) async fn tick(app: &App, schedule: &Schedule) -> Result<MoveReport, Error> {
    let Schedule { execution, scheduled, attempt } = schedule;
    info!(execution, scheduled, attempt, "the schedule's tick");
    match Box::pin(app.tick()).await? {
        Outcome::Moved(report) => Ok(report),
        Outcome::Plan(_) | Outcome::Status(_) | Outcome::Doctor(_) | Outcome::Discovered(_) | Outcome::History(_) => {
            Ok(MoveReport::default())
        }
    }
}
