//! The host's envelope, `{"Data":{…},"Metadata":{…}}`, read tolerantly. The host writes objects as they are and everything else
//! as JSON inside a string, so that a queue message is found two strings deep and a number is `"1"`; what its documentation
//! shows is another form again. The envelope is never logged: the host copies parts of a payload into it twice.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use lakekey_core::error::Error;
use serde_json::{Map, Value};

/// One invocation's data.
pub(crate) struct Envelope {
    data: Map<String, Value>,
    metadata: Map<String, Value>,
}

impl Envelope {
    /// Reads the body of an invocation, which may come in chunks and without a length.
    pub(crate) async fn read(body: Body) -> Result<Self, Error> {
        let bytes = match tokio::time::timeout(READ_MAX, to_bytes(body, BYTES_MAX)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) => return Err(malformed("it is longer than 4 MiB, or was cut off")),
            Err(_) => return Err(malformed("it did not arrive in time")),
        };
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Ok(Value::Object(mut body)) = serde_json::from_slice(bytes) else { return Err(malformed("it is no JSON object")) };
        match (take(&mut body, "Data"), take(&mut body, "Metadata")) {
            (Some(Value::Object(data)), None | Some(Value::Null)) => Ok(Self { data, metadata: Map::new() }),
            (Some(Value::Object(data)), Some(Value::Object(metadata))) => Ok(Self { data, metadata }),
            _ => Err(malformed("it has no `Data`, or another `Metadata` than an object")),
        }
    }

    /// What has triggered the function: the one value of its data, out of its strings.
    pub(crate) fn payload(&self) -> Result<Value, Error> {
        let mut values = self.data.values();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(unwrapped(value)),
            _ => Err(malformed("its `Data` has not exactly one value")),
        }
    }

    /// A number that the host tells of the trigger, such as `DequeueCount`.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        unwrapped(find(&self.metadata, name)?).as_u64()
    }
}

/// A value out of the strings of JSON that it is wrapped in.
pub(crate) fn unwrapped(value: &Value) -> Value {
    let mut value = value.clone();
    for _ in 0..WRAPS_MAX {
        match value.as_str().map(serde_json::from_str) {
            Some(Ok(inner)) => value = inner,
            Some(Err(_)) | None => break,
        }
    }
    value
}

/// A field whatever the case of its name, and blanks at its ends.
pub(crate) fn find<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn take(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()?;
    object.remove(&key)
}

fn malformed(why: &str) -> Error {
    Error::usage("bad-envelope", format!("the invocation is not in the form of the Functions host: {why}"))
        .hint("the host of version 4 sends it; see whether something else calls this port")
}

/// An Event Grid event has at most 1 MiB, and the host sends most of it twice.
const BYTES_MAX: usize = 4 * 1024 * 1024;
const READ_MAX: Duration = Duration::from_secs(20);
/// A string literal in a string, and an object in that.
const WRAPS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payload(data: Value) -> Result<Value, String> {
        let envelope = Envelope::parse(json!({ "Data": data, "Metadata": {} }).to_string().as_bytes());
        envelope.and_then(|envelope| envelope.payload()).map_err(|error| error.code().to_owned())
    }

    #[test]
    fn a_message_is_found_however_deep_its_strings_are() {
        let message = json!({ "a": 1, "text": "\"quoted\" ünï" });
        let text = message.to_string();
        let literal = Value::from(text.clone()).to_string();
        for form in [message.clone(), Value::from(text), Value::from(literal)] {
            assert_eq!(payload(json!({ "message": form })), Ok(message.clone()), "{form}");
        }
        assert_eq!(payload(json!({ "message": "\"aaaaa\"" })), Ok("aaaaa".into()));
        assert_eq!(payload(json!({ "message": "aaaaa" })), Ok("aaaaa".into()));
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        for body in
            ["", "null", "[]", "1", "{", "{}", r#"{"Data":null}"#, r#"{"Data":[]}"#, r#"{"Data":{},"Metadata":[]}"#, "\u{0}"]
        {
            assert_eq!(
                Envelope::parse(body.as_bytes()).err().map(|error| error.code().to_owned()).as_deref(),
                Some("bad-envelope"),
                "{body}"
            );
        }
        assert_eq!(payload(json!({})), Err("bad-envelope".to_owned()));
        assert_eq!(payload(json!({ "a": 1, "b": 2 })), Err("bad-envelope".to_owned()));
        let deep = format!("{{\"Data\":{{\"a\":{}1{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(Envelope::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn numbers_of_the_metadata_are_strings_or_not() {
        for count in [json!("5"), json!(5), json!("\"5\"")] {
            let body = json!({ "data": { "message": "x" }, "metadata": { "dequeuecount": count, "sys": "overwritten" } });
            assert_eq!(Envelope::parse(body.to_string().as_bytes()).unwrap().number("DequeueCount"), Some(5));
        }
        let body = json!({ "Data": { "message": "x" }, "Metadata": { "DequeueCount": {} } });
        assert_eq!(Envelope::parse(body.to_string().as_bytes()).unwrap().number("DequeueCount"), None);
    }
}
