//! `lakekey discover`: every Databricks data source that the identities can see; writes nothing anywhere.

use lakekey_core::command::Command;
use lakekey_core::error::ExitStatus;
use lakekey_core::inventory;

use super::Session;
use crate::args::{By, DiscoverArgs};
use crate::failure::Failure;
use crate::settings;

pub(crate) async fn discover(args: &DiscoverArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let by = settings::by(args.by, &session.environment)?.map(|by| match by {
        By::Workspaces => inventory::By::Workspaces,
        By::Scanner => inventory::By::Scanner,
    });
    session.ask(&args.names, |names| Command::Discover { names, by }).await
}
