//! Who may call what. Each role has a key of its own; the key in `x-lakekey-key` is compared with all of them in constant
//! time. Any key may read; only the operator's starts work, only the break-glass key revokes.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use tracing::warn;

use super::problem::Refusal;
use crate::app::App;
use crate::config::Api as ApiConfig;
use crate::error::{Error, Problem};
use crate::secret::Secret;

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Reader,
    Operator,
    BreakGlass,
}

impl Role {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::BreakGlass => "breakglass",
        }
    }
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    Operate,
    BreakGlass,
}

impl Need {
    fn is_met_by(self, role: Role) -> bool {
        match self {
            Self::Read => true,
            Self::Operate => role == Role::Operator,
            Self::BreakGlass => role == Role::BreakGlass,
        }
    }
}

/// The keys of the config and, for a minute, what they were when last read.
pub(super) struct Access {
    config: ApiConfig,
    read: Mutex<Option<Read>>,
}

#[derive(Clone)]
struct Read {
    at: Timestamp,
    keys: Arc<[(Role, Digest)]>,
    webhook: Option<Secret>,
}

impl Access {
    pub(super) fn new(config: ApiConfig) -> Self {
        Self { config, read: Mutex::new(None) }
    }

    /// The role of the caller, if it may do this.
    pub(super) async fn check(&self, app: &App, headers: &HeaderMap, need: Need) -> Result<Role, Refusal> {
        let given = match headers.get_all(KEY).iter().collect::<Vec<_>>()[..] {
            [given] => Some(given.as_bytes().to_vec()),
            _ => None,
        };
        self.check_key(app, given, need).await
    }

    /// The same for a browser, which can't send a header of its own: the key is the password of HTTP Basic authentication.
    /// Only the page takes it, for a browser also sends it along with requests that other pages make.
    pub(super) async fn check_browser(&self, app: &App, headers: &HeaderMap) -> Result<Role, Refusal> {
        if headers.contains_key(KEY) {
            return self.check(app, headers, Need::Read).await;
        }
        let challenge = |refusal: Refusal| refusal.with(header::WWW_AUTHENTICATE, "Basic realm=\"lakekey\", charset=\"UTF-8\"");
        self.check_key(app, headers.get(header::AUTHORIZATION).and_then(|value| password(value.as_bytes())), Need::Read)
            .await
            .map_err(challenge)
    }

    async fn check_key(&self, app: &App, given: Option<Vec<u8>>, need: Need) -> Result<Role, Refusal> {
        let keys = self.read(app).await?.keys;
        if keys.is_empty() {
            return Err(no_keys());
        }
        let role = given.and_then(|given| role_of(&keys, &given)).ok_or_else(no_key)?;
        match need.is_met_by(role) {
            true => Ok(role),
            false => Err(wrong_role(role)),
        }
    }

    /// The secret that signs webhooks.
    pub(super) async fn webhook_secret(&self, app: &App) -> Result<Secret, Refusal> {
        self.read(app).await?.webhook.ok_or_else(no_webhooks)
    }

    async fn read(&self, app: &App) -> Result<Read, Refusal> {
        let mut kept = self.read.lock().await;
        let now = app.now();
        if let Some(read) = kept.as_ref().filter(|read| now.duration_since(read.at) < KEPT) {
            return Ok(read.clone());
        }
        match read_all(&self.config, app).await {
            Ok(read) => Ok(kept.insert(read).clone()),
            Err(error) => {
                warn!(code = error.code(), "the keys of the API can't be read: {error}");
                // A vault that is away for a while locks nobody out.
                kept.clone().ok_or_else(unreadable)
            }
        }
    }
}

async fn read_all(config: &ApiConfig, app: &App) -> Result<Read, Error> {
    let mut keys = Vec::new();
    let references = [(Role::Reader, &config.reader), (Role::Operator, &config.operator), (Role::BreakGlass, &config.breakglass)];
    for (role, reference) in references {
        let Some(reference) = reference else { continue };
        let secret = app.secret(reference).await?;
        let bytes = secret.reveal().as_bytes();
        if bytes.len() < KEY_BYTES_MIN {
            return Err(Error::usage("api-key-short", format!("the {} key has fewer than {KEY_BYTES_MIN} bytes", role.as_str()))
                .hint("make one with `openssl rand -hex 32`"));
        }
        keys.push((role, digest(&SHA256, bytes)));
    }
    for (at, (role, key)) in keys.iter().enumerate() {
        if let Some((other, _)) = keys[..at].iter().find(|(_, other)| other.as_ref() == key.as_ref()) {
            let message = format!("the {} key and the {} key are the same", other.as_str(), role.as_str());
            return Err(Error::usage("api-keys-equal", message).hint("give each role a key of its own"));
        }
    }
    let webhook = match &config.webhook_secret {
        Some(reference) => Some(app.secret(reference).await?),
        None => None,
    };
    Ok(Read { at: app.now(), keys: keys.into(), webhook })
}

/// Compares hashes, so that neither content nor length shows in the time it takes, and always with every key.
fn role_of(keys: &[(Role, Digest)], given: &[u8]) -> Option<Role> {
    let given = digest(&SHA256, given);
    keys.iter().fold(None, |found, (role, key)| match verify_slices_are_equal(key.as_ref(), given.as_ref()) {
        Ok(()) => Some(*role),
        Err(_) => found,
    })
}

fn password(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = std::str::from_utf8(authorization).ok()?.split_once(' ')?;
    let pair = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

fn no_keys() -> Refusal {
    let problem = Problem::new("api-keys-missing", "the config has no keys for the API, so it answers no call that needs one")
        .hint("set `api.keys` in the config; timers go on without");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, problem)
}

fn unreadable() -> Refusal {
    let problem = Problem::new("api-keys-unreadable", "the keys of the API can't be read or used")
        .hint("the log says which and why; timers go on without");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, problem)
}

fn no_key() -> Refusal {
    let problem = Problem::new("api-key-wrong", "this call needs a key, and none or a wrong one was sent")
        .hint("send the key of your role in the header `x-lakekey-key`");
    Refusal::new(StatusCode::UNAUTHORIZED, problem).with(header::WWW_AUTHENTICATE, "lakekey-key")
}

fn wrong_role(role: Role) -> Refusal {
    let problem = Problem::new("api-role-wrong", format!("the {} key may not make this call", role.as_str()))
        .hint("rotating, reapplying and rolling back take the operator's key, revoking the break-glass key");
    Refusal::new(StatusCode::FORBIDDEN, problem)
}

fn no_webhooks() -> Refusal {
    let problem = Problem::new("webhooks-off", "the config has no secret that could verify a webhook")
        .hint("set `api.webhook_secret` in the config");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, problem)
}

const KEY: &str = "x-lakekey-key";
/// A key that was changed is known after this long.
const KEPT: SignedDuration = SignedDuration::from_mins(1);
const KEY_BYTES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_its_own_key_and_nothing_like_it() {
        let keys = [(Role::Reader, "reader-key"), (Role::Operator, "operator-key"), (Role::BreakGlass, "glass-key")]
            .map(|(role, key)| (role, digest(&SHA256, key.as_bytes())));
        assert_eq!(role_of(&keys, b"reader-key"), Some(Role::Reader));
        assert_eq!(role_of(&keys, b"operator-key"), Some(Role::Operator));
        assert_eq!(role_of(&keys, b"glass-key"), Some(Role::BreakGlass));
        for given in ["", "reader-ke", "reader-key ", "READER-KEY", "reader-key\0"] {
            assert_eq!(role_of(&keys, given.as_bytes()), None, "{given}");
        }
    }

    #[test]
    fn the_break_glass_key_reads_and_revokes_and_does_nothing_else() {
        let met = |role| [Need::Read, Need::Operate, Need::BreakGlass].map(|need| need.is_met_by(role));
        assert_eq!(met(Role::Reader), [true, false, false]);
        assert_eq!(met(Role::Operator), [true, true, false]);
        assert_eq!(met(Role::BreakGlass), [true, false, true]);
    }

    #[test]
    fn a_browser_sends_the_key_as_a_password() {
        let encoded = STANDARD.encode("anyone:key:with:colons");
        assert_eq!(password(format!("Basic {encoded}").as_bytes()).as_deref(), Some(&b"key:with:colons"[..]));
        for wrong in ["", "Basic", "Basic ???", "Bearer eHg6eQ==", "Basic eHg="] {
            assert_eq!(password(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
