//! A config for lakekey that fits a served cloud, and the line that `cargo sim` prints about it.

use std::path::Path;
use std::{fs, io};

use serde_json::{Value, json};

use crate::serve::Served;

/// Writes `lakekey.yaml` into `folder`, which must exist, and gives the contract's `sim` object.
pub fn sim_line(served: &Served, folder: &Path) -> io::Result<Value> {
    let path = folder.join("lakekey.yaml");
    let config = config(served, folder);
    // Every JSON document is a YAML document; its string escapes hold for any path and name.
    fs::write(&path, format!("{config:#}\n"))?;
    let (addresses, cast) = (served.cloud.addresses(), served.cloud.cast());
    Ok(json!({
        "entra": addresses.entra,
        "powerbi": addresses.powerbi,
        "fabric": addresses.fabric,
        "control": served.control,
        "databricks": addresses.databricks,
        "config": path,
        "env": { ADMIN_SECRET: cast.admin.client_secret, POWERBI_SECRET: cast.powerbi.client_secret },
    }))
}

fn config(served: &Served, folder: &Path) -> Value {
    let (addresses, cast) = (served.cloud.addresses(), served.cloud.cast());
    let file = |name: &str| format!("file:{}", folder.join(name).display());
    json!({
        "version": 1,
        "endpoints": { "entra": addresses.entra, "powerbi": addresses.powerbi, "fabric": addresses.fabric },
        "state": file("state"),
        "identities": {
            "dbx-admin": {
                "auth": "oauth-m2m",
                "client_id": cast.admin.client_id,
                "client_secret": format!("env:{ADMIN_SECRET}"),
            },
            "powerbi": {
                "auth": "azure-client-secret",
                "tenant_id": cast.tenant,
                "client_id": cast.powerbi.client_id,
                "client_secret": format!("env:{POWERBI_SECRET}"),
            },
        },
        "credentials": {
            "sales-bi": {
                "workspace": addresses.databricks[0],
                "also_workspaces": addresses.databricks[1..],
                "identity": "dbx-admin",
                "service_principal": cast.principal.display_name,
                "lifetime": "14d",
                "rotate_every": "7d",
                "grace": "24h",
                "store": file("store/sales-bi.json"),
                "warehouses": cast.warehouses[0],
                "verify": { "warehouse": cast.warehouses[0][0] },
                "targets": { "identity": "powerbi", "select": [{ "all": true }], "take_over": true },
            },
        },
    })
}

const ADMIN_SECRET: &str = "LAKEKEY_SIM_ADMIN_SECRET";
const POWERBI_SECRET: &str = "LAKEKEY_SIM_POWERBI_SECRET";
