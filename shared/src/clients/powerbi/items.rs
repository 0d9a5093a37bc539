//! What else can use a data source: dataflows and paginated reports. lakekey writes neither: their credentials are entered by
//! hand, and whoever rotates a secret wants to know of them.

use serde::Deserialize;

use super::request::id;
use super::wire::{DatasetSourceRow, List};
use super::{DatasetSource, PowerBi};
use crate::http::HttpError;
use crate::ids::GroupId;

/// Something in a workspace that is no dataset and has data sources of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Kinds of such things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// A dataflow.
    Dataflow,
    /// A paginated report.
    PaginatedReport,
}

impl ItemKind {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dataflow => "dataflow",
            Self::PaginatedReport => "paginated report",
        }
    }

    /// What its id begins with where ids of several kinds are listed.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Dataflow => "dataflow",
            Self::PaginatedReport => "report",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Dataflow => "dataflows",
            Self::PaginatedReport => "reports",
        }
    }
}

impl PowerBi {
    /// The dataflows of a workspace.
    pub async fn dataflows(&self, group: &GroupId) -> Result<Vec<Item>, HttpError> {
        let list: List<DataflowRow> = self.get("list dataflows", &["groups", group.as_str(), "dataflows"], None).await?;
        Ok(list.value.into_iter().filter_map(DataflowRow::item).collect())
    }

    /// The paginated reports of a workspace; other reports use a dataset, and none of their own data sources.
    pub async fn paginated_reports(&self, group: &GroupId) -> Result<Vec<Item>, HttpError> {
        let list: List<ReportRow> = self.get("list reports", &["groups", group.as_str(), "reports"], None).await?;
        Ok(list.value.into_iter().filter_map(ReportRow::item).collect())
    }

    /// The data sources of such a thing.
    pub async fn item_sources(&self, group: &GroupId, item: &Item) -> Result<Vec<DatasetSource>, HttpError> {
        let what = match item.kind {
            ItemKind::Dataflow => "list data sources of a dataflow",
            ItemKind::PaginatedReport => "list data sources of a report",
        };
        let path = ["groups", group.as_str(), item.kind.folder(), &item.id, "datasources"];
        let list: List<DatasetSourceRow> = self.get(what, &path, None).await?;
        Ok(list.value.into_iter().map(DatasetSourceRow::source).collect())
    }
}

#[derive(Deserialize)]
pub(super) struct DataflowRow {
    #[serde(alias = "ObjectId")]
    #[serde(rename = "objectId")]
    id: String,
    #[serde(default, alias = "Name")]
    name: Option<String>,
}

impl DataflowRow {
    pub(super) fn item(self) -> Option<Item> {
        Some(Item { kind: ItemKind::Dataflow, id: id(&self.id)?, name: self.name.unwrap_or_default() })
    }
}

#[derive(Deserialize)]
pub(super) struct ReportRow {
    #[serde(alias = "Id")]
    id: String,
    #[serde(default, alias = "Name")]
    name: Option<String>,
    #[serde(default, rename = "reportType", alias = "ReportType")]
    kind: Option<String>,
}

impl ReportRow {
    pub(super) fn item(self) -> Option<Item> {
        self.kind.as_deref().filter(|kind| *kind == "PaginatedReport")?;
        Some(Item { kind: ItemKind::PaginatedReport, id: id(&self.id)?, name: self.name.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paginated_reports_are_told_from_others_and_kinds_that_are_new_are_none() {
        let body = r#"{"value":[{"id":"A","name":"Bills","reportType":"PaginatedReport"},{"id":"B","reportType":"PowerBIReport"},
            {"id":"C"},{"id":"D","reportType":"Hologram"},{"id":"..","reportType":"PaginatedReport"}]}"#;
        let list: List<ReportRow> = serde_json::from_str(body).unwrap();
        let items: Vec<_> = list.value.into_iter().filter_map(ReportRow::item).collect();
        assert_eq!(items, [Item { kind: ItemKind::PaginatedReport, id: "A".to_owned(), name: "Bills".to_owned() }]);
        let row: DataflowRow = serde_json::from_str(r#"{"objectId":"F","name":null,"modelUrl":"x"}"#).unwrap();
        assert_eq!(row.item().unwrap().id, "F");
    }
}
