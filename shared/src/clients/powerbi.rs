//! The Power BI REST API, as far as lakekey uses it. Only `groups/…` and `gateways/…` paths: a service principal may not
//! use those of "My workspace". Answers are read leniently, because the documents disagree about casing and presence;
//! rows without a usable id are left out.

mod connection;
mod items;
pub(in crate::clients) mod request;
mod scanner;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

pub use connection::DatabricksSource;
pub use items::{Item, ItemKind};
pub use scanner::{ScannedGroup, Scanner};

use crate::http::memo::{self, Memo};
use crate::http::page::PageError;
use crate::http::{Call, Effect, Http, HttpError, Sent, Service, json};
use crate::identity::Signer;
use crate::ids::{DatasetId, DatasourceId, GatewayId, GroupId, Text};
use request::{address, target};
use wire::{DatasetRow, DatasetSourceRow, GatewayRow, GatewaySourceRow, GroupRow, List, RefreshRow};

/// The Power BI REST API, as one identity sees it. Clones share its token and limits.
#[derive(Clone)]
pub struct PowerBi {
    http: Arc<Http>,
    base: Url,
    signer: Signer,
    memo: Option<Memo>,
}

/// A workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: Text,
    /// Whether it is somebody's own ("My workspace"), whose paths are closed to service principals.
    pub is_personal: bool,
}

/// A dataset (semantic model).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its id.
    pub id: DatasetId,
    /// Its name.
    pub name: Text,
    /// Its owner: a user name, or an id of a service principal.
    pub configured_by: Option<Text>,
    /// Whether one of its data sources at least is reached through a gateway.
    pub needs_gateway: bool,
}

/// A data source as a dataset uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSource {
    /// The gateway it is bound to; a virtual one for cloud sources; `None` when it is not bound.
    pub gateway: Option<GatewayId>,
    /// The data source it is bound to; `None` when it is not bound.
    pub datasource: Option<DatasourceId>,
    /// Where it connects to, for the Databricks connectors.
    pub databricks: Option<DatabricksSource>,
}

/// A gateway that the identity administers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// Its name; the virtual gateways of cloud sources have none.
    pub name: Option<String>,
    /// The key that credentials are sealed with; the virtual gateways of cloud sources have none.
    pub public_key: Option<GatewayKey>,
}

/// An RSA public key in base64, as Power BI gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayKey {
    /// The modulus, big-endian.
    pub modulus: String,
    /// The exponent, big-endian.
    pub exponent: String,
}

/// A data source of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySource {
    /// Its gateway.
    pub gateway: GatewayId,
    /// Its id.
    pub id: DatasourceId,
    /// Its name.
    pub name: Option<String>,
    /// Where it connects to, for the Databricks connectors.
    pub databricks: Option<DatabricksSource>,
    /// The kind of credential it holds, in the service's spelling.
    pub credential_type: Option<String>,
    /// Its privacy level, in the service's spelling.
    pub privacy_level: Option<String>,
    /// Whether viewers' own sign-in is used for DirectQuery (`useEndUserOAuth2Credentials`).
    pub single_sign_on: Option<bool>,
}

/// Which of the two ways to refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshKind {
    /// Any capacity has it.
    Standard,
    /// Only dedicated capacities have it.
    Enhanced,
}

/// One refresh of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// Its id.
    pub request_id: Option<String>,
    /// `Unknown` while it runs, then `Completed`, `Failed`, `Disabled`, `Cancelled` or something newer.
    pub status: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// Power BI's code for why it failed.
    pub error_code: Option<String>,
}

/// The body of an update: private to the wire, holds a secret, has no `Debug`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialDetails<'a> {
    /// `Basic`.
    pub credential_type: &'static str,
    /// JSON text, or what was sealed.
    pub credentials: &'a str,
    /// `Encrypted`.
    pub encrypted_connection: &'static str,
    /// `None` or `RSA-OAEP`.
    pub encryption_algorithm: &'static str,
    /// As it was.
    pub privacy_level: &'a str,
    /// As it was; left out where it is not known.
    #[serde(rename = "useEndUserOAuth2Credentials", skip_serializing_if = "Option::is_none")]
    pub single_sign_on: Option<bool>,
}

/// Whether the service definitely said no: a status that another attempt would not change.
pub fn is_refusal(error: &HttpError) -> bool {
    error.status().is_some_and(memo::is_final)
}

/// Rows asked for in one page of workspaces, and the pages read at most: half a million workspaces.
const GROUPS_PER_PAGE: usize = 5000;
const GROUP_PAGES_MAX: usize = 100;

impl PowerBi {
    /// A client for the API at `base`.
    pub fn new(http: Arc<Http>, base: Url, signer: Signer) -> Self {
        Self { http, base, signer, memo: None }
    }

    /// The same client, whose reads are shared with everybody who has this memo.
    #[must_use]
    pub fn sharing(self, memo: Option<Memo>) -> Self {
        Self { memo, ..self }
    }

    /// Who the client is.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Every workspace that the identity is a member of.
    pub async fn groups(&self) -> Result<Arc<BTreeMap<GroupId, Group>>, HttpError> {
        self.shared("list workspaces", &["groups"], self.all_groups()).await
    }

    async fn all_groups(&self) -> Result<BTreeMap<GroupId, Group>, HttpError> {
        const WHAT: &str = "list workspaces";
        let mut groups = BTreeMap::new();
        let mut skip = 0;
        for _ in 0..GROUP_PAGES_MAX {
            let query = format!("$top={GROUPS_PER_PAGE}&$skip={skip}");
            let page: List<GroupRow> = self.get_anew(WHAT, &["groups"], Some(&query)).await?;
            // A service that caps a page below what was asked still has more: only a page without news is the end.
            let (rows, known) = (page.value.len(), groups.len());
            groups.extend(page.value.into_iter().filter_map(GroupRow::group).map(|group| (group.id.clone(), group)));
            if groups.len() == known {
                return Ok(groups);
            }
            skip += rows;
        }
        Err(HttpError::unusable(WHAT, &target(&Method::GET, &self.address(&["groups"], None)), PageError::TooMany))
    }

    /// The datasets of a workspace.
    pub async fn datasets(&self, group: &GroupId) -> Result<Arc<Vec<Dataset>>, HttpError> {
        const WHAT: &str = "list datasets";
        let path = ["groups", group.as_str(), "datasets"];
        let ask = async {
            let list: List<DatasetRow> = self.get_anew(WHAT, &path, None).await?;
            Ok(list.kept(DatasetRow::dataset))
        };
        self.shared(WHAT, &path, ask).await
    }

    /// The data sources that a dataset uses.
    pub async fn dataset_sources(&self, group: &GroupId, dataset: &DatasetId) -> Result<Vec<DatasetSource>, HttpError> {
        let path = ["groups", group.as_str(), "datasets", dataset.as_str(), "datasources"];
        let list: List<DatasetSourceRow> = self.get("list data sources of a dataset", &path, None).await?;
        Ok(list.kept(|row| Some(row.source())))
    }

    /// The on-premises gateways that the identity administers.
    pub async fn gateways(&self) -> Result<Vec<Gateway>, HttpError> {
        let list: List<GatewayRow> = self.get("list gateways", &["gateways"], None).await?;
        Ok(list.kept(GatewayRow::gateway))
    }

    /// One gateway.
    pub async fn gateway(&self, gateway: &GatewayId) -> Result<Gateway, HttpError> {
        let row: GatewayRow = self.get("read a gateway", &["gateways", gateway.as_str()], None).await?;
        Ok(row.with_id(gateway))
    }

    /// The data sources of a gateway.
    pub async fn gateway_sources(&self, gateway: &GatewayId) -> Result<Arc<Vec<GatewaySource>>, HttpError> {
        const WHAT: &str = "list data sources of a gateway";
        let path = ["gateways", gateway.as_str(), "datasources"];
        let ask = async {
            let list: List<GatewaySourceRow> = self.get_anew(WHAT, &path, None).await?;
            Ok(list.kept(|row| row.source(gateway)))
        };
        self.shared(WHAT, &path, ask).await
    }

    /// One data source of a gateway.
    pub async fn gateway_source(&self, gateway: &GatewayId, source: &DatasourceId) -> Result<GatewaySource, HttpError> {
        let path = ["gateways", gateway.as_str(), "datasources", source.as_str()];
        let row: GatewaySourceRow = self.get("read a data source of a gateway", &path, None).await?;
        Ok(row.with_id(gateway, source))
    }

    /// Has the gateway try the credential that it holds; an error of status 400 says that it does not work.
    pub async fn gateway_source_status(&self, gateway: &GatewayId, source: &DatasourceId) -> Result<(), HttpError> {
        let path = ["gateways", gateway.as_str(), "datasources", source.as_str(), "status"];
        let request = json::request(Method::GET, self.address(&path, None).as_str());
        self.send("test a data source of a gateway", request, Effect::Repeatable, None).await.map(|_| ())
    }

    /// Replaces the credential of a data source. Repeatable: it sets a state. Power BI tries the credential before it answers.
    pub async fn update_source(
        &self,
        (gateway, source): (&GatewayId, &DatasourceId),
        details: &CredentialDetails<'_>,
        not_after: Timestamp,
    ) -> Result<Sent, HttpError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Update<'a> {
            credential_details: &'a CredentialDetails<'a>,
        }
        let path = ["gateways", gateway.as_str(), "datasources", source.as_str()];
        let body = Update { credential_details: details };
        let request = json::request_with(Method::PATCH, self.address(&path, None).as_str(), &body);
        self.send("update a data source", request, Effect::Repeatable, Some(not_after)).await
    }

    /// Makes the identity the owner of a dataset. Repeatable: it sets a state.
    pub async fn take_over(&self, group: &GroupId, dataset: &DatasetId, not_after: Timestamp) -> Result<(), HttpError> {
        let path = ["groups", group.as_str(), "datasets", dataset.as_str(), "Default.TakeOver"];
        let request = json::request(Method::POST, self.address(&path, None).as_str());
        self.send("take over a dataset", request, Effect::Repeatable, Some(not_after)).await.map(|_| ())
    }

    /// Starts a refresh of a dataset.
    pub async fn refresh(
        &self,
        group: &GroupId,
        dataset: &DatasetId,
        kind: RefreshKind,
        not_after: Timestamp,
    ) -> Result<(), HttpError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Start {
            #[serde(skip_serializing_if = "Option::is_none")]
            notify_option: Option<&'static str>,
            #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
            kind: Option<&'static str>,
        }
        let path = ["groups", group.as_str(), "datasets", dataset.as_str(), "refreshes"];
        let body = match kind {
            // The one option that shared capacities and service principals are both allowed.
            RefreshKind::Standard => Start { notify_option: Some("NoNotification"), kind: None },
            RefreshKind::Enhanced => Start { notify_option: None, kind: Some("Full") },
        };
        let request = json::request_with(Method::POST, self.address(&path, None).as_str(), &body);
        self.send("refresh a dataset", request, Effect::Once, Some(not_after)).await.map(|_| ())
    }

    /// The latest refreshes of a dataset, newest first.
    pub async fn refreshes(&self, group: &GroupId, dataset: &DatasetId, top: u32) -> Result<Vec<Refresh>, HttpError> {
        let path = ["groups", group.as_str(), "datasets", dataset.as_str(), "refreshes"];
        let query = format!("$top={}", top.max(1));
        let list: List<RefreshRow> = self.get("list refreshes of a dataset", &path, Some(&query)).await?;
        let mut refreshes: Vec<_> = list.value.into_iter().map(RefreshRow::refresh).collect();
        refreshes.sort_by_key(|refresh| std::cmp::Reverse(refresh.started));
        Ok(refreshes)
    }

    /// A long list that many credentials look into, read once for all of them.
    async fn shared<T: Send + Sync + 'static>(
        &self,
        what: &'static str,
        path: &[&str],
        ask: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<Arc<T>, HttpError> {
        let Some(memo) = &self.memo else { return Box::pin(ask).await.map(Arc::new) };
        let url = self.address(path, None);
        let key = format!("{} {what} {url}", self.signer.identity());
        memo.share(key, (what, &target(&Method::GET, &url)), Box::pin(ask)).await
    }

    async fn get<T: DeserializeOwned>(&self, what: &'static str, path: &[&str], query: Option<&str>) -> Result<T, HttpError> {
        let Some(memo) = &self.memo else { return self.get_anew(what, path, query).await };
        let url = self.address(path, query);
        let place = target(&Method::GET, &url);
        let ask = Box::pin(self.ask(what, &url));
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
        json::read(what, &target(&Method::GET, &url), &Box::pin(self.ask(what, &url)).await?)
    }

    async fn ask(&self, what: &'static str, url: &Url) -> Result<Response<Bytes>, HttpError> {
        let (request, signer) = (json::request(Method::GET, url.as_str()), Some(&self.signer));
        let call = Call { service: Service::PowerBi, what, request, signer, effect: Effect::Repeatable, not_after: None };
        self.http.send(call).await
    }

    async fn send(
        &self,
        what: &'static str,
        request: Request<Bytes>,
        effect: Effect,
        not_after: Option<Timestamp>,
    ) -> Result<Sent, HttpError> {
        let call = Call { service: Service::PowerBi, what, request, signer: Some(&self.signer), effect, not_after };
        let answer = self.http.send(call).await?;
        Ok(Sent::of(&answer))
    }

    fn address(&self, path: &[&str], query: Option<&str>) -> Url {
        address(&self.base, &[&["v1.0", "myorg"], path].concat(), query)
    }
}
