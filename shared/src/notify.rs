//! Tells people what happened: Teams, Slack, or any program that takes CloudEvents.
//!
//! What there is to tell is decided anew in every run from what the journal says ([`decide`]); a marker in the state,
//! `notices/CREDENTIAL/NOTICE.CHANNEL`, says that a channel has been told. So each change is told once however often lakekey
//! runs, and a run that was killed before it could tell is made good by the next one. Nothing here can fail a rotation: what
//! cannot be delivered is a warning, and is tried again in the next run.

mod format;
mod notice;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use http::{HeaderName, HeaderValue, Method, Request, header};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tracing::warn;
use url::Url;

use crate::config::hosts::HostPolicy;
use crate::config::{Channel, PlainOrReference};
use crate::error::Error;
use crate::http::transport::Transport;
use crate::http::{Call, Effect, Http, Service};
use crate::identity::{Identities, SecretReader};
use crate::ids::{CredentialName, hex};
use crate::random::Random;
use crate::{clock::Clock, secret::Secret};
pub use notice::{Kind, Notice, decide};
pub use sign::SigningKey;

/// For all notices of one credential and one run.
const TIME_MAX: Duration = Duration::from_secs(30);
/// For one attempt to deliver.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);
const DELIVERIES_AT_ONCE: usize = 4;
const FOLDER: &str = "notices";

/// Delivers notices.
pub struct Notifier<'a> {
    /// Whom to tell.
    pub channels: &'a [Channel],
    /// Carries the messages.
    pub transport: &'a Arc<dyn Transport>,
    /// Reads addresses and keys.
    pub secrets: &'a SecretReader,
    /// Who reads those that are kept at Databricks.
    pub identities: &'a Identities,
    /// The time.
    pub clock: &'a Clock,
    /// Spreads repeated attempts.
    pub random: &'a Random,
}

impl Notifier<'_> {
    /// Tells every channel what it has not been told. Bounded in time; failures are logged.
    pub async fn tell(&self, state: &dyn ObjectStore, notices: &[Notice]) {
        let mut deliveries = Vec::new();
        for channel in self.channels {
            for notice in notices {
                let delivery = async move {
                    if let Err(error) = self.tell_one(state, channel, notice).await {
                        let (credential, code) = (&notice.credential, error.code());
                        warn!(credential = %credential, code, "could not notify of `{}`: {error}", notice.kind.as_str());
                    }
                };
                deliveries.push(delivery.boxed());
            }
        }
        let deliveries = futures::stream::iter(deliveries).buffer_unordered(DELIVERIES_AT_ONCE).collect::<Vec<()>>();
        if tokio::time::timeout(TIME_MAX, deliveries).await.is_err() {
            warn!("notifying took longer than {} s and was given up; the next run tries again", TIME_MAX.as_secs());
        }
    }

    async fn tell_one(&self, state: &dyn ObjectStore, channel: &Channel, notice: &Notice) -> Result<(), Error> {
        let marker = marker(&notice.credential, notice, channel);
        if state.head(&marker).await.is_ok() {
            return Ok(());
        }
        self.deliver(channel, notice).await?;
        // Told twice is better than not at all: a marker that cannot be written is no reason to fail.
        if let Err(error) = state.put_opts(&marker, PutPayload::new(), PutMode::Create.into()).await
            && !matches!(error, object_store::Error::AlreadyExists { .. })
        {
            warn!(credential = %notice.credential, "a notice cannot be noted as told, and will be told again");
        }
        Ok(())
    }

    async fn deliver(&self, channel: &Channel, notice: &Notice) -> Result<(), Error> {
        let (url, key) = self.address(channel).await?;
        let (kind, body) = format::body(channel.format, notice);
        let mut request = Request::new(body.clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.as_str().parse().map_err(|_| not_an_address())?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(key) = key {
            for (name, value) in key.headers(&notice.id(), self.clock.now(), &body) {
                let value = HeaderValue::try_from(value).map_err(|_| not_an_address())?;
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        let policy = HostPolicy::only(&url);
        let http = Http::new(Arc::clone(self.transport), policy, self.clock.clone(), self.random.clone(), ATTEMPT_TIME_MAX);
        let (service, effect) = (Service::Webhook, Effect::Repeatable);
        http.send(Call { service, what: "post to the webhook", request, signer: None, effect, not_after: None }).await?;
        Ok(())
    }

    /// The address and the key, read now. Sends nothing.
    pub async fn address(&self, channel: &Channel) -> Result<(Url, Option<SigningKey>), Error> {
        let text = match &channel.url {
            PlainOrReference::Plain(text) => Secret::new(text),
            PlainOrReference::Reference(reference) => self.secrets.read(reference, self.identities).await?,
        };
        let url = Url::parse(text.reveal().trim()).map_err(|_| not_an_address())?;
        HostPolicy::only(&url).allows(&url).map_err(|forbidden| {
            Error::failed("bad-webhook", format!("the webhook cannot be used: {forbidden}")).hint(forbidden.hint())
        })?;
        let key = match &channel.secret {
            Some(reference) => Some(SigningKey::new(&self.secrets.read(reference, self.identities).await?)?),
            None => None,
        };
        Ok((url, key))
    }
}

fn not_an_address() -> Error {
    Error::failed("bad-webhook", "what the webhook's `url` refers to is not an address")
        .hint("put the whole address that the service showed there, beginning with `https://`")
}

/// A channel is known by what the config says of it; the address itself may change behind a reference.
fn marker(credential: &CredentialName, notice: &Notice, channel: &Channel) -> Path {
    let named = match &channel.url {
        PlainOrReference::Plain(text) => text.clone(),
        PlainOrReference::Reference(reference) => reference.to_string(),
    };
    let channel = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, named.as_bytes()).as_ref());
    Path::from_iter([FOLDER, credential.as_str(), &format!("{}.{}", notice.key, &channel[..16])])
}
