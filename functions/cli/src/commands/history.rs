//! `lakekey history`: the journal, entry by entry.

use lakekey_core::command::Command;
use lakekey_core::error::ExitStatus;

use super::Session;
use crate::args::HistoryArgs;
use crate::failure::Failure;
use crate::settings;

pub(crate) async fn history(args: &HistoryArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let verify = settings::switch(args.verify, settings::VERIFY, &session.environment)?;
    session.ask(&args.names, |names| Command::History { names, verify }).await
}
