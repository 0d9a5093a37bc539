//! What triggers put into the envelope, encoded as the host encodes it: objects as they are, everything else as JSON inside a
//! string, and the properties of a JSON message once more among the metadata.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What has triggered a function.
#[derive(Clone, Debug)]
pub enum Payload {
    Timer(Tick),
    Queue(Delivery),
    /// An event, in whatever form it comes.
    Event(Value),
}

/// One tick of a timer.
#[derive(Clone, Debug, Default)]
pub struct Tick {
    /// One was missed.
    pub past_due: bool,
    /// As on the first run of all: `Last` is the least date that .NET knows.
    pub first: bool,
    /// The schedule is watched, so its status is told.
    pub monitored: bool,
    /// Which retry this is.
    pub retry: Option<u32>,
}

/// One delivery of a message.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its text.
    pub text: String,
    /// How often it has been delivered, this time included.
    pub count: u64,
}

impl Payload {
    /// A message, delivered for the first time.
    pub fn message(text: impl Into<String>) -> Self {
        Self::Queue(Delivery { text: text.into(), count: 1 })
    }

    /// The envelope of the host.
    pub(crate) fn envelope(&self, binding: &str, function: &str, now: Timestamp) -> Value {
        let mut metadata = Map::new();
        let data = match self {
            Self::Timer(tick) => tick.data(&mut metadata, now),
            Self::Queue(delivery) => delivery.data(&mut metadata, now),
            Self::Event(event) => {
                if let Some(data) = event.get("data") {
                    metadata.insert("data".to_owned(), data.clone());
                }
                event.clone()
            }
        };
        let sys = json!({ "MethodName": function, "UtcNow": now, "RandGuid": uuid::Uuid::new_v4() });
        metadata.entry("sys").or_insert(sys);
        json!({ "Data": { binding: data }, "Metadata": metadata })
    }
}

impl Tick {
    fn data(&self, metadata: &mut Map<String, Value>, now: Timestamp) -> Value {
        let last =
            if self.first { "0001-01-01T00:00:00".to_owned() } else { now.strftime("%Y-%m-%dT%H:00:00+02:00").to_string() };
        let status = json!({ "Last": last, "Next": now.strftime("%Y-%m-%dT%H:59:00+00:00").to_string(), "LastUpdated": last });
        if let Some(count) = self.retry {
            metadata.insert("RetryContext".to_owned(), json!({ "RetryCount": count, "MaxRetryCount": 3, "Exception": null }));
        }
        json!({
            "Schedule": { "AdjustForDST": true },
            "ScheduleStatus": if self.monitored { status } else { Value::Null },
            "IsPastDue": self.past_due,
        })
    }
}

impl Delivery {
    fn data(&self, metadata: &mut Map<String, Value>, now: Timestamp) -> Value {
        let second = now.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        for (name, value) in
            [("DequeueCount", json!(self.count)), ("Id", json!(uuid::Uuid::new_v4())), ("PopReceipt", json!("AgAAAAMAAAAAAAAA"))]
        {
            metadata.insert(name.to_owned(), in_a_string(&value));
        }
        for name in ["ExpirationTime", "InsertionTime", "NextVisibleTime"] {
            metadata.insert(name.to_owned(), second.clone().into());
        }
        // Whatever a message calls its properties, they win.
        if let Ok(Value::Object(properties)) = serde_json::from_str::<Value>(&self.text) {
            for (name, value) in
                properties.into_iter().filter(|(name, value)| !value.is_array() && !name.to_lowercase().ends_with("trigger"))
            {
                let value = if value.is_object() { value } else { in_a_string(&value) };
                metadata.insert(name, value);
            }
        }
        in_a_string(&Value::from(self.text.clone()))
    }
}

/// What is no object is written as JSON inside a string.
fn in_a_string(value: &Value) -> Value {
    Value::from(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-02T08:30:15.25Z".parse().unwrap()
    }

    /// Recorded from the real host by module-ballerinax-azure.functions, `queue-string.json`.
    #[test]
    fn a_message_is_a_literal_inside_a_string() {
        let envelope = Payload::message("aaaaa").envelope("inMsg", "queue", now());
        assert_eq!(envelope["Data"]["inMsg"], "\"aaaaa\"");
        assert_eq!(envelope["Metadata"]["DequeueCount"], "1");
        assert!(
            envelope["Metadata"]["Id"].as_str().unwrap().starts_with("\"")
                && envelope["Metadata"]["sys"]["MethodName"] == "queue"
        );
        let envelope = Payload::message(r#"{"a":1,"sys":"mine"}"#).envelope("inMsg", "queue", now());
        assert_eq!(envelope["Data"]["inMsg"], r#""{\"a\":1,\"sys\":\"mine\"}""#);
        assert_eq!((&envelope["Metadata"]["a"], &envelope["Metadata"]["sys"]), (&json!("1"), &json!("\"mine\"")));
    }

    /// Recorded likewise, `timer.json`.
    #[test]
    fn a_tick_is_an_object() {
        let envelope = Payload::Timer(Tick::default()).envelope("inMsg", "timer", now());
        let recorded = json!({ "Schedule": { "AdjustForDST": true }, "ScheduleStatus": null, "IsPastDue": false });
        assert_eq!(envelope["Data"]["inMsg"], recorded);
        let first = Payload::Timer(Tick { first: true, monitored: true, ..Tick::default() }).envelope("inMsg", "timer", now());
        assert_eq!(first["Data"]["inMsg"]["ScheduleStatus"]["Last"], "0001-01-01T00:00:00");
    }
}
