//! The signature of a Standard Webhook: HMAC-SHA-256 over `ID.TIMESTAMP.BODY`. Composed from aws-lc-rs, because the
//! specification's own crate reads the wall clock by itself and brings a second implementation of HMAC.

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use tracing::warn;
use zeroize::Zeroizing;

use crate::api::problem::Refusal;
use crate::error::Problem;
use crate::secret::Secret;

/// The id of a message whose signature and timestamp hold.
pub(super) fn verify(secret: &Secret, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<String, Refusal> {
    let key = key(secret)?;
    let (Some(id), Some(timestamp), Some(signatures)) =
        (one(headers, "webhook-id"), one(headers, "webhook-timestamp"), one(headers, "webhook-signature"))
    else {
        return Err(refused());
    };
    let sent = timestamp.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let fresh = sent.is_some_and(|sent| now.duration_since(sent).abs() <= TOLERANCE);
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let holds = signatures.split(' ').take(SIGNATURES_MAX).any(|signature| {
        let tag = signature.strip_prefix("v1,").and_then(|tag| STANDARD.decode(tag).ok());
        tag.is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok())
    });
    if holds && fresh && id.len() <= ID_BYTES_MAX { Ok(id.to_owned()) } else { Err(refused()) }
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok().filter(|value| !value.is_empty())
}

fn key(secret: &Secret) -> Result<hmac::Key, Refusal> {
    let encoded = secret.reveal().strip_prefix("whsec_").unwrap_or_default();
    match STANDARD.decode(encoded).map(Zeroizing::new) {
        Ok(bytes) if bytes.len() >= KEY_BYTES_MIN => Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
        Ok(_) | Err(_) => {
            warn!(code = "webhook-secret-wrong", "the secret of webhooks is not `whsec_` and base64 of at least 24 bytes");
            let problem = Problem::new("webhook-secret-wrong", "the secret that verifies webhooks can't be used")
                .hint("set `api.webhook_secret` to `whsec_` and base64 of at least 24 bytes");
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, problem))
        }
    }
}

/// One answer for all, so that nobody learns what was nearly right.
fn refused() -> Refusal {
    let problem = Problem::new("webhook-refused", "the message is not signed as it must be, or its timestamp is too far off")
        .hint("sign `webhook-id`, `webhook-timestamp` and body as Standard Webhooks say, and check the sender's clock");
    Refusal::new(StatusCode::UNAUTHORIZED, problem)
}

/// How far the sender's clock may be off, and how long a message may take.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
const ID_BYTES_MAX: usize = 256;
/// Senders that change their secret sign with both.
const SIGNATURES_MAX: usize = 8;
const KEY_BYTES_MIN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification's own examples: <https://github.com/standard-webhooks/standard-webhooks>.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn check(secret: &str, signature: &str, seconds_late: i64, body: &[u8]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", ID.parse().unwrap());
        headers.insert("webhook-timestamp", TIMESTAMP.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        let now = Timestamp::from_second(TIMESTAMP + seconds_late).unwrap();
        verify(&Secret::new(secret), &headers, body, now).map_err(|refusal| refusal.code().to_owned())
    }

    #[test]
    fn the_example_of_the_specification_holds() {
        assert_eq!(check(SECRET, SIGNATURE, 0, BODY).as_deref(), Ok(ID));
        assert_eq!(check(SECRET, &format!("v1,AAAA v1a,xx {SIGNATURE}"), 0, BODY).as_deref(), Ok(ID));
    }

    #[test]
    fn nothing_like_it_does() {
        let refused = Err("webhook-refused".to_owned());
        assert_eq!(check(SECRET, SIGNATURE, 0, br#"{"test": 2432232315}"#), refused);
        assert_eq!(check(SECRET, &SIGNATURE.replace("v1,", "v2,"), 0, BODY), refused);
        assert_eq!(check(SECRET, "v1,", 0, BODY), refused);
        assert_eq!(check("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", SIGNATURE, 0, BODY), refused);
    }

    #[test]
    fn five_minutes_either_way_are_the_limit() {
        assert!(check(SECRET, SIGNATURE, 300, BODY).is_ok() && check(SECRET, SIGNATURE, -300, BODY).is_ok());
        assert!(check(SECRET, SIGNATURE, 301, BODY).is_err() && check(SECRET, SIGNATURE, -301, BODY).is_err());
    }

    #[test]
    fn a_secret_of_another_form_verifies_nothing() {
        for secret in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_???"] {
            assert_eq!(check(secret, SIGNATURE, 0, BODY), Err("webhook-secret-wrong".to_owned()), "{secret}");
        }
    }
}
