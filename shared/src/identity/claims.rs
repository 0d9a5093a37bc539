//! What an access token says about itself. It is decoded, not verified: the service that issued it does that, and nothing
//! is decided by these claims but how an owner is named and when to renew.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::Value;

use crate::secret::Secret;

/// Claims by which services name who signed in.
const NAMES: [&str; 6] = ["appid", "azp", "oid", "upn", "unique_name", "preferred_username"];

/// Names of whom the token is about, lower case.
pub(super) fn names(token: &Secret) -> Vec<String> {
    let Some(claims) = claims(token) else { return Vec::new() };
    NAMES.iter().filter_map(|name| claims[*name].as_str()).map(str::to_lowercase).collect()
}

/// When the token says it expires.
pub(super) fn expiry(token: &Secret) -> Option<Timestamp> {
    Timestamp::from_second(claims(token)?["exp"].as_i64()?).ok()
}

fn claims(token: &Secret) -> Option<Value> {
    let payload = token.reveal().split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Secret {
        Secret::new(format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn names_are_lower_case_and_expiry_is_in_seconds() {
        let token = token(r#"{"appid":"ABC","oid":"DEF","exp":1772323200,"aud":"x"}"#);
        assert_eq!(names(&token), ["abc", "def"]);
        assert_eq!(expiry(&token), Some("2026-03-01T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn opaque_tokens_say_nothing() {
        for text in ["", "dapi123", "a.b.c", "e30.bm90IGpzb24.x"] {
            assert_eq!(names(&Secret::new(text)), Vec::<String>::new());
            assert_eq!(expiry(&Secret::new(text)), None);
        }
    }
}
