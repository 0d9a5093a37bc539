//! `awssm:NAME-OR-ARN`: versions of one secret in AWS Secrets Manager. The current value is the version labelled AWSCURRENT. A
//! slot is a version of its own, whose id is a hash of the secret's id and which keeps a label that names it until it is emptied
//! (a version without a label is AWS's to delete); `lakekey-next` is on what was written last. Promotion writes a version that
//! names the journal's head and then moves AWSCURRENT from the version that was seen to have it, so that a late move does nothing.
//!
//! AWSPENDING belongs to AWS's own rotation and is never moved here: where it holds the very secret that is promoted, AWSCURRENT
//! moves there, which is what ends such a rotation.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::{SecretStore, StoreError, bounded, id_of, slot_name};
use crate::aws::{self, Aws};
use crate::config::AwsSecretName;
use crate::credential::{StoredCredential, StoredValue, ValueError};
use crate::http::{Failure, HttpError};
use crate::ids::{SecretId, hex};
use crate::secret::Secret;

/// A store in Secrets Manager.
#[derive(Clone, Debug)]
pub struct SecretsManagerStore {
    aws: Arc<Aws>,
    secret: AwsSecretName,
}

/// What AWS tells of a secret without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Whether AWS rotates it; `None` where that was never set up.
    pub rotation_enabled: Option<bool>,
    /// The labels of every version that has any.
    pub versions: BTreeMap<String, Vec<String>>,
}

/// One version of a secret.
pub struct Version {
    /// Its id.
    pub id: String,
    /// What it holds; not necessarily a credential.
    pub value: Zeroizing<Vec<u8>>,
    /// Its labels.
    pub labels: Vec<String>,
}

impl Description {
    /// The version that has `label`.
    pub fn labelled(&self, label: &str) -> Option<&str> {
        self.versions.iter().find(|(_, labels)| labels.iter().any(|own| own == label)).map(|(version, _)| version.as_str())
    }
}

impl SecretsManagerStore {
    /// A store in `secret`, which need not exist yet unless an ARN names it.
    pub fn new(aws: Arc<Aws>, secret: AwsSecretName) -> Self {
        Self { aws, secret }
    }

    /// What AWS tells of the secret; `None` if there is none.
    pub async fn describe(&self) -> Result<Option<Description>, StoreError> {
        let sent = self.client().await?.describe_secret().secret_id(self.secret.as_str()).send().await;
        let Some(told) = self.found("describe the secret", sent)? else { return Ok(None) };
        Ok(Some(Description {
            arn: told.arn().unwrap_or_default().to_owned(),
            name: told.name().unwrap_or_default().to_owned(),
            rotation_enabled: told.rotation_enabled(),
            versions: told
                .version_ids_to_stages()
                .into_iter()
                .flatten()
                .map(|(id, labels)| (id.clone(), labels.clone()))
                .collect(),
        }))
    }

    /// One version, by its id; `None` if there is none or it has no value.
    pub async fn version(&self, version_id: &str) -> Result<Option<Version>, StoreError> {
        self.read(Some(version_id), None).await
    }

    /// The current value as text, or the text under `key` of its JSON.
    pub async fn text(&self, key: Option<&str>) -> Result<Option<Secret>, StoreError> {
        let Some(version) = self.read(None, Some(LABEL_CURRENT)).await? else { return Ok(None) };
        let Some(key) = key else { return Ok(std::str::from_utf8(&version.value).ok().map(Secret::new)) };
        let fields: Option<HashMap<&str, Field>> = serde_json::from_slice(&version.value).ok();
        Ok(fields.and_then(|mut fields| fields.remove(key)).and_then(|field| field.0))
    }

    async fn read(&self, version_id: Option<&str>, label: Option<&str>) -> Result<Option<Version>, StoreError> {
        let call = self.client().await?.get_secret_value().secret_id(self.secret.as_str());
        let call = call.set_version_id(version_id.map(str::to_owned)).set_version_stage(label.map(str::to_owned));
        let Some(mut answer) = self.found("read the secret", call.send().await)? else { return Ok(None) };
        let (id, labels) = (answer.version_id.take().unwrap_or_default(), answer.version_stages.take().unwrap_or_default());
        let text = answer.secret_string.take().map(String::into_bytes);
        // What another program keeps there in binary is no credential, which its reader finds out.
        let value = text.or_else(|| answer.secret_binary.take().map(aws_sdk_secretsmanager::primitives::Blob::into_inner));
        Ok(value.filter(|value| !value.is_empty()).map(|value| Version { id, value: Zeroizing::new(value), labels }))
    }

    /// Writes a version under `version_id` (32 to 64 characters), which AWS takes once: again with the same value is no write.
    /// `rotation_token` is what AWS gave a rotation function that works in another account's name.
    pub async fn put(
        &self,
        version_id: &str,
        rotation_token: Option<&str>,
        value: &[u8],
        labels: &[&str],
    ) -> Result<(), StoreError> {
        let value = String::from_utf8_lossy(value).into_owned();
        let call = self.client().await?.put_secret_value().secret_id(self.secret.as_str());
        let call = call
            .client_request_token(version_id)
            .set_rotation_token(rotation_token.map(str::to_owned))
            .secret_string(value)
            .set_version_stages(Some(labels.iter().map(|label| (*label).to_owned()).collect()));
        call.send().await.map(drop).map_err(self.failed("write the secret"))
    }

    async fn move_label(&self, label: &str, from: Option<&str>, to: Option<&str>) -> Result<(), StoreError> {
        let call = self.client().await?.update_secret_version_stage().secret_id(self.secret.as_str()).version_stage(label);
        let call = call.set_remove_from_version_id(from.map(str::to_owned)).set_move_to_version_id(to.map(str::to_owned));
        call.send().await.map(drop).map_err(self.failed("move a label of the secret"))
    }

    /// Makes the secret, without a value.
    async fn create(&self) -> Result<(), StoreError> {
        let made = self.client().await?.create_secret().name(self.secret.as_str()).send().await;
        match made {
            Err(SdkError::ServiceError(refused)) if refused.err().is_resource_exists_exception() => Ok(()),
            made => made.map(drop).map_err(self.failed("create the secret")),
        }
    }

    async fn stage_once(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        let (version_id, label) = (slot_version(&credential.secret_id), slot_label(&credential.secret_id));
        let json = credential.to_json();
        match self.put_or_create(&version_id, &json, &[LABEL_NEXT, &label]).await {
            // The slot was filled before, with the same secret and another head of the journal, or with another secret.
            Err(error) if error.code() == Some(RESOURCE_EXISTS) => match self.staged(&credential.secret_id).await? {
                Some(staged) if staged.client_secret.reveal() == credential.client_secret.reveal() => Ok(()),
                Some(_) | None => Err(StoreError::Occupied { place: self.slot_place(&credential.secret_id) }),
            },
            outcome => outcome,
        }
    }

    async fn put_or_create(&self, version_id: &str, json: &[u8], labels: &[&str]) -> Result<(), StoreError> {
        match self.put(version_id, None, json, labels).await {
            Err(error) if error.code() == Some(NOT_FOUND) && self.secret.region().is_none() => {
                self.create().await?;
                self.put(version_id, None, json, labels).await
            }
            outcome => outcome,
        }
    }

    async fn promote_once(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        let described = self.describe().await?;
        let current = described.as_ref().and_then(|described| described.labelled(LABEL_CURRENT));
        let pending = described.as_ref().and_then(|described| described.labelled(LABEL_PENDING));
        let target = match pending {
            Some(version) if self.holds(version, &credential.secret_id).await? => version.to_owned(),
            Some(_) | None => {
                let version_id = promoted_version(credential);
                // The first version of a secret has no other to take the label from.
                let label = if current.is_some() { LABEL_NEXT } else { LABEL_CURRENT };
                if current != Some(&version_id) {
                    self.put_or_create(&version_id, &credential.to_json(), &[label]).await?;
                }
                version_id
            }
        };
        match current {
            Some(current) if current != target => self.move_label(LABEL_CURRENT, Some(current), Some(&target)).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a version holds the secret with this id.
    async fn holds(&self, version_id: &str, id: &SecretId) -> Result<bool, StoreError> {
        let Some(version) = self.version(version_id).await? else { return Ok(false) };
        Ok(StoredValue::from_json(&version.value).is_ok_and(|value| value.secret_id.as_ref() == Some(id)))
    }

    async fn discard_once(&self, id: &SecretId) -> Result<(), StoreError> {
        let Some(described) = self.describe().await? else { return Ok(()) };
        let version_id = slot_version(id);
        let labels = described.versions.get(&version_id).into_iter().flatten();
        // The slot's own label goes last: until then it is found again.
        for label in [LABEL_NEXT, &slot_label(id)] {
            if labels.clone().any(|own| own == label) {
                self.move_label(label, Some(&version_id), None).await?;
            }
        }
        Ok(())
    }

    async fn client(&self) -> Result<Client, StoreError> {
        let client = self.aws.secrets_manager(self.secret.region()).await;
        client.map_err(|error| {
            let failure = Failure::SignIn(Box::new(error));
            let target = "POST Secrets Manager".to_owned();
            let error = HttpError { what: "reach AWS", target, failure, attempts: 0, earlier_may_land: false };
            StoreError::Service { place: self.place(), source: Box::new(error) }
        })
    }

    fn slot_place(&self, id: &SecretId) -> String {
        format!("{} (label `{}`)", self.place(), slot_label(id))
    }

    fn corrupt(&self, source: ValueError) -> StoreError {
        StoreError::Corrupt { place: self.place(), source }
    }

    /// An answer, or that there is no such secret or version.
    fn found<T, E: ProvideErrorMetadata>(
        &self,
        what: &'static str,
        sent: Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<Option<T>, StoreError> {
        match sent {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.code() == Some(NOT_FOUND) => Ok(None),
            Err(error) => Err(self.failed(what)(error)),
        }
    }

    fn failed<E: ProvideErrorMetadata>(&self, what: &'static str) -> impl FnOnce(SdkError<E, HttpResponse>) -> StoreError {
        let place = self.place();
        move |error| StoreError::Service { place, source: Box::new(aws::failure(what, "Secrets Manager", error)) }
    }
}

#[async_trait]
impl SecretStore for SecretsManagerStore {
    async fn stage(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        bounded(self.aws.timeout(), self.place(), Box::pin(self.stage_once(credential))).await
    }

    async fn staged(&self, id: &SecretId) -> Result<Option<StoredCredential>, StoreError> {
        let Some(version) = self.version(&slot_version(id)).await? else { return Ok(None) };
        if !version.labels.iter().any(|label| *label == slot_label(id)) {
            return Ok(None);
        }
        let credential = StoredCredential::from_json(&version.value).map_err(|source| self.corrupt(source))?;
        if credential.secret_id != *id {
            return Err(StoreError::Occupied { place: self.slot_place(id) });
        }
        Ok(Some(credential))
    }

    async fn staged_ids(&self) -> Result<Vec<SecretId>, StoreError> {
        let described = self.describe().await?;
        let labels = described.iter().flat_map(|described| described.versions.values().flatten());
        let mut ids: Vec<SecretId> = labels.filter_map(|label| label.strip_prefix(LABEL_SLOT).and_then(id_of)).collect();
        ids.sort();
        Ok(ids)
    }

    async fn promote(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        bounded(self.aws.timeout(), self.place(), Box::pin(self.promote_once(credential))).await
    }

    async fn current(&self) -> Result<Option<StoredValue>, StoreError> {
        let Some(version) = self.read(None, Some(LABEL_CURRENT)).await? else { return Ok(None) };
        let value = StoredValue::from_json(&version.value).map_err(|source| self.corrupt(source))?;
        // AWS labels the first version of a secret as current, whatever was asked for: a slot was not promoted.
        let is_slot = value.secret_id.as_ref().is_some_and(|id| version.id == slot_version(id));
        Ok(Some(value).filter(|_| !is_slot))
    }

    async fn discard(&self, id: &SecretId) -> Result<(), StoreError> {
        bounded(self.aws.timeout(), self.place(), Box::pin(self.discard_once(id))).await
    }

    fn place(&self) -> String {
        format!("awssm:{}", self.secret)
    }

    fn secrets_manager(&self) -> Option<&SecretsManagerStore> {
        Some(self)
    }
}

/// A field of JSON that is a text and not empty.
struct Field(Option<Secret>);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Read {
            Text(String),
            Other(IgnoredAny),
        }
        Ok(Self(match Read::deserialize(deserializer)? {
            Read::Text(text) if !text.is_empty() => Some(Secret::new(text)),
            Read::Text(_) | Read::Other(_) => None,
        }))
    }
}

/// The version id of a slot: its secret's alone, so that no other value can get there.
fn slot_version(id: &SecretId) -> String {
    hex(digest(&SHA256, format!("slot\n{id}").as_bytes()).as_ref())
}

/// The version id of a promoted value: promoting it again is no second write. The secret is no part of it.
fn promoted_version(credential: &StoredCredential) -> String {
    let journal = credential.journal.as_deref().unwrap_or_default();
    let text = format!("promoted\n{}\n{}\n{journal}", credential.secret_id, credential.generation);
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn slot_label(id: &SecretId) -> String {
    format!("{LABEL_SLOT}{}", slot_name(id))
}

const LABEL_CURRENT: &str = "AWSCURRENT";
const LABEL_PENDING: &str = "AWSPENDING";
const LABEL_NEXT: &str = "lakekey-next";
const LABEL_SLOT: &str = "lakekey-slot-";
const NOT_FOUND: &str = "ResourceNotFoundException";
const RESOURCE_EXISTS: &str = "ResourceExistsException";
