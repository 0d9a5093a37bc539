//! One entry as bytes: a line of JSON `{v, seq, at, prev, nonce, by, event[, mac]}`. Its hash is that of the whole object.
//!
//! With a state key the line ends in `,"mac":"<64 hex digits>"}`. The signature is HMAC-SHA-256 over
//! `lakekey-journal-v1`, the hash of the journal's name and the line as it would be without that field, each ended by a line feed;
//! the name in it keeps entries from being replayed in another journal.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::BrokenReason;
use crate::error::Error;
use crate::ids::{RunnerId, hex};
use crate::secret::Secret;

/// One entry of a journal, read or appended.
#[derive(Clone, Debug)]
pub struct Entry<E> {
    /// Its place, counted from 1.
    pub seq: u64,
    /// When its runner wrote it, by that runner's clock.
    pub at: Timestamp,
    /// Who wrote it.
    pub by: RunnerId,
    /// What happened.
    pub event: E,
    /// SHA-256 of the object's bytes in hex.
    pub hash: String,
    /// Whether it carries a signature; verified if a state key is at hand.
    pub signed: bool,
}

/// Signs a journal.
pub struct StateKey(hmac::Key);

impl StateKey {
    /// A key from a secret of at least 16 bytes.
    pub fn new(secret: &Secret) -> Result<Self, Error> {
        let bytes = secret.reveal().as_bytes();
        if bytes.len() < KEY_BYTES_MIN {
            return Err(Error::usage("state-key-short", format!("the state key has fewer than {KEY_BYTES_MIN} bytes"))
                .hint("make one with `openssl rand -hex 32`"));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }
}

impl std::fmt::Debug for StateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateKey(…)")
    }
}

/// Where an entry stands, and what signs it there.
pub(super) struct Position<'a> {
    pub(super) name: &'a str,
    pub(super) seq: u64,
    pub(super) prev: String,
    pub(super) key: Option<&'a StateKey>,
}

#[derive(Serialize)]
struct Unsigned<'a, E> {
    v: u32,
    seq: u64,
    at: Timestamp,
    prev: &'a str,
    nonce: &'a str,
    by: &'a RunnerId,
    event: &'a E,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<E> {
    v: u32,
    seq: u64,
    at: Timestamp,
    prev: String,
    #[serde(rename = "nonce")]
    _nonce: String,
    by: RunnerId,
    event: E,
    mac: Option<String>,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

/// The bytes of an entry at `position`.
pub(super) fn encode<E: Serialize>(
    position: &Position<'_>,
    nonce: &str,
    at: Timestamp,
    by: &RunnerId,
    event: &E,
) -> Result<Bytes, BrokenReason> {
    let entry = Unsigned { v: VERSION, seq: position.seq, at, prev: &position.prev, nonce, by, event };
    // A line may have megabytes: one that grew as it was written would have room for twice as many.
    let mut length = Length(MAC_HEAD.len() + MAC_DIGITS + MAC_TAIL.len() + 1);
    serde_json::to_writer(&mut length, &entry).map_err(unreadable)?;
    let mut line = Vec::with_capacity(length.0);
    serde_json::to_writer(&mut line, &entry).map_err(unreadable)?;
    seal(position.name, position.key, line)
}

/// Counts what is written.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The object that holds a line of JSON, signed where there is a key.
pub(super) fn seal(name: &str, key: Option<&StateKey>, mut line: Vec<u8>) -> Result<Bytes, BrokenReason> {
    if let Some(key) = key {
        let tag = signed(key, name, &[&line]).sign();
        line.pop();
        line.extend_from_slice(format!("{MAC_HEAD}{}{MAC_TAIL}", hex(tag.as_ref())).as_bytes());
    }
    line.push(b'\n');
    if line.len() as u64 > BYTES_MAX {
        return Err(BrokenReason::Oversize);
    }
    Ok(line.into())
}

/// The line of JSON in an object.
pub(super) fn line(bytes: &[u8]) -> Result<&[u8], BrokenReason> {
    match bytes {
        [line @ .., b'\n'] if line.starts_with(b"{") && line.ends_with(b"}") => Ok(line),
        _ => Err(BrokenReason::Unreadable("it is not one line of JSON".to_owned())),
    }
}

/// The entry in `bytes`, if it is one that belongs at `position`.
pub(super) fn decode<E: DeserializeOwned>(position: &Position<'_>, bytes: &[u8]) -> Result<Entry<E>, BrokenReason> {
    let line = line(bytes)?;
    let wire: Wire<E> = serde_json::from_slice(line).map_err(|error| match serde_json::from_slice(line) {
        // Another version may have fields of another kind.
        Ok(Versioned { v }) if v != VERSION => BrokenReason::Version(v),
        Ok(_) | Err(_) => unreadable(error),
    })?;
    if wire.v != VERSION {
        return Err(BrokenReason::Version(wire.v));
    }
    if wire.seq != position.seq {
        return Err(BrokenReason::Sequence(wire.seq));
    }
    if wire.prev != position.prev {
        return Err(BrokenReason::Chain);
    }
    if let Some(mac) = &wire.mac {
        verify(position.name, position.key, line, mac)?;
    }
    Ok(Entry { seq: wire.seq, at: wire.at, by: wire.by, event: wire.event, hash: sha256(bytes), signed: wire.mac.is_some() })
}

pub(super) fn verify(name: &str, key: Option<&StateKey>, line: &[u8], mac: &str) -> Result<(), BrokenReason> {
    let tail = format!("{MAC_HEAD}{mac}{MAC_TAIL}");
    let body = line.strip_suffix(tail.as_bytes()).ok_or(BrokenReason::Signature)?;
    let tag = unhex(mac).ok_or(BrokenReason::Signature)?;
    let Some(key) = key else { return Ok(()) };
    let owed = signed(key, name, &[body, b"}"]).sign();
    verify_slices_are_equal(owed.as_ref(), &tag).map_err(|_| BrokenReason::Signature)
}

/// What a signature is over; a line may have megabytes, and is not copied for it.
fn signed(key: &StateKey, name: &str, line: &[&[u8]]) -> hmac::Context {
    let mut context = hmac::Context::with_key(&key.0);
    context.update(format!("lakekey-journal-v1\n{}\n", genesis(name)).as_bytes());
    line.iter().for_each(|part| context.update(part));
    context.update(b"\n");
    context
}

/// What the first entry carries in place of a predecessor's hash.
pub(super) fn genesis(name: &str) -> String {
    sha256(format!("lakekey:{name}").as_bytes())
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut tag = [0_u8; 32];
    let lower = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if text.len() != 2 * tag.len() || !lower {
        return None;
    }
    for (byte, pair) in tag.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(tag)
}

pub(super) fn unreadable(error: serde_json::Error) -> BrokenReason {
    BrokenReason::Unreadable(error.to_string())
}

const VERSION: u32 = 1;
const KEY_BYTES_MIN: usize = 16;
const MAC_HEAD: &str = r#","mac":""#;
const MAC_TAIL: &str = r#""}"#;
const MAC_DIGITS: usize = 64;
/// Bound of one entry, 32 MiB: the plan of ten thousand data sources has a third of it.
pub(super) const BYTES_MAX: u64 = 32 << 20;
