//! Writing a connection's credential. What is no part of the credential is sent back as it was read just before: the schema
//! says that an update leaves alone what it does not name, and this does not rely on it.

use http::Method;
use jiff::Timestamp;
use serde::Serialize;

use super::{ConnectionType, Fabric};
use crate::http::{HttpError, Sent, json};
use crate::ids::DatasourceId;

const WHAT: &str = "update a connection";

/// The body of an update: private to the wire, holds a secret, has no `Debug`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionUpdate<'a> {
    /// The connection's own; the service refuses any other.
    #[serde(rename = "connectivityType")]
    pub kind: ConnectionType,
    /// As it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy_level: Option<&'a str>,
    /// The credential and how it is used.
    pub credential_details: UpdateDetails<'a>,
}

/// The credential and how it is used.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateDetails<'a> {
    /// As it was.
    #[serde(rename = "singleSignOnType", skip_serializing_if = "Option::is_none")]
    pub single_sign_on: Option<&'a str>,
    /// As it was.
    #[serde(rename = "connectionEncryption", skip_serializing_if = "Option::is_none")]
    pub encryption: Option<&'a str>,
    /// As it was.
    #[serde(rename = "skipTestConnection", skip_serializing_if = "Option::is_none")]
    pub skip_test: Option<bool>,
    /// The new credential.
    pub credentials: NewCredentials<'a>,
}

/// A credential of type `Basic` in one of its two forms.
#[derive(Serialize)]
#[serde(untagged)]
pub enum NewCredentials<'a> {
    /// For cloud and virtual network: plain, inside TLS.
    #[serde(rename_all = "camelCase")]
    Plain {
        /// `Basic`.
        credential_type: &'static str,
        /// The client id.
        username: &'a str,
        /// The secret.
        password: &'a str,
    },
    /// For an on-premises gateway: one ciphertext for each member of its cluster.
    #[serde(rename_all = "camelCase")]
    Sealed {
        /// `Basic`.
        credential_type: &'static str,
        /// One for each member.
        values: &'a [SealedFor],
    },
}

/// What only one member can read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedFor {
    /// The member.
    #[serde(rename = "gatewayId")]
    pub member: String,
    /// Its ciphertext.
    #[serde(rename = "encryptedCredentials")]
    pub text: String,
}

impl Fabric {
    /// Replaces the credential of a connection. Repeatable: it sets a state. Unless the connection says otherwise the service
    /// tries the credential before it answers.
    pub async fn update_connection(
        &self,
        connection: &DatasourceId,
        update: &ConnectionUpdate<'_>,
        not_after: Timestamp,
    ) -> Result<Sent, HttpError> {
        let url = self.address(&["connections", connection.as_str()], None);
        let request = json::request_with(Method::PATCH, url.as_str(), update);
        self.send(WHAT, request, Some(not_after)).await.map(|answer| Sent::of(&answer))
    }
}
