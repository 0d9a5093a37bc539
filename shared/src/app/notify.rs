//! After a run: telling people what it changed.

use super::App;
use crate::config::Credential;
use crate::notify::{self, Notice, Notifier};
use crate::report::CredentialMove;
use crate::rotation::state::State;

impl App {
    /// What there is to tell; nothing where nobody is to be told.
    pub(super) fn notices(&self, state: &State, report: &CredentialMove) -> Vec<Notice> {
        match self.config.notify.is_empty() {
            true => Vec::new(),
            false => notify::decide(state, report, self.surroundings.clock.now()),
        }
    }

    /// Tells it.
    pub(super) async fn deliver(&self, notices: &[Notice]) {
        if notices.is_empty() {
            return;
        }
        match self.state().await {
            Ok(state) => self.notifier().tell(&*state, notices).await,
            Err(error) => tracing::warn!(code = error.code(), "could not notify: {error}"),
        }
    }

    /// Of a run that could not even begin: what the journal says, without asking anybody, still counts.
    pub(super) async fn tell_of_failure(&self, credential: &Credential, report: &CredentialMove) {
        if self.config.notify.is_empty() {
            return;
        }
        let state = self.last_state(credential).await.unwrap_or_default();
        self.deliver(&self.notices(&state, report)).await;
    }

    pub(super) fn notifier(&self) -> Notifier<'_> {
        Notifier {
            channels: &self.config.notify,
            transport: &self.surroundings.transport,
            secrets: &self.secrets,
            identities: &self.identities,
            clock: &self.surroundings.clock,
            random: &self.surroundings.random,
        }
    }
}
