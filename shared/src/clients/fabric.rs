//! The Fabric REST API, as far as lakekey uses it: connections, which tell what Power BI does not about cloud sources
//! (how they are reached, their privacy level, their single sign-on) and are the only way to virtual network gateways.
//! Operations that take time are followed in `operations.rs`, gateways are in `gateways.rs`, the write is in `update.rs`.

mod connectivity;
mod gateways;
mod operations;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::powerbi::DatabricksSource;
use super::powerbi::request::{address, flag, id, target};
pub use connectivity::{ConnectionType, Connectivity};
pub use gateways::{FabricGateway, Member, NetworkKind};
pub use operations::ConnectionStatus;
pub use update::{ConnectionUpdate, NewCredentials, SealedFor, UpdateDetails};

use crate::http::memo::Memo;
use crate::http::{Call, Effect, Http, HttpError, Service, json, page};
use crate::identity::Signer;
use crate::ids::{DatasourceId, GatewayId, Text};

/// The Fabric REST API, as one identity sees it. Clones share its token and limits.
#[derive(Clone)]
pub struct Fabric {
    http: Arc<Http>,
    base: Url,
    signer: Signer,
    memo: Option<Memo>,
}

/// A connection; its id is that of Power BI's data source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its id.
    pub id: DatasourceId,
    /// Its name.
    pub name: Option<String>,
    /// How it is reached.
    pub connectivity: Connectivity,
    /// The gateway; a virtual one for cloud connections.
    pub gateway: Option<GatewayId>,
    /// Where it connects to, for the Databricks connectors.
    pub databricks: Option<DatabricksSource>,
    /// Its privacy level, in the service's spelling.
    pub privacy_level: Option<Text>,
    /// The kind of credential it holds, in the service's spelling.
    pub credential_type: Option<Text>,
    /// `None`, `MicrosoftEntraID` and others, in the service's spelling.
    pub single_sign_on: Option<Text>,
    /// `Encrypted`, `Any`, `NotEncrypted` and maybe others, in the service's spelling.
    pub encryption: Option<Text>,
    /// Whether the service leaves out the attempt to connect when a credential is written.
    pub skip_test: Option<bool>,
}

impl Fabric {
    /// A client for the API at `base`.
    pub fn new(http: Arc<Http>, base: Url, signer: Signer) -> Self {
        Self { http, base, signer, memo: None }
    }

    /// The same client, whose reads are shared with everybody who has this memo.
    #[must_use]
    pub fn sharing(self, memo: Option<Memo>) -> Self {
        Self { memo, ..self }
    }

    /// How many credentials share its reads.
    pub fn askers(&self) -> usize {
        self.memo.as_ref().map_or(1, Memo::askers)
    }

    /// Who the client is.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// One connection; the identity needs a role on it, or must administer its gateway.
    pub async fn connection(&self, connection: &DatasourceId) -> Result<Connection, HttpError> {
        let row: ConnectionRow = self.get("read a connection", &["connections", connection.as_str()], None).await?;
        Ok(row.with_id(connection))
    }

    /// Every connection that the identity has a role on.
    pub async fn connections(&self) -> Result<Arc<BTreeMap<DatasourceId, Connection>>, HttpError> {
        const WHAT: &str = "list connections";
        let url = self.address(&["connections"], None);
        let list = target(&Method::GET, &url);
        let ask = async {
            let connections: Vec<Connection> = page::collect(WHAT, &list, async |token: Option<String>| {
                let query = token.as_deref().map(continuation);
                let page: Page<ConnectionRow> = self.get_anew(WHAT, &["connections"], query.as_deref()).await?;
                Ok((page.value.into_iter().filter_map(ConnectionRow::connection).collect(), page.continuation_token))
            })
            .await?;
            Ok(connections.into_iter().map(|connection| (connection.id.clone(), connection)).collect())
        };
        match &self.memo {
            Some(memo) => memo.share(format!("{} {WHAT} {url}", self.signer.identity()), (WHAT, &list), Box::pin(ask)).await,
            None => Box::pin(ask).await.map(Arc::new),
        }
    }

    async fn get<T: DeserializeOwned>(&self, what: &'static str, path: &[&str], query: Option<&str>) -> Result<T, HttpError> {
        let Some(memo) = &self.memo else { return self.get_anew(what, path, query).await };
        let url = self.address(path, query);
        let place = target(&Method::GET, &url);
        let ask = Box::pin(self.send(what, json::request(Method::GET, url.as_str()), None));
        let answer = memo.read(format!("{} {url}", self.signer.identity()), (what, &place), ask).await?;
        json::read(what, &place, &answer)
    }

    async fn get_anew<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &[&str],
        query: Option<&str>,
    ) -> Result<T, HttpError> {
        let url = self.address(path, query);
        let answer = Box::pin(self.send(what, json::request(Method::GET, url.as_str()), None)).await?;
        json::read(what, &target(&Method::GET, &url), &answer)
    }

    /// Everything that is asked of Fabric may be asked twice.
    async fn send(
        &self,
        what: &'static str,
        request: Request<Bytes>,
        not_after: Option<Timestamp>,
    ) -> Result<Response<Bytes>, HttpError> {
        let effect = Effect::Repeatable;
        let call = Call { service: Service::Fabric, what, request, signer: Some(&self.signer), effect, not_after };
        self.http.send(call).await
    }

    fn address(&self, path: &[&str], query: Option<&str>) -> Url {
        address(&self.base, &[&["v1"], path].concat(), query)
    }
}

/// Tokens arrive percent-encoded already (`LDEsMTAwMDAwLDA%3D`), and might one day not.
fn continuation(token: &str) -> String {
    let plain = percent_decode_str(token).decode_utf8_lossy();
    format!("continuationToken={}", utf8_percent_encode(&plain, NON_ALPHANUMERIC))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    value: Vec<T>,
    continuation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionRow {
    id: Option<String>,
    display_name: Option<String>,
    gateway_id: Option<String>,
    connectivity_type: Option<String>,
    #[serde(default)]
    connection_details: Value,
    privacy_level: Option<String>,
    credential_details: Option<CredentialRow>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialRow {
    credential_type: Option<String>,
    single_sign_on_type: Option<String>,
    connection_encryption: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    skip_test_connection: Option<bool>,
}

impl ConnectionRow {
    fn connection(self) -> Option<Connection> {
        let id = DatasourceId::new(id(self.id.as_deref()?)?);
        Some(self.with_id(&id))
    }

    fn with_id(self, connection: &DatasourceId) -> Connection {
        let credential = self.credential_details.unwrap_or_default();
        Connection {
            id: connection.clone(),
            name: self.display_name,
            connectivity: Connectivity::parse(self.connectivity_type),
            gateway: self.gateway_id.as_deref().and_then(id).map(GatewayId::new),
            databricks: DatabricksSource::parse(&self.connection_details),
            privacy_level: self.privacy_level.filter(|level| !level.is_empty()).map(Text::new),
            credential_type: credential.credential_type.map(Text::new),
            single_sign_on: credential.single_sign_on_type.map(Text::new),
            encryption: credential.connection_encryption.map(Text::new),
            skip_test: credential.skip_test_connection,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_token_is_encoded_exactly_once() {
        assert_eq!(continuation("LDEsMTAwMDAwLDA%3D"), "continuationToken=LDEsMTAwMDAwLDA%3D");
        assert_eq!(continuation("LDEsMTAwMDAwLDA="), "continuationToken=LDEsMTAwMDAwLDA%3D");
        assert_eq!(continuation("a+b/c&d"), "continuationToken=a%2Bb%2Fc%26d");
        let url = address(&Url::parse("https://f").unwrap(), &["v1"], Some(&continuation("LDE%3D")));
        assert_eq!(url.as_str(), "https://f/v1?continuationToken=LDE%3D");
    }

    #[test]
    fn connections_are_read_with_whatever_they_leave_out() {
        let body = r#"{"continuationToken":"t","continuationUri":"x","value":[
            {"id":"C1","displayName":"n","gatewayId":"g","connectivityType":"ShareableCloud","privacyLevel":"Organizational",
             "connectionDetails":{"type":"Databricks","path":"{\"host\":\"h.azuredatabricks.net\",\"httpPath\":\"/sql/1.0/warehouses/w\"}"},
             "credentialDetails":{"credentialType":"Basic","singleSignOnType":"MicrosoftEntraID","connectionEncryption":"Any"}},
            {"id":"C2","connectivityType":"Telepathy"},{"connectivityType":"Automatic"}]}"#;
        let page: Page<ConnectionRow> = serde_json::from_str(body).unwrap();
        let connections: Vec<_> = page.value.into_iter().filter_map(ConnectionRow::connection).collect();
        assert_eq!(connections.len(), 2);
        assert_eq!(connections[0].connectivity, Connectivity::Writable(ConnectionType::ShareableCloud));
        assert_eq!((connections[0].encryption.as_deref(), connections[0].skip_test), (Some("Any"), None));
        assert_eq!(connections[0].databricks.as_ref().unwrap().http_path, "/sql/1.0/warehouses/w");
        assert_eq!(connections[0].single_sign_on.as_deref(), Some("MicrosoftEntraID"));
        assert_eq!(connections[1].connectivity, Connectivity::Other(Some("Telepathy".to_owned())));
    }
}
