//! `lakekey reapply`: sends the current generation to its targets again.

use lakekey_core::command::Command;
use lakekey_core::error::ExitStatus;

use super::Session;
use crate::args::ReapplyArgs;
use crate::failure::Failure;
use crate::settings;

pub(crate) async fn reapply(args: &ReapplyArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let refresh = settings::switch(args.refresh, settings::REFRESH, &session.environment)?;
    session.ask(&args.names, |names| Command::Reapply { names, refresh }).await
}
