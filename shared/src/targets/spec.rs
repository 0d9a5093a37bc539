//! What is known of one target when a rotation is planned. Frozen into the journal; holds no secret.

use serde::{Deserialize, Deserializer, Serialize};

use crate::clients::fabric::ConnectionType;
use crate::clients::powerbi::DatabricksSource;
use crate::ids::{DatasetId, DatasourceId, GatewayId, GroupId, TargetId, Text, WarehouseId};

/// One data source that holds the credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSpec {
    /// Its id.
    pub id: TargetId,
    /// How it is reached.
    pub kind: TargetKind,
    /// The gateway, or the virtual gateway of a cloud source; `None` for a connection that shows none.
    pub gateway: Option<GatewayId>,
    /// The data source; also the id of its Fabric connection.
    pub datasource: DatasourceId,
    /// The connector.
    pub source: SourceKind,
    /// Databricks host, lower case.
    pub host: Text,
    /// The HTTP path as the data source spells it.
    pub http_path: Text,
    /// The SQL warehouse that the path names; `None` for a cluster.
    pub warehouse: Option<WarehouseId>,
    /// Datasets that use it, as far as the identity can see; a cloud source is written as the owner of one of them.
    #[serde(deserialize_with = "exact")]
    pub datasets: Vec<DatasetRef>,
    /// The dataset that must be taken over before the first write.
    pub take_over: Option<DatasetId>,
    /// For what is written through Fabric: how it is reached, which must still be so when it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectivity: Option<ConnectionType>,
}

/// How a target is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// A cloud data source of a dataset, written by the dataset's owner.
    Cloud,
    /// A data source of an on-premises gateway, written by its administrator with sealed credentials.
    Gateway,
    /// A data source of a virtual network gateway, written through Fabric: Power BI does not serve these.
    Vnet,
    /// A Fabric connection that a row names, written through Fabric by an owner of the connection, whoever owns the datasets.
    Connection,
}

/// The connector of a data source; only these two hold a Databricks credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceKind {
    /// Azure Databricks.
    Databricks,
    /// Databricks on AWS and GCP.
    DatabricksMultiCloud,
}

/// A dataset that uses a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRef {
    /// The workspace's name.
    pub workspace: Text,
    /// The workspace's id.
    pub group: GroupId,
    /// The dataset's name.
    pub name: Text,
    /// The dataset's id.
    pub id: DatasetId,
    /// Who configured it, as Power BI says.
    pub owner: Option<Text>,
}

/// In no more memory than they need: ten thousand of these are kept.
fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DatasetRef>, D::Error> {
    let mut datasets: Vec<DatasetRef> = Deserialize::deserialize(deserializer)?;
    datasets.shrink_to_fit();
    Ok(datasets)
}

impl TargetSpec {
    /// A target that needs no take-over.
    pub(crate) fn new(
        kind: TargetKind,
        (gateway, datasource): (&GatewayId, &DatasourceId),
        source: &DatabricksSource,
        datasets: Vec<DatasetRef>,
    ) -> Self {
        Self {
            id: TargetId::powerbi(gateway, datasource),
            kind,
            gateway: Some(gateway.clone()),
            datasource: datasource.clone(),
            source: source.kind,
            host: source.host.clone(),
            http_path: source.http_path.clone(),
            warehouse: source.warehouse.clone(),
            datasets,
            take_over: None,
            connectivity: None,
        }
    }

    /// A target that is written through Fabric.
    pub(crate) fn connection(
        kind: TargetKind,
        connectivity: ConnectionType,
        (gateway, connection): (Option<&GatewayId>, &DatasourceId),
        source: &DatabricksSource,
        datasets: Vec<DatasetRef>,
    ) -> Self {
        Self {
            id: TargetId::of(gateway, connection),
            kind,
            gateway: gateway.cloned(),
            datasource: connection.clone(),
            source: source.kind,
            host: source.host.clone(),
            http_path: source.http_path.clone(),
            warehouse: source.warehouse.clone(),
            datasets,
            take_over: None,
            connectivity: Some(connectivity),
        }
    }
}
