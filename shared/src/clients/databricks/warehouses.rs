//! SQL warehouses and who may use them. Rights are read first and only ever added: PUT would wipe everybody else's.

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Databricks, segment};
use crate::http::{Effect, HttpError, json};
use crate::ids::{ApplicationId, WarehouseId};

/// A SQL warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warehouse {
    /// Its id.
    pub id: WarehouseId,
    /// Its name.
    pub name: String,
    /// `RUNNING`, `STOPPED`…; a statement starts a stopped one.
    pub state: String,
    /// Its ODBC host, as data sources name it.
    pub host: Option<String>,
    /// Its ODBC path: `/sql/1.0/warehouses/{id}`, older ones `/sql/1.0/endpoints/{id}`.
    pub http_path: Option<String>,
}

impl Warehouse {
    /// Whether it is gone, or going.
    pub fn is_deleted(&self) -> bool {
        matches!(self.state.as_str(), "DELETING" | "DELETED")
    }
}

/// Whether a principal may run statements on a warehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// CAN_USE or more, given directly, by inheritance, or to the group of all users.
    CanUse,
    /// Not as far as the warehouse's own list says; membership in other groups is not looked at.
    None,
}

#[derive(Deserialize)]
struct WarehouseWire {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    state: String,
    odbc_params: Option<OdbcWire>,
}

#[derive(Deserialize)]
struct OdbcWire {
    hostname: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
struct PermissionsWire {
    #[serde(default)]
    access_control_list: Vec<EntryWire>,
}

#[derive(Deserialize)]
struct EntryWire {
    service_principal_name: Option<String>,
    group_name: Option<String>,
    #[serde(default)]
    all_permissions: Vec<PermissionWire>,
}

#[derive(Deserialize)]
struct PermissionWire {
    permission_level: Option<String>,
}

/// The request's shape differs from the answer's: one flat level.
#[derive(Serialize)]
struct GrantWire<'a> {
    access_control_list: [GrantEntryWire<'a>; 1],
}

#[derive(Serialize)]
struct GrantEntryWire<'a> {
    service_principal_name: &'a str,
    permission_level: &'static str,
}

impl Databricks {
    /// One warehouse.
    pub async fn warehouse(&self, warehouse: &WarehouseId) -> Result<Warehouse, HttpError> {
        let path = format!("/api/2.0/sql/warehouses/{}", segment(warehouse.as_str()));
        let wire: WarehouseWire = self.get("read the SQL warehouse", &path).await?;
        let (host, http_path) = wire.odbc_params.map(|odbc| (odbc.hostname, odbc.path)).unwrap_or_default();
        Ok(Warehouse { id: WarehouseId::new(wire.id), name: wire.name, state: wire.state, host, http_path })
    }

    /// Whether the principal may use the warehouse. Only those who manage the warehouse may ask; others get a 403.
    pub async fn warehouse_access(&self, warehouse: &WarehouseId, principal: &ApplicationId) -> Result<Access, HttpError> {
        let wire: PermissionsWire = self.get("read who may use the SQL warehouse", &permissions_path(warehouse)).await?;
        let concerns = |entry: &EntryWire| {
            let named = entry.service_principal_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(principal.as_str()));
            named || entry.group_name.as_deref() == Some("users")
        };
        let may_use = wire
            .access_control_list
            .iter()
            .filter(|entry| concerns(entry))
            .flat_map(|entry| &entry.all_permissions)
            .any(|permission| permission.permission_level.as_deref().is_some_and(includes_use));
        Ok(if may_use { Access::CanUse } else { Access::None })
    }

    /// Adds CAN_USE for the principal. PATCH merges, but may lower a higher level of the same principal: ask
    /// [`warehouse_access`](Self::warehouse_access) first.
    pub async fn grant_can_use(
        &self,
        warehouse: &WarehouseId,
        principal: &ApplicationId,
        not_after: Option<Timestamp>,
    ) -> Result<(), HttpError> {
        let entry = GrantEntryWire { service_principal_name: principal.as_str(), permission_level: "CAN_USE" };
        let body = GrantWire { access_control_list: [entry] };
        let request = json::request_with(Method::PATCH, &self.url(&permissions_path(warehouse)), &body);
        self.send("allow the service principal to use the SQL warehouse", request, Effect::Repeatable, not_after).await.map(drop)
    }
}

/// CAN_MONITOR is taken to include use: were it not so, giving CAN_USE in its place might lower what the principal has.
fn includes_use(level: &str) -> bool {
    matches!(level, "CAN_USE" | "CAN_MONITOR" | "CAN_MANAGE" | "IS_OWNER")
}

fn permissions_path(warehouse: &WarehouseId) -> String {
    format!("/api/2.0/permissions/warehouses/{}", segment(warehouse.as_str()))
}
