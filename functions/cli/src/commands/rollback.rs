//! `lakekey rollback`: moves targets back to the previous generation and holds there.

use lakekey_core::command::Command;
use lakekey_core::error::ExitStatus;

use super::Session;
use crate::args::Names;
use crate::failure::Failure;

pub(crate) async fn rollback(args: &Names, session: &mut Session) -> Result<ExitStatus, Failure> {
    session.ask(args, |names| Command::Rollback { names }).await
}
