//! Access tokens that look like JWTs and are as strict: signed, with issuer, audience and expiry, so that a token taken
//! to the wrong service, kept too long or made up is refused as the real services refuse it.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Serialize;

/// The Databricks resource in Entra, the same in every public cloud.
pub const DATABRICKS_AUDIENCE: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
pub const POWERBI_AUDIENCE: &str = "https://analysis.windows.net/powerbi/api";
pub const FABRIC_AUDIENCE: &str = "https://api.fabric.microsoft.com";

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Claims {
    pub(crate) aud: String,
    pub(crate) iss: String,
    /// The application (client) id of a service principal.
    pub(crate) appid: String,
    /// The object id of the enterprise app; Databricks' own tokens repeat the application id.
    pub(crate) oid: String,
    /// Of a person alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upn: Option<String>,
    pub(crate) scope: String,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    pub(crate) jti: u64,
}

pub(crate) struct Tokens {
    key: hmac::Key,
    /// By the token's text, which carries a signature over its claims: what is not here was not issued here.
    issued: BTreeMap<String, Claims>,
}

impl Tokens {
    pub(crate) fn new(seed: u64) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes()), issued: BTreeMap::new() }
    }

    pub(crate) fn issue(&mut self, mut claims: Claims) -> String {
        claims.jti = self.issued.len() as u64 + 1;
        let payload = serde_json::to_vec(&claims).expect("claims are plain text and numbers");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        let token = format!("{signed}.{signature}");
        self.issued.insert(token.clone(), claims);
        token
    }

    /// The claims of a token that this cloud issued, expired or not.
    pub(crate) fn read(&self, token: &str) -> Option<Claims> {
        self.issued.get(token).cloned()
    }
}

impl Claims {
    pub(crate) fn seconds_left(&self, now: Timestamp) -> i64 {
        self.exp - now.as_second()
    }
}

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;
