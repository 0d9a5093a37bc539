//! `forget`: a person's word that a place is gone or beyond reach, so that it keeps no old secret alive any more.

use jiff::Timestamp;

use super::{App, principal};
use crate::command::Progress;
use crate::config::Credential;
use crate::error::Error;
use crate::ids::{CredentialName, TargetId};
use crate::report::StatusReport;
use crate::rotation::drive::Run;
use crate::rotation::next::Goal;

impl App {
    pub(super) async fn forget(&self, name: &CredentialName, target: &TargetId) -> Result<StatusReport, Error> {
        let named = self.named(std::slice::from_ref(name))?;
        for credential in &named {
            self.forget_one(credential, target).await?;
        }
        self.status(&named).await
    }

    async fn forget_one(&self, credential: &Credential, target: &TargetId) -> Result<(), Error> {
        let workspaces = self.workspaces(credential)?;
        let unknown = || {
            Error::usage("unknown-target", format!("`{}` has never been sent to `{target}`", credential.name))
                .hint("`lakekey plan` names the targets, and those under `not covered` that it may still hold")
        };
        let found = principal::find(&workspaces[&credential.workspace], credential).await?.ok_or_else(unknown)?;
        if self.journal_name(self.state().await?, credential).await?.is_none() {
            return Err(unknown());
        }
        let ports = self.ports(credential, found, &Progress::none()).await?;
        let mut run = Run::open_leased(&ports, Goal::Rotate { force: false }).await?;
        let now = self.surroundings.clock.now();
        let forgotten = match run.state.place(target).map(|holder| holder.in_flight) {
            None => Err(unknown()),
            Some(Some((_, until))) if until > now => Err(in_flight(target, until)),
            Some(_) => run.forget(target.clone()).await,
        };
        let closed = run.close().await;
        forgotten?;
        closed.map(drop)
    }
}

fn in_flight(target: &TargetId, until: Timestamp) -> Error {
    Error::unfinished("write-in-flight", format!("an earlier write may still land at `{target}` until {until:.0}"))
        .hint("run `lakekey forget` again after that")
}
