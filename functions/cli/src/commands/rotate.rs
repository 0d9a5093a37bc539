//! `lakekey rotate`: rotates what is due, resumes what is open, retires what is past grace.

use lakekey_core::command::Command;
use lakekey_core::error::ExitStatus;

use super::Session;
use crate::args::RotateArgs;
use crate::failure::Failure;

pub(crate) async fn rotate(args: &RotateArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let force = args.force;
    session.ask(&args.names, |names| Command::Rotate { names, force }).await
}
