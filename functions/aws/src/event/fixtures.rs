//! The example events of `aws_lambda_events`, which AWS's own people collect: those of our triggers are read as its types read
//! them, all others are refused, and nothing of them is repeated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::secretsmanager::SecretsManagerSecretRotationEvent;
use aws_lambda_events::sqs::SqsEvent;
use serde_json::Value;

use super::*;
use crate::failure::diagnostic;

/// Every event by its name; what is an answer and no event is left out.
fn fixtures() -> &'static BTreeMap<String, Value> {
    static FIXTURES: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    FIXTURES.get_or_init(|| {
        let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
        let named = files.filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_prefix("example-")?.strip_suffix(".json")?.to_owned();
            let event = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).ok()?;
            (!name.contains("response")).then_some((name, event))
        });
        named.collect()
    })
}

/// Where cargo keeps the crate's sources.
fn folder() -> PathBuf {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", "host-tuple"];
    let told = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let metadata: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("{told:?}"));
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|package| package["name"] == "aws_lambda_events").unwrap();
    PathBuf::from(package["manifest_path"].as_str().unwrap()).with_file_name("src").join("fixtures")
}

/// The events whose names begin so.
fn named(prefix: &str) -> impl Iterator<Item = (&'static String, &'static Value)> {
    fixtures().iter().filter(move |(name, _)| name.starts_with(prefix))
}

#[test]
fn a_rotation_event_is_read_as_its_type_reads_it() {
    let (_, event) = named("secretsmanager-").next().unwrap();
    let typed: SecretsManagerSecretRotationEvent = serde_json::from_value(event.clone()).unwrap();
    let Ok(Event::Step(step)) = Event::of(event.clone()) else { panic!("no step") };
    assert_eq!((step.step, step.secret_id, step.token), (typed.step, typed.secret_id, typed.client_request_token));
}

#[test]
fn batches_of_sqs_are_read_as_their_type_reads_them() {
    let mut read = 0;
    for (name, event) in named("sqs-event") {
        let typed: SqsEvent = serde_json::from_value(event.clone()).unwrap();
        let Ok(Event::Messages(messages)) = Event::of(event.clone()) else { panic!("{name}: no messages") };
        let seen: Vec<_> = messages.into_iter().map(|message| (Some(message.id), Some(message.body))).collect();
        let told: Vec<_> = typed.records.into_iter().map(|record| (record.message_id, record.body)).collect();
        assert_eq!(seen, told, "{name}");
        read += 1;
    }
    assert_eq!(read, 2);
}

#[test]
fn calls_of_payload_v2_are_known_for_calls() {
    let mut read = 0;
    for (name, event) in CALLS.into_iter().flat_map(named) {
        let typed: ApiGatewayV2httpRequest = serde_json::from_value(event.clone()).unwrap();
        let Ok(Event::Call(call)) = Event::of(event.clone()) else { panic!("{name}: no call") };
        let method = call["requestContext"]["http"]["method"].as_str().unwrap();
        assert_eq!((method, call["rawPath"].as_str()), (typed.request_context.http.method.as_str(), typed.raw_path.as_deref()));
        read += 1;
    }
    assert!(read >= 4, "{read}");
}

#[test]
fn every_other_event_is_refused_by_its_keys_and_nothing_of_it_is_repeated() {
    let ours = ["secretsmanager-", "sqs-event"].into_iter().chain(CALLS);
    // A request of a v2 authorizer looks like a call but for its type; sent here, it is one that finds no key.
    let authorizer = |event: &Value| event["type"] == "REQUEST";
    let mut refused = 0;
    for (name, event) in fixtures() {
        if ours.clone().any(|prefix| name.starts_with(prefix)) || authorizer(event) {
            continue;
        }
        let diagnostic = diagnostic(&Event::of(event.clone()).expect_err(name));
        assert_eq!(diagnostic.error_type, "Lakekey.Permanent.unknown-event", "{name}");
        let text = diagnostic.error_message;
        // Some hold the name of a key as a value, too.
        for word in words(event).into_iter().filter(|word| event.get(word).is_none()) {
            assert!(!text.contains(word), "{name}: `{word}` in {text}");
        }
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
}

/// How the names of calls of payload v2 begin; SAM's are among them, those of authorizers are not.
const CALLS: [&str; 2] = ["apigw-v2-request", "apigw-sam-http-request"];

/// Every text in an event that is long enough to be told from our own words, but for the sources of records, which are AWS's words.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) if text.len() > 7 && !text.starts_with("aws:") => vec![text],
        Value::Array(values) => values.iter().flat_map(words).collect(),
        Value::Object(values) => values.values().flat_map(words).collect(),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}
