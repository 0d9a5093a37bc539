//! A strict fake of AWS Secrets Manager with one secret, for what moto is lax about: a version's value is written once, a label is
//! moved from where it is said to be, and AWSPENDING is nobody's to move but AWS's own.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use lakekey_core::http::transport::{Transport, TransportError};
use serde_json::{Value, json};

use crate::support::InProcess;

pub const NAME: &str = "lakekey/sales-bi";
pub const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:lakekey/sales-bi-AbCdEf";

#[derive(Clone, Debug, Default)]
struct Version {
    value: Option<String>,
    labels: BTreeSet<String>,
}

#[derive(Default)]
struct Content {
    exists: bool,
    rotates: Option<bool>,
    versions: BTreeMap<String, Version>,
    /// Calls that are turned away.
    throttles: u32,
    /// What was done that AWS forbids or a rotation function may not do.
    offences: Vec<String>,
}

/// The service; clones are the same one.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Mutex<Content>>);

type Answer = Result<Value, (&'static str, String)>;

impl Secrets {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    /// `RotateSecret`: registers the version, labelled and empty.
    pub fn begin_rotation(&self, token: &str) {
        let mut content = self.content();
        assert_eq!(content.rotates, Some(true), "rotation is set up");
        if let Some(pending) = content.labelled("AWSPENDING") {
            assert_eq!(Some(&pending), content.labelled("AWSCURRENT").as_ref(), "the previous rotation isn't complete");
            content.take(&pending, "AWSPENDING");
        }
        content.versions.entry(token.to_owned()).or_default().labels.insert("AWSPENDING".to_owned());
    }

    /// Sets rotation up, or off.
    pub fn set_rotation(&self, rotates: Option<bool>) {
        self.content().rotates = rotates;
    }

    /// Turns so many calls away.
    pub fn throttle(&self, calls: u32) {
        self.content().throttles = calls;
    }

    /// Puts any value into a version, as somebody with the right to may.
    pub fn tamper(&self, token: &str, value: Option<String>) {
        self.content().versions.get_mut(token).unwrap().value = value;
    }

    /// The id and the value of the version with a label.
    pub fn labelled(&self, label: &str) -> Option<(String, Option<String>)> {
        let content = self.content();
        let id = content.labelled(label)?;
        let value = content.versions[&id].value.clone();
        Some((id, value))
    }

    /// The labels of slots.
    pub fn slots(&self) -> Vec<String> {
        let content = self.content();
        let labels = content.versions.values().flat_map(|version| version.labels.iter().cloned());
        labels.filter(|label| label.starts_with("lakekey-slot-")).collect()
    }

    /// A secret that somebody else made, with this value.
    pub fn put_by_hand(&self, value: String) {
        let mut content = self.content();
        content.exists = true;
        let labels = BTreeSet::from(["AWSCURRENT".to_owned()]);
        content.versions.insert("0".repeat(32), Version { value: Some(value), labels });
    }

    /// Nothing was done that AWS forbids.
    pub fn assert_proper(&self) {
        assert_eq!(self.content().offences, Vec::<String>::new());
    }

    /// One call: the status and the answer.
    pub fn call(&self, action: &str, body: &Value) -> (u16, Value) {
        let mut content = self.content();
        let answer = if content.throttles > 0 {
            content.throttles -= 1;
            Err(("ThrottlingException", "Rate exceeded".to_owned()))
        } else {
            content.call(action, body)
        };
        match answer {
            Ok(body) => (200, body),
            Err((kind, message)) => (400, json!({ "__type": kind, "message": message })),
        }
    }

    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let target = request.headers().get("x-amz-target").unwrap().to_str().unwrap();
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let (status, body) = self.call(target.trim_start_matches("secretsmanager."), &body);
        let answer = Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
        answer.body(body.to_string().into()).unwrap()
    }
}

impl Content {
    fn labelled(&self, label: &str) -> Option<String> {
        self.versions.iter().find(|(_, version)| version.labels.contains(label)).map(|(id, _)| id.clone())
    }

    fn take(&mut self, id: &str, label: &str) {
        self.versions.get_mut(id).unwrap().labels.remove(label);
    }

    /// Moves a label to a version; AWSPREVIOUS follows AWSCURRENT.
    fn label(&mut self, id: &str, label: &str) {
        let before = self.labelled(label).filter(|before| before != id);
        if let Some(before) = &before {
            if label == "AWSPENDING" {
                self.offences.push("AWSPENDING was moved".to_owned());
            }
            self.take(before, label);
        }
        self.versions.get_mut(id).unwrap().labels.insert(label.to_owned());
        if let (Some(before), "AWSCURRENT") = (before, label) {
            if let Some(previous) = self.labelled("AWSPREVIOUS") {
                self.take(&previous, "AWSPREVIOUS");
            }
            self.versions.get_mut(&before).unwrap().labels.insert("AWSPREVIOUS".to_owned());
        }
    }

    fn call(&mut self, call: &str, body: &Value) -> Answer {
        let missing = || ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.".to_owned());
        if call == "CreateSecret" {
            assert_eq!(body["Name"], NAME);
            self.exists = true;
            return Ok(json!({ "ARN": ARN, "Name": NAME }));
        }
        if !self.exists || ![NAME, ARN].contains(&body["SecretId"].as_str().unwrap_or_default()) {
            return Err(missing());
        }
        match call {
            "DescribeSecret" => {
                let versions = self.versions.iter().filter(|(_, version)| !version.labels.is_empty());
                let stages: BTreeMap<_, _> = versions.map(|(id, version)| (id, &version.labels)).collect();
                let mut told = json!({ "ARN": ARN, "Name": NAME });
                if !stages.is_empty() {
                    told["VersionIdsToStages"] = json!(stages);
                }
                if let Some(rotates) = self.rotates {
                    told["RotationEnabled"] = json!(rotates);
                }
                Ok(told)
            }
            "GetSecretValue" => self.get(body),
            "PutSecretValue" => self.put(body),
            "UpdateSecretVersionStage" => self.update(body),
            other => panic!("nobody needs {other}"),
        }
    }

    fn get(&self, body: &Value) -> Answer {
        let missing = || ("ResourceNotFoundException", "Secrets Manager can't find the specified secret value.".to_owned());
        let (id, label) = (body["VersionId"].as_str(), body["VersionStage"].as_str());
        let label = label.or_else(|| id.is_none().then_some("AWSCURRENT"));
        let id = id.map(str::to_owned).or_else(|| self.labelled(label?)).ok_or_else(missing)?;
        let version = self.versions.get(&id).ok_or_else(missing)?;
        if label.is_some_and(|label| !version.labels.contains(label)) {
            return Err(("InvalidRequestException", "the label is not attached to that version".to_owned()));
        }
        let value = version.value.as_ref().ok_or_else(missing)?;
        Ok(json!({ "ARN": ARN, "Name": NAME, "VersionId": id, "SecretString": value, "VersionStages": version.labels }))
    }

    fn put(&mut self, body: &Value) -> Answer {
        let id = body["ClientRequestToken"].as_str().unwrap().to_owned();
        assert!((32..=64).contains(&id.len()), "a token has 32 to 64 characters: {id}");
        let value = body["SecretString"].as_str().unwrap().to_owned();
        let is_first = self.versions.is_empty();
        let version = self.versions.entry(id.clone()).or_default();
        match &version.value {
            Some(before) if *before != value => {
                return Err(("ResourceExistsException", "You can't modify an existing version.".to_owned()));
            }
            Some(_) => {}
            None => version.value = Some(value),
        }
        let asked = body["VersionStages"].as_array();
        let mut labels: Vec<String> = asked.into_iter().flatten().map(|label| label.as_str().unwrap().to_owned()).collect();
        if is_first || labels.is_empty() {
            labels.push("AWSCURRENT".to_owned());
        }
        for label in labels {
            self.label(&id, &label);
        }
        let labels = &self.versions[&id].labels;
        Ok(json!({ "ARN": ARN, "Name": NAME, "VersionId": id, "VersionStages": labels }))
    }

    fn update(&mut self, body: &Value) -> Answer {
        let invalid = |message: &str| ("InvalidParameterException", message.to_owned());
        let label = body["VersionStage"].as_str().unwrap();
        if label == "AWSPENDING" {
            self.offences.push("AWSPENDING was moved".to_owned());
        }
        let from = body["RemoveFromVersionId"].as_str();
        let holder = self.labelled(label);
        match (from, &holder) {
            (Some(from), holder) if holder.as_deref() != Some(from) => {
                return Err(invalid("the label is not attached to the version that it is to be removed from"));
            }
            (None, Some(_)) => return Err(invalid("the label is attached to another version")),
            (Some(_) | None, _) => {}
        }
        match body["MoveToVersionId"].as_str() {
            Some(to) if self.versions.contains_key(to) => self.label(to, label),
            Some(_) => return Err(("ResourceNotFoundException", "no such version".to_owned())),
            None => self.take(from.unwrap(), label),
        }
        Ok(json!({ "ARN": ARN, "Name": NAME }))
    }
}

/// Carries requests to the cloud and to this Secrets Manager.
pub struct Carrier {
    pub cloud: InProcess,
    pub secrets: Secrets,
}

#[async_trait::async_trait]
impl Transport for Carrier {
    async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Bytes>, TransportError> {
        match request.uri().host().unwrap_or_default().starts_with("secretsmanager.") {
            true => Ok(self.secrets.answer(&request)),
            false => self.cloud.send(request, timeout).await,
        }
    }
}
