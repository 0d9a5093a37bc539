//! The answer of `discover`: every Databricks data source that the identities can see, and the mapping list made of them.

use serde::{Deserialize, Serialize};

use super::LeftOut;
use crate::config::mapping::{self, guarded};
use crate::error::Problem;
use crate::ids::{CredentialName, DatasetId, DatasourceId, GatewayId, GroupId, IdentityName, TargetId, WarehouseId};
use crate::targets::SourceKind;

/// The answer of `discover`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoverReport {
    /// Who looked, and how.
    pub identities: Vec<Looker>,
    /// Every Databricks data source, sorted by id.
    pub datasources: Vec<Discovered>,
    /// What else uses Databricks and is not covered.
    pub left: Vec<LeftOut>,
    /// What kept something from being seen or listed; nothing failed.
    pub problems: Vec<Problem>,
}

/// An identity that looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looker {
    /// Its name in the config.
    pub name: IdentityName,
    /// `workspaces`: one by one, those in which it has a role. `scanner`: every workspace of the tenant.
    pub by: String,
}

/// One data source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    /// Its id, as a target's.
    pub id: TargetId,
    /// How it is reached: `cloud`, `gateway`, `vnet`, `personal-gateway` or `unknown`.
    pub kind: String,
    /// Power BI's id of it, which is that of its Fabric connection too.
    pub datasource: DatasourceId,
    /// As its gateway or Fabric calls it.
    pub name: Option<String>,
    /// Its gateway; `null` for cloud sources.
    pub gateway: Option<NamedGateway>,
    /// The connector.
    pub connector: SourceKind,
    /// The Databricks host.
    pub host: String,
    /// The HTTP path as the data source spells it.
    pub http_path: String,
    /// The SQL warehouse; `null` for a cluster.
    pub warehouse: Option<WarehouseId>,
    /// The kind of credential that it holds, in the service's spelling; `null` where nobody says.
    pub credential_kind: Option<String>,
    /// The datasets that use it, as far as they can be seen.
    pub datasets: Vec<DiscoveredDataset>,
    /// The credentials of the config that select it now.
    pub selected_by: Vec<CredentialName>,
    /// Its row of the mapping list; `null` where it has none.
    pub mapping: Option<MappingRow>,
    /// Why it could not be a target; `null` where it could.
    pub left: Option<String>,
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedGateway {
    /// Its id.
    pub id: GatewayId,
    /// Its name; empty where it is not shown.
    pub name: String,
}

/// A dataset that uses a data source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveredDataset {
    /// The name of its Power BI workspace.
    pub workspace: String,
    /// The id of its Power BI workspace.
    pub workspace_id: GroupId,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: DatasetId,
    /// Who owns it, as Power BI says.
    pub owner: Option<String>,
}

/// One row of the mapping list, its fields those of the list's columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingRow {
    /// The data source's name where that is unique, else its id.
    pub gateway_data_source: String,
    /// The Databricks workspace that it connects to.
    pub workspace: String,
    /// The SQL warehouse that it connects to.
    pub warehouse: WarehouseId,
    /// The principal of the credential that it belongs to, as the config names it.
    pub service_principal: String,
    /// The gateway's name or id; empty for cloud sources.
    pub gateway: String,
}

impl DiscoverReport {
    /// The mapping list. No cell begins as a formula does; whoever reads the list as `mapping` gets the cells' own text.
    pub fn mapping_list(&self) -> String {
        let mut list = csv::WriterBuilder::new().from_writer(Vec::new());
        let rows = self.datasources.iter().filter_map(|found| found.mapping.as_ref()).map(MappingRow::cells);
        let header = mapping::COLUMNS.map(str::to_owned);
        for row in std::iter::once(header).chain(rows) {
            list.write_record(row).expect("a vector takes every row, and all have the same number of cells");
        }
        let bytes = list.into_inner().expect("a vector takes every row");
        String::from_utf8(bytes).expect("every cell is text")
    }
}

impl MappingRow {
    fn cells(&self) -> [String; 5] {
        let Self { gateway_data_source, workspace, warehouse, service_principal, gateway } = self;
        [gateway_data_source, workspace, warehouse.as_str(), service_principal, gateway].map(guarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_header_and_no_cell_that_a_spreadsheet_would_run() {
        assert_eq!(
            DiscoverReport::default().mapping_list(),
            "gateway_data_source,workspace,warehouse,service_principal,gateway\n"
        );
        let row = MappingRow {
            gateway_data_source: "=HYPERLINK(\"x\"), y".to_owned(),
            workspace: "https://h".to_owned(),
            warehouse: WarehouseId::new("w"),
            service_principal: "@pbi".to_owned(),
            gateway: "-1\nGW".to_owned(),
        };
        assert_eq!(row.cells(), ["'=HYPERLINK(\"x\"), y", "https://h", "w", "'@pbi", "'-1\nGW"].map(str::to_owned));
    }
}
