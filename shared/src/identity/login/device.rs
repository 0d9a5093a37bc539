//! The device code flow (RFC 8628), as Entra has it: the person enters a code in a browser anywhere, and meanwhile the token
//! endpoint is asked, no more often than it says.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;

use super::super::PersonClient;
use super::super::person::redeem;
use super::{Invitation, Show, declined, too_late};
use crate::clients::oauth::TokenAnswer;
use crate::error::Error;
use crate::http::{Call, Effect, Http, json};
use crate::secret::Secret;

#[derive(Deserialize)]
struct DeviceWire {
    device_code: String,
    user_code: String,
    verification_uri: String,
    /// Seconds, as a number or as text, like the next.
    #[serde(default)]
    expires_in: Value,
    #[serde(default)]
    interval: Value,
}

pub(super) async fn sign_in(http: &Http, client: &PersonClient, show: &Show<'_>) -> Result<TokenAnswer, Error> {
    let Some(url) = &client.device_url else {
        return Err(Error::usage("no-device-code", "Databricks has no sign-in with a device code")
            .hint("open the address that `lakekey login` prints in a browser on this machine, or forward its port"));
    };
    let fields = [("client_id", client.client_id.as_str()), ("scope", client.scopes.as_str())];
    let request = json::form(url, &fields);
    let target = format!("POST {}{}", request.uri().host().unwrap_or_default(), request.uri().path());
    let call = Call { service: client.service, what: WHAT, request, signer: None, effect: Effect::Repeatable, not_after: None };
    let begun = http.clock().now();
    let wire: DeviceWire = json::read(WHAT, &target, &http.send(call).await?)?;
    let life = seconds(&wire.expires_in).unwrap_or(LIFE).min(LIFE);
    let mut interval = seconds(&wire.interval).unwrap_or(INTERVAL).clamp(INTERVAL_MIN, INTERVAL_MAX);
    let device_code = Secret::new(wire.device_code);
    show(Invitation::Enter { code: wire.user_code, address: wire.verification_uri });
    let life = SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX);
    while http.clock().now().duration_since(begun) < life {
        http.clock().sleep(interval).await;
        let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", device_code.reveal())];
        // Asking again is what this flow is about.
        let error = match redeem(http, client, "sign a person in", &fields, Effect::Repeatable).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        match error.code() {
            Some("authorization_pending") => {}
            Some("slow_down") => interval = (interval + SLOWER).min(INTERVAL_MAX),
            Some("authorization_declined" | "access_denied") => return Err(declined("the code was declined").caused_by(error)),
            Some("expired_token" | "code_expired") => return Err(too_late().caused_by(error)),
            _ => return Err(error.into()),
        }
    }
    Err(too_late())
}

fn seconds(value: &Value) -> Option<Duration> {
    let text = value.as_str().map(str::parse).and_then(Result::ok);
    value.as_u64().or(text).map(Duration::from_secs)
}

const WHAT: &str = "ask for a device code";
/// How long a code is good for at most, and where its service does not say.
const LIFE: Duration = Duration::from_secs(900);
/// Between two questions, where the service does not say.
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// RFC 8628 §3.5.
const SLOWER: Duration = Duration::from_secs(5);
