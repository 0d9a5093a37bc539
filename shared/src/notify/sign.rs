//! Signing a message as Standard Webhooks says: HMAC-SHA-256 over `id.timestamp.body`, in `webhook-signature: v1,BASE64`.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::error::Error;
use crate::secret::Secret;

/// Signs messages.
pub struct SigningKey(hmac::Key);

/// The standard wants 24 to 64 bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

impl SigningKey {
    /// A key from `whsec_` and base64.
    pub fn new(secret: &Secret) -> Result<Self, Error> {
        let body = secret.reveal().trim().strip_prefix("whsec_");
        let bytes = body.and_then(|body| STANDARD.decode(body).ok()).filter(|bytes| KEY_BYTES.contains(&bytes.len()));
        let bytes = bytes.ok_or_else(|| {
            Error::failed("bad-webhook-secret", "the key that signs notifications is not `whsec_` and 24 to 64 bytes in base64")
                .hint("make one with `echo whsec_$(openssl rand -base64 32)`")
        })?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The three headers.
    pub(super) fn headers(&self, id: &str, at: Timestamp, body: &[u8]) -> [(&'static str, String); 3] {
        let timestamp = at.as_second().to_string();
        let message = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let signature = STANDARD.encode(hmac::sign(&self.0, &message).as_ref());
        [("webhook-id", id.to_owned()), ("webhook-timestamp", timestamp), ("webhook-signature", format!("v1,{signature}"))]
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_signed_alike() {
        // From the specification's reference libraries.
        let key = SigningKey::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let headers = key.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(headers[1].1, "1614265330");
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_in_another_form_is_refused_and_not_repeated() {
        for text in ["", "whsec_", "whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%%"] {
            let error = SigningKey::new(&Secret::new(text)).unwrap_err();
            assert_eq!(error.code(), "bad-webhook-secret");
            assert!(text.len() < 8 || !error.to_string().contains(&text[6..]), "{error}");
        }
    }
}
