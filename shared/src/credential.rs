//! The value that stores keep: one generation of one credential, in the shape of AWS's own Databricks secret type so that
//! users can move either way.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::ids::{ApplicationId, Generation, SecretId, ServicePrincipalId, Workspace};
use crate::secret::Secret;

/// One generation with its secret. Serialised only by [`to_json`](Self::to_json) and only for a store.
#[derive(Clone, Debug)]
pub struct StoredCredential {
    /// The principal's application id: the user name at Power BI, the client id at Databricks.
    pub client_id: ApplicationId,
    /// The OAuth secret.
    pub client_secret: Secret,
    /// Its id at Databricks.
    pub secret_id: SecretId,
    /// The principal's SCIM id.
    pub service_principal_id: ServicePrincipalId,
    /// The Databricks account, when known.
    pub account_id: Option<String>,
    /// The workspace that minted it.
    pub host: Workspace,
    /// Which generation.
    pub generation: Generation,
    /// When Databricks made it.
    pub created_at: Timestamp,
    /// When it expires; `None` for ever.
    pub expires_at: Option<Timestamp>,
    /// Hash of the journal's head when this value was written: a journal that does not contain it was rewritten.
    pub journal: Option<String>,
}

/// A value as found in a store: lakekey's own, or one in the plain AWS shape that was put there by other means.
#[derive(Clone, Debug)]
pub struct StoredValue {
    /// The principal's application id.
    pub client_id: ApplicationId,
    /// The OAuth secret.
    pub client_secret: Secret,
    /// Its id at Databricks.
    pub secret_id: Option<SecretId>,
    /// The principal's SCIM id.
    pub service_principal_id: Option<ServicePrincipalId>,
    /// The Databricks account.
    pub account_id: Option<String>,
    /// The workspace that minted it.
    pub host: Option<Workspace>,
    /// Which generation.
    pub generation: Option<Generation>,
    /// When Databricks made it.
    pub created_at: Option<Timestamp>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// Hash of the journal's head when lakekey wrote this value; `None` if it never did.
    pub journal: Option<String>,
}

/// A value is not in the shape that stores keep. Says where, never what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not JSON, or a field of the wrong type.
    #[error("the value is not a credential in JSON (line {line}, column {column})")]
    Unreadable {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A field that must be there is not, or is empty.
    #[error("the value has no `{0}`")]
    Missing(&'static str),
    /// A field that cannot mean what it must.
    #[error("the value's `{0}` is not valid")]
    Invalid(&'static str),
}

impl StoredCredential {
    /// The JSON that stores keep.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let wire = WireOut {
            client_id: self.client_id.as_str(),
            client_secret: self.client_secret.reveal(),
            oauth_secret_id: self.secret_id.as_str(),
            service_principal_id: self.service_principal_id.as_str(),
            account_id: self.account_id.as_deref(),
            host: self.host.base(),
            generation: self.generation,
            created_at: self.created_at,
            expires_at: self.expires_at,
            journal: self.journal.as_deref(),
        };
        // Growing would leave copies of the secret behind in freed memory.
        let mut json = Zeroizing::new(Vec::with_capacity(VALUE_BYTES_MAX));
        serde_json::to_writer(&mut *json, &wire).expect("strings, a number and times are JSON, and memory takes them");
        json
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub fn from_json(json: &[u8]) -> Result<Self, ValueError> {
        StoredValue::from_json(json)?.into_complete()
    }
}

impl StoredValue {
    /// Reads a value of lakekey's or in the plain AWS shape; unknown fields are passed over.
    pub fn from_json(json: &[u8]) -> Result<Self, ValueError> {
        let wire: WireIn = serde_json::from_slice(json)
            .map_err(|error| ValueError::Unreadable { line: error.line(), column: error.column() })?;
        let client_secret = Secret::new(required(wire.client_secret, "clientSecret")?);
        let host = wire.host.filter(|text| !text.is_empty());
        Ok(Self {
            client_id: ApplicationId::new(required(wire.client_id, "clientId")?.to_ascii_lowercase()),
            client_secret,
            secret_id: given(wire.oauth_secret_id).map(SecretId::new),
            service_principal_id: given(wire.service_principal_id).map(ServicePrincipalId::new),
            account_id: given(wire.account_id),
            host: host.map(|text| Workspace::parse(&text).map_err(|_| ValueError::Invalid("host"))).transpose()?,
            generation: wire.generation,
            created_at: wire.created_at,
            expires_at: wire.expires_at,
            journal: given(wire.journal),
        })
    }

    /// The whole credential, if this value has everything that lakekey writes.
    pub fn complete(&self) -> Option<StoredCredential> {
        self.clone().into_complete().ok()
    }

    fn into_complete(self) -> Result<StoredCredential, ValueError> {
        Ok(StoredCredential {
            client_id: self.client_id,
            client_secret: self.client_secret,
            secret_id: self.secret_id.ok_or(ValueError::Missing("oauthSecretId"))?,
            service_principal_id: self.service_principal_id.ok_or(ValueError::Missing("servicePrincipalId"))?,
            account_id: self.account_id,
            host: self.host.ok_or(ValueError::Missing("host"))?,
            generation: self.generation.ok_or(ValueError::Missing("generation"))?,
            created_at: self.created_at.ok_or(ValueError::Missing("createdAt"))?,
            expires_at: self.expires_at,
            journal: self.journal,
        })
    }
}

impl From<StoredCredential> for StoredValue {
    fn from(credential: StoredCredential) -> Self {
        Self {
            client_id: credential.client_id,
            client_secret: credential.client_secret,
            secret_id: Some(credential.secret_id),
            service_principal_id: Some(credential.service_principal_id),
            account_id: credential.account_id,
            host: Some(credential.host),
            generation: Some(credential.generation),
            created_at: Some(credential.created_at),
            expires_at: credential.expires_at,
            journal: credential.journal,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireOut<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    oauth_secret_id: &'a str,
    service_principal_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a str>,
    host: &'a str,
    generation: Generation,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireIn {
    client_id: Option<String>,
    client_secret: Option<String>,
    oauth_secret_id: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    service_principal_id: Option<String>,
    account_id: Option<String>,
    host: Option<String>,
    generation: Option<Generation>,
    created_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    journal: Option<String>,
}

/// People who copy the id from a console write it as a number.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    Ok(Option::<Id>::deserialize(deserializer)?.map(|id| match id {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    }))
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn required(text: Option<String>, field: &'static str) -> Result<String, ValueError> {
    given(text).ok_or(ValueError::Missing(field))
}

/// Bound of one value in a store: Secrets Manager and Key Vault allow no more than 64 KiB either.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
pub(crate) mod tests {
    use super::{StoredCredential, StoredValue, ValueError};
    use crate::ids::{ApplicationId, Generation, SecretId, ServicePrincipalId, Workspace};
    use crate::secret::Secret;

    /// A complete credential whose secret is `secret` and whose secret id is `id`.
    pub(crate) fn credential(id: &str, secret: &str) -> StoredCredential {
        StoredCredential {
            client_id: ApplicationId::new("2c8e0f3a-0000-4000-8000-000000000001"),
            client_secret: Secret::new(secret),
            secret_id: SecretId::new(id),
            service_principal_id: ServicePrincipalId::new("8935275498264287"),
            account_id: None,
            host: Workspace::parse("adb-1.7.azuredatabricks.net").unwrap(),
            generation: Generation(3),
            created_at: "2026-11-01T00:00:00Z".parse().unwrap(),
            expires_at: Some("2026-11-15T00:00:00Z".parse().unwrap()),
            journal: Some("ab".repeat(32)),
        }
    }

    #[test]
    fn a_stored_value_reads_as_the_contract_says_and_comes_back() {
        let json = credential("id-1", "dose123").to_json();
        assert_eq!(
            std::str::from_utf8(&json).unwrap(),
            format!(
                r#"{{"clientId":"2c8e0f3a-0000-4000-8000-000000000001","clientSecret":"dose123","oauthSecretId":"id-1","servicePrincipalId":"8935275498264287","host":"https://adb-1.7.azuredatabricks.net","generation":3,"createdAt":"2026-11-01T00:00:00Z","expiresAt":"2026-11-15T00:00:00Z","journal":"{}"}}"#,
                "ab".repeat(32)
            )
        );
        let back = StoredCredential::from_json(&json).unwrap();
        assert_eq!(*back.to_json(), *json);
    }

    #[test]
    fn the_plain_aws_shape_can_be_adopted() {
        let json = br#"{"clientId":"2C8E","clientSecret":"dose1","oauthSecretId":"i","servicePrincipalId":8935275498264287,"accountId":"7a3a","adminSecretArn":"x"}"#;
        let value = StoredValue::from_json(json).unwrap();
        assert_eq!(value.client_id.as_str(), "2c8e");
        assert_eq!(value.service_principal_id, Some(ServicePrincipalId::new("8935275498264287")));
        assert_eq!(value.account_id.as_deref(), Some("7a3a"));
        assert!(value.complete().is_none());
        assert_eq!(StoredCredential::from_json(json).unwrap_err(), ValueError::Missing("host"));
    }

    #[test]
    fn an_error_never_repeats_the_value() {
        let broken: [&[u8]; 5] = [
            b"dose-secret",
            br#"{"clientId":"a","clientSecret":["dose-secret"]}"#,
            br#"{"clientId":"a","clientSecret":"dose-secret","host":"ftp://dose-secret"}"#,
            br#"{"clientId":"a","clientSecret":"dose-secret","createdAt":"dose-secret"}"#,
            br#"{"clientSecret":"dose-secret"}"#,
        ];
        for json in broken {
            let error = StoredValue::from_json(json).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("dose-secret"));
        }
        assert!(!format!("{:?}", credential("id", "dose-secret")).contains("dose-secret"));
    }
}
