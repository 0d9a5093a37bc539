//! Certificates: an Entra application proves with its private key that it is the one whose certificate was uploaded.
//! A PEM file holds both; the key must be RSA, which is all that Entra takes.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::error::Error;
use crate::secret::Secret;

/// For how long an assertion is good; Entra takes no more than a day.
const ASSERTION_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// A certificate with its private key.
pub(super) struct Certificate {
    key: RsaKeyPair,
    /// The certificate itself, DER.
    der: Vec<u8>,
}

impl Certificate {
    /// Reads a PEM text: blocks `CERTIFICATE` and `PRIVATE KEY` (or `RSA PRIVATE KEY`), in any order.
    pub(super) fn parse(pem: &Secret) -> Result<Self, Error> {
        let unusable = |why: &str| {
            Error::failed("bad-certificate", format!("the client certificate cannot be used: {why}")).hint(
                "give a PEM file with the certificate and its unencrypted RSA private key: `openssl pkcs12 -in FILE.pfx -nodes -out FILE.pem`",
            )
        };
        let pem = pem.reveal();
        if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(unusable("its private key is encrypted"));
        }
        let der = block(pem, "CERTIFICATE").ok_or_else(|| unusable("there is no certificate in it"))?;
        let key = match (block(pem, "PRIVATE KEY"), block(pem, "RSA PRIVATE KEY")) {
            (Some(key), _) => RsaKeyPair::from_pkcs8(&key),
            (None, Some(key)) => RsaKeyPair::from_der(&key),
            (None, None) => return Err(unusable("there is no private key in it")),
        };
        let key = key.map_err(|_| unusable("its private key is not an RSA key of 2048 bits or more"))?;
        let public = key.public_key().as_der().map_err(|_| unusable("its private key has no public part"))?;
        if !contains(&der, public.as_ref()) {
            return Err(unusable("its private key belongs to another certificate"));
        }
        Ok(Self { key, der })
    }

    /// When the certificate expires, if that can be read.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        not_after(&self.der)
    }

    /// What proves the application to this token endpoint (`private_key_jwt`, PS256). `id` is never used twice.
    pub(super) fn assertion(&self, client_id: &str, endpoint: &str, now: Timestamp, id: &str) -> Result<Secret, Error> {
        let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.der);
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(thumbprint) });
        let expires = now.saturating_add(ASSERTION_LIFE).unwrap_or(now);
        let claims = json!({
            "aud": endpoint, "iss": client_id, "sub": client_id, "jti": id,
            "nbf": now.as_second(), "iat": now.as_second(), "exp": expires.as_second(),
        });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).map_err(|_| {
            Error::failed("bad-certificate", "the private key of the client certificate does not sign")
                .hint("use an RSA key of 2048 bits or more")
        })?;
        Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

fn block(pem: &str, label: &str) -> Option<Vec<u8>> {
    let rest = pem.split_once(&format!("-----BEGIN {label}-----"))?.1;
    let body = rest.split_once(&format!("-----END {label}-----"))?.0;
    let body: String = body.chars().filter(|letter| !letter.is_whitespace()).collect();
    STANDARD.decode(body).ok()
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|part| part == needle)
}

/// `notAfter` of an X.509 certificate: `Certificate { tbs { [version], serial, algorithm, issuer, validity { from, to }, …`.
fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(der)?;
    let (_, tbs, _) = element(certificate)?;
    let (tag, _, rest) = element(tbs)?;
    // The version may be absent.
    let from_serial = if tag == 0xa0 { rest } else { tbs };
    let (_, _, rest) = element(from_serial)?;
    let (_, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (_, validity, _) = element(rest)?;
    let (_, _, rest) = element(validity)?;
    let (tag, to, _) = element(rest)?;
    let text = std::str::from_utf8(to).ok()?;
    let full = match tag {
        // Two digits of the year: 1950 to 2049 (RFC 5280 §4.1.2.5.1).
        0x17 => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", full).ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp())
}

/// Tag and content of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
