//! What the clients of the two Microsoft REST APIs share: addresses with encoded ids, tolerant reading.

use http::Method;
use serde::{Deserialize, Deserializer};
use url::Url;
use uuid::Uuid;

/// `base` with these path segments, each encoded, and this query, which is taken as it stands.
pub(in crate::clients) fn address(base: &Url, segments: &[&str], query: Option<&str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url.set_query(query);
    url
}

/// Method, host and path, as errors name a call.
pub(in crate::clients) fn target(method: &Method, url: &Url) -> String {
    format!("{method} {}{}", url.authority(), url.path())
}

/// An id from an answer: UUIDs in lower case, because the APIs spell one id differently in different places; nothing that
/// would change the meaning of a path.
pub(in crate::clients) fn id(text: &str) -> Option<String> {
    match text.trim() {
        "" | "." | ".." => None,
        text if Uuid::try_parse(text).is_ok() => Some(text.to_ascii_lowercase()),
        text => Some(text.to_owned()),
    }
}

/// A flag that official examples send both as a boolean and as text.
pub(in crate::clients) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Text(String),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Option::<Flag>::deserialize(deserializer)? {
        Some(Flag::Bool(flag)) => Some(flag),
        Some(Flag::Text(text)) => text.to_ascii_lowercase().parse().ok(),
        Some(Flag::Other(_)) | None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_encoded_and_cannot_change_the_path() {
        let base = Url::parse("http://127.0.0.1:1/powerbi/").unwrap();
        let url = address(&base, &["v1.0", "a/b?c#d %2e", "x"], Some("$top=1"));
        assert_eq!(url.as_str(), "http://127.0.0.1:1/powerbi/v1.0/a%2Fb%3Fc%23d%20%252e/x?$top=1");
        assert_eq!((id(".."), id(" "), id(".")), (None, None, None));
        assert_eq!(id("A0000000-0000-4000-8000-00000000000F").as_deref(), Some("a0000000-0000-4000-8000-00000000000f"));
        assert_eq!(id("Not-A-Uuid").as_deref(), Some("Not-A-Uuid"));
    }

    #[test]
    fn flags_are_read_from_booleans_and_text() {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default, deserialize_with = "flag")]
            flag: Option<bool>,
        }
        for (body, expected) in [
            (r#"{"flag":true}"#, Some(true)),
            (r#"{"flag":"False"}"#, Some(false)),
            (r#"{"flag":"maybe"}"#, None),
            (r#"{"flag":{"a":1}}"#, None),
            (r#"{"flag":null}"#, None),
            ("{}", None),
        ] {
            assert_eq!(serde_json::from_str::<Body>(body).unwrap().flag, expected, "{body}");
        }
    }
}
