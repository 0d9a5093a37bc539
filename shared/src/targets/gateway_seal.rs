//! Seals a credential for an on-premises gateway, so that only the gateway can read it: the "higher key" scheme of the
//! Power BI SDK (`AsymmetricHigherKeyEncryptionHelper.cs`, `AuthenticatedEncryption.cs` in microsoft/PowerBI-CSharp).
//!
//! ```text
//! blob = 00 00 ‖ HMAC-SHA256(mac, 00 00 ‖ iv ‖ ct) ‖ iv ‖ ct        ct = AES-256-CBC-PKCS7(enc, iv, plaintext)
//! keys = 00 01 ‖ enc(32) ‖ mac(64)
//! out  = base64(RSA-OAEP-SHA256(keys)) + base64(blob)               two padded strings, one after the other
//! ```
//! 1024-bit keys use another scheme on which Microsoft's own samples disagree; such gateways are refused.

use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::{Zeroize, Zeroizing};

use crate::clients::powerbi::GatewayKey;
use crate::error::Problem;
use crate::random::Random;
use crate::secret::Secret;

/// A credential that only one gateway can read. It has no `Debug`: it belongs into a request and nowhere else.
pub struct Sealed(String);

/// Why a credential could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The gateway has a legacy key.
    #[error("the gateway's key has {bits} bits; at least 2048 are needed")]
    KeyTooShort {
        /// Length of its modulus.
        bits: usize,
    },
    /// A length that no gateway is known to use.
    #[error("the gateway's key has {bits} bits; 2048, 3072 and 4096 are supported")]
    KeyLength {
        /// Length of its modulus.
        bits: usize,
    },
    /// The key is not what Power BI documents.
    #[error("the {part} of the gateway's key is not readable")]
    Key {
        /// `modulus` or `exponent`.
        part: &'static str,
    },
    /// The cryptographic library refused.
    #[error("the credential cannot be sealed with the gateway's key")]
    Refused,
}

impl Sealed {
    /// The text for the `credentials` field.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl SealError {
    /// What users see.
    pub fn problem(&self) -> Problem {
        match self {
            Self::KeyTooShort { .. } => Problem::new("gateway-key-too-short", self.to_string())
                .hint("update the on-premises data gateway to a current version and restore it with its recovery key"),
            Self::KeyLength { .. } | Self::Key { .. } | Self::Refused => Problem::new("gateway-key-unusable", self.to_string())
                .hint("update the on-premises data gateway to a current version"),
        }
    }
}

/// Seals this user name and password for the gateway with this key. `random` gives the inner keys and the IV; the padding of
/// the outer encryption is always the operating system's.
pub fn seal(public_key: &GatewayKey, username: &str, password: &Secret, random: &Random) -> Result<Sealed, SealError> {
    let outer = outer_key(public_key)?;
    let mut keys = Zeroizing::new([0_u8; 98]);
    keys[1] = 1;
    random.fill(&mut keys[2..]);
    let mut iv = [0_u8; 16];
    random.fill(&mut iv);

    let ciphertext = encrypt(&keys[2..34], iv, credentials_json(username, password))?;
    let blob = authenticate(&keys[34..], iv, &ciphertext);

    let mut wrapped = vec![0_u8; outer.ciphertext_size()];
    let wrapped = outer.encrypt(&OAEP_SHA256_MGF1SHA256, &keys[..], &mut wrapped, None).map_err(|_| SealError::Refused)?;
    let mut text = STANDARD.encode(wrapped);
    STANDARD.encode_string(blob, &mut text);
    Ok(Sealed(text))
}

/// Whether [`seal`] can use this key; for plans, which have no secret yet.
pub fn check_key(public_key: &GatewayKey) -> Result<(), SealError> {
    outer_key(public_key).map(|_| ())
}

/// The plaintext that Power BI expects in `credentials`: what a cloud source is sent, and what is sealed for a gateway.
pub fn credentials_json(username: &str, password: &Secret) -> Zeroizing<String> {
    let body = Credentials {
        credential_data: [
            NameValue { name: "username", value: username },
            NameValue { name: "password", value: password.reveal() },
        ],
    };
    // Escaping makes at most six bytes of one; with room for that, growing leaves no copy of the secret behind.
    let mut text = Vec::with_capacity(128 + 6 * (username.len() + password.reveal().len()));
    serde_json::to_writer(&mut text, &body).expect("text serialises into memory");
    Zeroizing::new(String::from_utf8(text).expect("JSON is UTF-8"))
}

#[derive(Serialize)]
struct Credentials<'a> {
    #[serde(rename = "credentialData")]
    credential_data: [NameValue<'a>; 2],
}

#[derive(Serialize)]
struct NameValue<'a> {
    name: &'static str,
    value: &'a str,
}

fn outer_key(key: &GatewayKey) -> Result<OaepPublicEncryptingKey, SealError> {
    let modulus = component(&key.modulus, "modulus")?;
    let exponent = component(&key.exponent, "exponent")?;
    match bits(&modulus) {
        2048 | 3072 | 4096 => {}
        bits @ ..2048 => return Err(SealError::KeyTooShort { bits }),
        bits => return Err(SealError::KeyLength { bits }),
    }
    // An exponent of 1 would leave the keys readable; the library bounds it from above only.
    if exponent == [1] || exponent.len() > 4 || exponent.last().is_none_or(|last| last % 2 == 0) {
        return Err(SealError::Key { part: "exponent" });
    }
    let key: PublicEncryptingKey =
        PublicKeyComponents { n: modulus, e: exponent }.try_into().map_err(|_| SealError::Key { part: "modulus" })?;
    OaepPublicEncryptingKey::new(key).map_err(|_| SealError::Refused)
}

/// Big-endian bytes without leading zeros, which the library refuses.
fn component(text: &str, part: &'static str) -> Result<Vec<u8>, SealError> {
    let bytes = STANDARD.decode(text.trim()).map_err(|_| SealError::Key { part })?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    if zeros == bytes.len() { Err(SealError::Key { part }) } else { Ok(bytes[zeros..].to_vec()) }
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn encrypt(key: &[u8], iv: [u8; 16], plaintext: Zeroizing<String>) -> Result<Vec<u8>, SealError> {
    // Encrypted in place, with room for the padding, so that no copy of the plaintext outlives this function.
    let mut buffer = Vec::with_capacity(plaintext.len() + 16);
    buffer.extend_from_slice(plaintext.as_bytes());
    let done = UnboundCipherKey::new(&AES_256, key)
        .and_then(PaddedBlockEncryptingKey::cbc_pkcs7)
        .and_then(|key| key.less_safe_encrypt(&mut buffer, EncryptionContext::Iv128(FixedLength::from(iv))));
    if done.is_err() {
        buffer.zeroize();
        return Err(SealError::Refused);
    }
    Ok(buffer)
}

fn authenticate(key: &[u8], iv: [u8; 16], ciphertext: &[u8]) -> Vec<u8> {
    const ALGORITHMS: [u8; 2] = [0, 0];
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in [&ALGORITHMS[..], &iv, ciphertext] {
        context.update(part);
    }
    [&ALGORITHMS[..], context.sign().as_ref(), &iv, ciphertext].concat()
}

#[cfg(test)]
mod tests;
