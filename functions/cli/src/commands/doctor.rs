//! `lakekey doctor`: whether a rotation has all that it needs; writes nothing anywhere.

use lakekey_core::command::Command;
use lakekey_core::error::ExitStatus;

use super::Session;
use crate::args::Names;
use crate::failure::Failure;

pub(crate) async fn doctor(args: &Names, session: &mut Session) -> Result<ExitStatus, Failure> {
    session.ask(args, |names| Command::Doctor { names }).await
}
