//! `lakekey forget`: stops counting a target that is gone or beyond reach.

use lakekey_core::command::Command;
use lakekey_core::error::ExitStatus;
use lakekey_core::ids::TargetId;

use super::Session;
use crate::args::{ForgetArgs, Names};
use crate::failure::Failure;

pub(crate) async fn forget(args: &ForgetArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let target = TargetId::new(args.target.clone());
    let named = Names { names: vec![args.name.clone()] };
    session.ask(&named, |mut names| Command::Forget { name: names.remove(0), target }).await
}
