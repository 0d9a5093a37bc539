//! A step of a rotation that Secrets Manager leads.

use lakekey_core::app::App;
use lakekey_core::app::StepOrder;
use lakekey_core::command::Progress;
use lakekey_core::error::Error;
use lakekey_core::report::MoveReport;

use crate::event::StepEvent;

/// Does one step. Secrets Manager reads nothing but whether it failed.
pub(crate) async fn step(app: &App, event: StepEvent) -> Result<MoveReport, Error> {
    let StepEvent { step, secret_id, token, rotation_token } = event;
    let order = StepOrder { step, secret_id, token, rotation_token };
    Box::pin(app.step(&order, &Progress::none())).await
}
