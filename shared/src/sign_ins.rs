//! What people's sign-ins leave behind, on this machine: refresh tokens, and the access tokens that `lakekey token` has
//! printed. One small file each, private to its user, written whole or not at all, under a lock that other processes of
//! lakekey respect. A keyring, where the session has one, keeps the refresh tokens instead.
//!
//! Invariant: a file that can't be read means that nobody has signed in, and no other sign-in is touched for it.

mod keyring;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::broker::Handout;
use crate::clock::Clock;
use crate::config::env_vars::{self, Environment};
use crate::error::Error;
use crate::identity::{SignIn, SignIns};
use crate::ids::hex;
use crate::secret::Secret;
use crate::stores::disk;
use keyring::Keyring;

/// The sign-ins of the user of this machine.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
    keyring: Option<Keyring>,
    clock: Clock,
}

/// One sign-in, locked.
struct Held {
    shelf: Shelf,
    key: String,
    refresh_token: Option<Secret>,
    _lock: File,
}

/// A file of this folder. Private: it holds the value.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    key: String,
    value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

impl Shelf {
    /// Where this environment keeps sign-ins; `None` where it has no such place.
    pub fn of(environment: &Environment, clock: Clock) -> Option<Self> {
        let under = |name: &str, rest: &str| environment.get(name).map(|folder| Path::new(folder).join(rest));
        let folder = environment
            .get(env_vars::SIGN_INS)
            .map(PathBuf::from)
            .or_else(|| under("XDG_STATE_HOME", "lakekey/sign-ins"))
            .or_else(|| under("LOCALAPPDATA", "lakekey/sign-ins"))
            .or_else(|| under("HOME", ".local/state/lakekey/sign-ins"))?;
        Some(Self { folder, keyring: Keyring::of(environment), clock })
    }

    /// In words, where the sign-in of this key is.
    pub fn place(&self, key: &str) -> String {
        match self.keyring {
            Some(_) if !self.path(key, SIGN_IN).exists() => "the keyring".to_owned(),
            Some(_) | None => self.folder.display().to_string(),
        }
    }

    /// Forgets the sign-in of this key; whether there was one.
    pub async fn forget(&self, key: &str) -> Result<bool, Error> {
        let held = self.hold(key).await?;
        let was = held.refresh_token.is_some();
        if let Some(keyring) = &self.keyring {
            keyring.remove(key).await?;
        }
        disk::remove(&self.path(key, SIGN_IN)).map_err(|error| self.unusable(error))?;
        Ok(was)
    }

    /// Forgets every access token that was kept.
    pub fn forget_tokens(&self) -> Result<(), Error> {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(TOKEN) {
                disk::remove(&entry.path()).map_err(|error| self.unusable(error))?;
            }
        }
        Ok(())
    }

    /// An access token that was kept, while it may be handed out and need not be renewed.
    pub fn token(&self, key: &str) -> Option<Handout> {
        let kept = self.read(key, TOKEN)?;
        let expires_at = kept.expires_at?;
        let left = expires_at.duration_since(self.clock.now());
        (left > TOKEN_LEFT_MIN).then(|| Handout { token: Secret::new(kept.value), expires_at, ends: true })
    }

    /// Keeps an access token for the next process, unless it may live on: a personal one is nobody's to keep. One that can't
    /// be kept is no failure.
    pub fn keep_token(&self, key: &str, handout: &Handout) {
        if !handout.ends {
            return;
        }
        let kept = Kept {
            version: VERSION,
            key: key.to_owned(),
            value: handout.token.reveal().to_owned(),
            expires_at: Some(handout.expires_at),
        };
        if let Err(error) = self.write(key, TOKEN, &kept) {
            tracing::debug!(error = &*error.to_string(), "the token is not kept for the next call");
        }
    }

    async fn hold(&self, key: &str) -> Result<Held, Error> {
        let lock = self.lock(key).await?;
        // A file beside a keyring is newer: it is written where the keyring would not keep the value.
        let refresh_token = match (self.read(key, SIGN_IN), &self.keyring) {
            (Some(kept), _) => Some(Secret::new(kept.value)),
            (None, Some(keyring)) => keyring.get(key).await?,
            (None, None) => None,
        };
        Ok(Held { shelf: self.clone(), key: key.to_owned(), refresh_token, _lock: lock })
    }

    /// Another process may be renewing this very sign-in.
    async fn lock(&self, key: &str) -> Result<File, Error> {
        let file = self.lock_file(key).map_err(|error| self.unusable(error))?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => self.clock.sleep(LOCK_PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(self.unusable(error)),
            }
        }
        Err(Error::failed("sign-in-busy", "another process of lakekey holds this sign-in and does not let go of it")
            .hint("end it, or try again"))
    }

    fn lock_file(&self, key: &str) -> io::Result<File> {
        disk::create_private_folder(&self.folder)?;
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path(key, ".lock"))
    }

    fn read(&self, key: &str, suffix: &str) -> Option<Kept> {
        let path = self.path(key, suffix);
        let bytes = match disk::read_bounded(&path, KEPT_BYTES_MAX) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::warn!(error = &*error.to_string(), "`{}` can't be read: sign in again", path.display());
                return None;
            }
        };
        let kept = serde_json::from_slice::<Kept>(&bytes).ok().filter(|kept| kept.version == VERSION && kept.key == key);
        if kept.is_none() {
            tracing::warn!("`{}` is not what lakekey wrote: sign in again", path.display());
        }
        kept
    }

    fn write(&self, key: &str, suffix: &str, kept: &Kept) -> io::Result<()> {
        let bytes = zeroize::Zeroizing::new(serde_json::to_vec(kept).map_err(io::Error::other)?);
        disk::write_atomically(&self.path(key, suffix), &bytes)
    }

    /// Keys name hosts and identities; a file's name has a hash of it.
    fn path(&self, key: &str, suffix: &str) -> PathBuf {
        let name = hex(&digest(&SHA256, key.as_bytes()).as_ref()[..16]);
        self.folder.join(format!("{name}{suffix}"))
    }

    fn unusable(&self, error: io::Error) -> Error {
        let folder = self.folder.display();
        Error::failed("sign-ins-unusable", format!("sign-ins can't be kept in `{folder}`"))
            .hint("the folder must be writable; LAKEKEY_SIGN_INS names another")
            .caused_by(error)
    }
}

impl Held {
    /// Whether there is a keyring and it has taken the value: a session may have one that nobody has unlocked, or none.
    async fn keep_in_keyring(&self, refresh_token: &Secret) -> bool {
        let Some(keyring) = &self.shelf.keyring else { return false };
        match keyring.set(&self.key, refresh_token).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(code = error.code(), "{error}; the sign-in is kept in a file");
                false
            }
        }
    }
}

#[async_trait]
impl SignIns for Shelf {
    async fn open(&self, key: &str) -> Result<Box<dyn SignIn>, Error> {
        Ok(Box::new(self.hold(key).await?))
    }
}

#[async_trait]
impl SignIn for Held {
    fn refresh_token(&self) -> Option<Secret> {
        self.refresh_token.clone()
    }

    async fn keep(&mut self, refresh_token: &Secret) -> Result<(), Error> {
        let unusable = |error| self.shelf.unusable(error);
        if self.keep_in_keyring(refresh_token).await {
            disk::remove(&self.shelf.path(&self.key, SIGN_IN)).map_err(unusable)?;
        } else {
            let (key, value) = (self.key.clone(), refresh_token.reveal().to_owned());
            let kept = Kept { version: VERSION, key, value, expires_at: None };
            self.shelf.write(&self.key, SIGN_IN, &kept).map_err(unusable)?;
        }
        self.refresh_token = Some(refresh_token.clone());
        Ok(())
    }
}

const VERSION: u32 = 1;
const SIGN_IN: &str = ".sign-in.json";
const TOKEN: &str = ".token.json";
/// Entra's refresh tokens have a few KiB.
const KEPT_BYTES_MAX: u64 = 64 * 1024;
/// A kept token with less left than this is fetched anew: SDKs renew theirs twenty minutes ahead at most.
const TOKEN_LEFT_MIN: SignedDuration = SignedDuration::from_mins(20);
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// A renewal takes a few requests: a minute is enough for the process before us.
const LOCK_TRIES: u32 = 1_200;

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(folder: &Path) -> Shelf {
        let environment = [("LAKEKEY_SIGN_INS".to_owned(), folder.display().to_string())].into_iter().collect();
        Shelf::of(&environment, Clock::wall()).unwrap()
    }

    #[tokio::test]
    async fn a_sign_in_is_kept_private_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(&folder.path().join("new/folder"));
        assert!(shelf.open("me@host").await.unwrap().refresh_token().is_none());
        shelf.open("me@host").await.unwrap().keep(&Secret::new("first")).await.unwrap();
        shelf.open("other@host").await.unwrap().keep(&Secret::new("second")).await.unwrap();
        assert_eq!(shelf.open("me@host").await.unwrap().refresh_token().unwrap().reveal(), "first");
        #[cfg(unix)]
        for entry in std::fs::read_dir(&shelf.folder).unwrap().map(Result::unwrap) {
            use std::os::unix::fs::PermissionsExt;
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert!(mode == 0o600 || entry.path().extension().unwrap() == "lock", "{entry:?}: {mode:o}");
        }
        assert!(shelf.forget("me@host").await.unwrap());
        assert!(!shelf.forget("me@host").await.unwrap());
        assert!(shelf.open("other@host").await.unwrap().refresh_token().is_some());
    }

    #[tokio::test]
    async fn a_corrupt_file_means_signing_in_again_and_nothing_else_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(folder.path());
        for key in ["me", "other"] {
            shelf.open(key).await.unwrap().keep(&Secret::new(key)).await.unwrap();
        }
        for bytes in [&b"{\"version\":1"[..], b"", b"\xff\xfe", b"{\"version\":2,\"key\":\"me\",\"value\":\"x\"}"] {
            std::fs::write(shelf.path("me", SIGN_IN), bytes).unwrap();
            assert!(shelf.open("me").await.unwrap().refresh_token().is_none(), "{bytes:?}");
            assert_eq!(shelf.open("other").await.unwrap().refresh_token().unwrap().reveal(), "other");
        }
        shelf.open("me").await.unwrap().keep(&Secret::new("again")).await.unwrap();
        assert_eq!(shelf.open("me").await.unwrap().refresh_token().unwrap().reveal(), "again");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_keyring_that_keeps_nothing_gives_way_to_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf { keyring: Some(Keyring::through("/bin/false")), ..shelf(folder.path()) };
        shelf.open("me").await.unwrap().keep(&Secret::new("kept")).await.unwrap();
        assert_eq!(shelf.open("me").await.unwrap().refresh_token().unwrap().reveal(), "kept");
        assert_eq!(shelf.place("me"), folder.path().display().to_string());
        assert!(shelf.forget("me").await.unwrap());
        assert!(shelf.open("me").await.unwrap().refresh_token().is_none());
    }

    #[tokio::test]
    async fn one_holds_a_sign_in_at_a_time_and_another_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(folder.path());
        let held = shelf.open("me").await.unwrap();
        assert!(shelf.open("other").await.is_ok());
        let waiting = shelf.open("me");
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(held);
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn a_kept_token_is_handed_out_until_it_is_due() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(folder.path());
        let expires_at = shelf.clock.now() + SignedDuration::from_mins(60);
        shelf.keep_token("me", &Handout { token: Secret::new("a-token"), expires_at, ends: true });
        shelf.keep_token("pat", &Handout { token: Secret::new("dapi"), expires_at, ends: false });
        assert!(shelf.token("pat").is_none());
        assert_eq!(shelf.token("me").unwrap().expires_at, expires_at);
        assert!(shelf.token("other").is_none());
        shelf.clock.advance(SignedDuration::from_mins(41));
        assert!(shelf.token("me").is_none());
    }
}
