//! `doctor`: whether a rotation has all that it needs, thing by thing, and what to do about what it lacks. Reads only, and
//! goes on where something fails: one missing right does not hide the next.

mod credential;
mod identities;

use futures::FutureExt;

use super::{App, many_at_once};
use crate::config::{Credential, ObjectPlace, StateLocation};
use crate::error::{Error, Problem};
use crate::journal;
use crate::report::{Check, DoctorReport};

impl App {
    pub(super) async fn doctor(&self, credentials: &[&Credential]) -> DoctorReport {
        let mut checks = self.check_state().await;
        checks.extend(self.check_identities(credentials).await);
        let looks = credentials.iter().map(|credential| self.check_credential(credential).boxed());
        let of_credentials: Vec<Vec<Check>> = many_at_once(looks.collect()).await;
        checks.extend(of_credentials.into_iter().flatten());
        checks.extend(self.check_webhooks().await);
        checks.extend(self.check_api().await);
        DoctorReport { checks }
    }

    /// Whether each can be posted to. A look that posts would be a notification.
    async fn check_webhooks(&self) -> Vec<Check> {
        let notifier = self.notifier();
        let mut checks = Vec::new();
        for (index, channel) in self.config.notify.iter().enumerate() {
            let found = notifier.address(channel).await.map(|(url, key)| {
                let signed = if key.is_some() { "signed" } else { "not signed" };
                format!("its address is at `{}`, messages are {signed}; nothing was posted", url.host_str().unwrap_or_default())
            });
            checks.push(of("webhook", format!("notify {}", index + 1), found));
        }
        checks
    }

    /// Whether this machine can read what callers of the API are known by. Warnings, for no rotation needs them.
    async fn check_api(&self) -> Vec<Check> {
        const CHECK: &str = "api-key";
        let api = &self.config.api;
        let references = [
            ("reader", &api.reader),
            ("operator", &api.operator),
            ("breakglass", &api.breakglass),
            ("webhook_secret", &api.webhook_secret),
        ];
        let mut checks = Vec::new();
        for (name, reference) in references {
            let Some(reference) = reference else { continue };
            let subject = format!("api: {name}");
            checks.push(match self.secret(reference).await {
                Ok(_) => Check::passed(CHECK, subject, format!("`{reference}` can be read")),
                Err(error) => {
                    let Problem { message, hint, .. } = error.problem().clone();
                    let what = hint.unwrap_or_else(|| format!("let `{reference}` have a value"));
                    let fix = format!("{what}; needed where the HTTP API is served, by no rotation");
                    Check::warning(CHECK, subject, message, fix)
                }
            });
        }
        checks
    }

    async fn check_state(&self) -> Vec<Check> {
        let storage = &self.surroundings.storage;
        let location = &self.config.state.location;
        let readable = match self.state().await {
            Ok(state) => journal::list(&*state).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        let place = readable.and_then(|journals| storage.check_state(location).map(|()| journals.len()));
        // No service tells, without a write, whether it would take one.
        let how = match location {
            StateLocation::File(_) => "readable and writable",
            StateLocation::Objects(ObjectPlace::S3 { .. }) => {
                "readable (whether it can be written shows only when a rotation does: that takes s3:PutObject)"
            }
            StateLocation::Objects(ObjectPlace::AzureBlob { .. }) => {
                "readable (whether it can be written shows only when a rotation does: that takes Storage Blob Data Contributor)"
            }
        };
        let mut checks = vec![of("state", "state", place.map(|journals| format!("{how}, {journals} journals")))];
        if let Some(reference) = &self.config.state.key {
            let key = self.state_key().await.map(|_| format!("`{reference}` can be read"));
            checks.push(of("state-key", "state", key));
        }
        checks
    }
}

/// Passed with what it says, or failed.
fn of(check: &str, subject: impl Into<String>, outcome: Result<String, Error>) -> Check {
    match outcome {
        Ok(detail) => Check::passed(check, subject, detail),
        Err(error) => Check::failed(check, subject, error.problem()),
    }
}
