//! What has triggered the function. The triggers are told apart by what only one of them has, never by which type happens to
//! fit; an event of no known kind is named by its keys and their types, and nothing of its content is repeated.

#[cfg(test)]
mod fixtures;

use lakekey_core::error::Error;
use serde_json::{Map, Value};

/// One event.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// EventBridge Scheduler, with the input that the deployment gives it.
    Schedule(Schedule),
    /// A batch of messages of the work queue.
    Messages(Vec<Message>),
    /// A call of the HTTP API: Function URL or API Gateway, payload v2.
    Call(Map<String, Value>),
    /// A step of a rotation that Secrets Manager leads.
    Step(StepEvent),
}

/// One tick. The platform fills in what tells it from others; all of it is for people who read the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) execution: Option<String>,
    pub(crate) scheduled: Option<String>,
    pub(crate) attempt: Option<String>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
}

/// One step, as Secrets Manager asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepEvent {
    /// `createSecret`, `setSecret`, `testSecret` or `finishSecret`.
    pub(crate) step: String,
    /// The ARN of the secret.
    pub(crate) secret_id: String,
    /// The version that the rotation makes.
    pub(crate) token: String,
    /// Proves the caller where the rotation runs under another role; goes with every value that is put.
    pub(crate) rotation_token: Option<String>,
}

impl Event {
    /// Tells what `event` is.
    pub(crate) fn of(event: Value) -> Result<Self, Error> {
        let Value::Object(event) = event else {
            return Err(unknown(format!("it is {}, not an object", kind(&event))));
        };
        if event.contains_key("Step") || event.contains_key("ClientRequestToken") {
            return step(&event).map(Self::Step);
        }
        if let Some(Value::Array(records)) = event.get("Records") {
            return messages(records).map(Self::Messages);
        }
        let is_call = event.get("requestContext").and_then(|context| context.get("http")).is_some_and(Value::is_object);
        if is_call && event.get("version").and_then(Value::as_str) == Some("2.0") {
            return Ok(Self::Call(event));
        }
        if event.get("lakekey").and_then(Value::as_str) == Some("schedule") {
            let word = |key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
            return Ok(Self::Schedule(Schedule {
                execution: word("execution"),
                scheduled: word("scheduled"),
                attempt: word("attempt"),
            }));
        }
        Err(unknown(format!("it has {}{}", keys(&event), guess(&event))))
    }
}

fn step(event: &Map<String, Value>) -> Result<StepEvent, Error> {
    let word = |key: &str| {
        event.get(key).and_then(Value::as_str).filter(|word| !word.is_empty()).map(str::to_owned).ok_or_else(|| {
            Error::usage("bad-event", format!("a rotation event of Secrets Manager lacks `{key}` (it has {})", keys(event)))
                .hint("let Secrets Manager invoke the function; by hand, give `Step`, `SecretId` and `ClientRequestToken`")
        })
    };
    Ok(StepEvent {
        step: word("Step")?,
        secret_id: word("SecretId")?,
        token: word("ClientRequestToken")?,
        rotation_token: event.get("RotationToken").and_then(Value::as_str).map(str::to_owned),
    })
}

/// All records are of the queue, or the batch is none: what can't be named can't be reported back one by one.
fn messages(records: &[Value]) -> Result<Vec<Message>, Error> {
    if records.is_empty() {
        return Err(unknown("it has `Records` (no entry)".to_owned()));
    }
    records.iter().map(message).collect()
}

fn message(record: &Value) -> Result<Message, Error> {
    let word = |key: &str| record.get(key).and_then(Value::as_str).filter(|word| !word.is_empty());
    match (word("eventSource"), word("messageId"), record.get("body").and_then(Value::as_str)) {
        (Some("aws:sqs"), Some(id), Some(body)) => Ok(Message { id: id.to_owned(), body: body.to_owned() }),
        (Some("aws:sqs"), _, _) => Err(Error::usage("bad-event", "a record of the queue lacks `messageId` or `body`")
            .hint("let the event source mapping of SQS invoke the function")),
        (source, _, _) => Err(unknown(format!("its records come from {}", source.map_or("nowhere", service)))),
    }
}

/// The service that a record comes from, which is a word of the platform's.
fn service(source: &str) -> &str {
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match source.split_once(':') {
        Some(("aws", word)) if word.len() <= KEY_CHARS_MAX && plain(word) => source,
        _ => "a source that is not AWS's",
    }
}

fn unknown(seen: String) -> Error {
    Error::usage("unknown-event", format!("this event is of no kind that lakekey knows: {seen}")).hint(
        "it takes the input of its schedule (`{\"lakekey\":\"schedule\"}`), SQS batches, HTTP calls of payload version 2.0, and rotation steps of Secrets Manager",
    )
}

/// What somebody has probably connected.
fn guess(event: &Map<String, Value>) -> &'static str {
    if event.contains_key("httpMethod") {
        "; it looks like an HTTP call of payload version 1.0: set the integration's payload format to 2.0"
    } else if event.contains_key("detail-type") {
        "; it looks like an event of an EventBridge rule: give its target the schedule's input"
    } else {
        ""
    }
}

/// The keys with their types. A key may be anything: odd ones are counted only.
fn keys(event: &Map<String, Value>) -> String {
    let plain = |key: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !key.is_empty() && key.len() <= KEY_CHARS_MAX && key.bytes().all(allowed)
    };
    let shown: Vec<String> = event
        .iter()
        .filter(|(key, _)| plain(key))
        .take(KEYS_MAX)
        .map(|(key, value)| format!("`{key}` ({})", kind(value)))
        .collect();
    match (shown.is_empty(), event.len() - shown.len()) {
        (true, 0) => "no key".to_owned(),
        (true, others) => format!("{others} unnamed keys"),
        (false, 0) => shown.join(", "),
        (false, others) => format!("{} and {others} more", shown.join(", ")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

const KEYS_MAX: usize = 12;
const KEY_CHARS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::diagnostic;

    fn failure(event: Value) -> String {
        let diagnostic = diagnostic(&Event::of(event).expect_err("an event of no kind"));
        format!("{} {}", diagnostic.error_type, diagnostic.error_message)
    }

    #[test]
    fn each_trigger_is_known_by_what_only_it_has() {
        let schedule = json!({ "lakekey": "schedule", "execution": "e-1", "attempt": "1" });
        let Ok(Event::Schedule(schedule)) = Event::of(schedule) else { panic!("no schedule") };
        assert_eq!((schedule.execution.as_deref(), schedule.scheduled), (Some("e-1"), None));
        let step = json!({ "Step": "setSecret", "SecretId": "arn:x", "ClientRequestToken": "t", "RotationToken": "r" });
        let Ok(Event::Step(step)) = Event::of(step) else { panic!("no step") };
        assert_eq!((step.step.as_str(), step.rotation_token.as_deref()), ("setSecret", Some("r")));
        let records = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "m", "body": "" }] });
        let Ok(Event::Messages(messages)) = Event::of(records) else { panic!("no messages") };
        assert_eq!(messages, [Message { id: "m".to_owned(), body: String::new() }]);
        let call = json!({ "version": "2.0", "requestContext": { "http": { "method": "GET" } } });
        assert!(matches!(Event::of(call), Ok(Event::Call(_))));
    }

    #[test]
    fn an_unknown_event_is_named_by_its_keys_and_never_quoted() {
        let said = failure(json!({ "alpha": "dose-secret", "beta": [1], "dose secret": 1, "dose-secret".repeat(9): 1 }));
        assert!(said.starts_with("Lakekey.Permanent.unknown-event"), "{said}");
        assert!(said.contains("`alpha` (text), `beta` (a list) and 2 more"), "{said}");
        assert!(!said.contains("dose"), "{said}");
        assert!(failure(json!("dose")).contains("it is text"), "not an object");
        assert!(failure(json!({})).contains("no key"), "empty");
        assert!(failure(json!({ "lakekey": "dose" })).contains("`lakekey` (text)"), "another word");
        assert!(failure(json!({ "httpMethod": "GET", "version": "1.0" })).contains("payload format to 2.0"), "payload v1");
        assert!(failure(json!({ "detail-type": "x", "source": "y" })).contains("EventBridge rule"), "a rule");
    }

    #[test]
    fn records_of_others_and_half_a_step_are_refused() {
        let of = |source: &str| json!({ "Records": [{ "eventSource": source, "messageId": "m", "body": "dose" }] });
        assert!(failure(of("aws:s3")).contains("from aws:s3"), "S3");
        assert!(failure(of("dose:s3")).contains("not AWS's"), "not AWS");
        assert!(failure(json!({ "Records": [] })).contains("no entry"), "empty");
        let nameless = json!({ "Records": [{ "eventSource": "aws:sqs", "body": "dose" }] });
        assert!(failure(nameless).contains("messageId"), "no id");
        let half = failure(json!({ "Step": "createSecret", "SecretId": "dose" }));
        assert!(half.contains("lacks `ClientRequestToken`") && !half.contains("dose"), "{half}");
    }
}
