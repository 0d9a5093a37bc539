//! A config for lakekey that fits a cloud, and the line that `cargo sim` prints about it.

use std::path::Path;
use std::{fs, io};

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::serve::Served;

/// Writes `lakekey.yaml` into `folder`, which must exist, and gives the contract's `sim` object.
pub fn sim_line(served: &Served, folder: &Path) -> io::Result<Value> {
    let path = folder.join("lakekey.yaml");
    fs::write(&path, served.cloud.config(folder))?;
    let addresses = served.cloud.addresses();
    Ok(json!({
        "entra": addresses.entra,
        "powerbi": addresses.powerbi,
        "fabric": addresses.fabric,
        "control": served.control,
        "databricks": addresses.databricks,
        "account": addresses.account,
        "config": path,
        "env": served.cloud.environment(),
    }))
}

impl Cloud {
    /// A config that rotates everything the cloud has, with state and store in `folder`.
    pub fn config(&self, folder: &Path) -> String {
        let (addresses, cast) = (self.addresses(), self.cast());
        let file = |name: &str| quoted(&format!("file:{}", folder.join(name).display()));
        let warehouses: Vec<String> = cast.warehouses[0].iter().map(|id| quoted(id)).collect();
        format!(
            r#"# lakekey's config for a simulated cloud; its addresses are gone when that ends.
version: 1
endpoints:
  entra: {entra}
  powerbi: {powerbi}
  fabric: {fabric}
state: {state}                   # the journal

identities:                      # how lakekey signs in
  dbx-admin: {{ auth: oauth-m2m, client_id: {admin}, client_secret: env:{ADMIN_SECRET} }}
  powerbi:                       # a member of the Power BI workspaces, and admin of their gateways
    auth: azure-client-secret
    tenant_id: {tenant}
    client_id: {app}
    client_secret: env:{POWERBI_SECRET}

credentials:
  sales-bi:
    workspace: {workspace}
    also_workspaces: [{others}]
    identity: dbx-admin
    service_principal: {principal}
    lifetime: 14d                # of a secret
    rotate_every: 7d
    grace: 24h                   # how long the previous secret lives on
    store: {store}
    warehouses: [{warehouses}]   # CAN_USE is added where it is missing
    verify: {{ warehouse: {verify} }}   # a query as the new secret, before any data source is touched
    targets:
      identity: powerbi
      select:
        - {{ all: true }}          # every data source on these workspaces
      take_over: true            # may take over a dataset to update its cloud data source

broker:                          # tokens for programs on this machine: `lakekey exec`, `token`, `serve`
  - {{ host: {workspace}, identity: dbx-admin }}
"#,
            entra = addresses.entra,
            powerbi = addresses.powerbi,
            fabric = addresses.fabric,
            state = file("state"),
            admin = cast.admin.client_id,
            tenant = cast.tenant,
            app = cast.powerbi.client_id,
            workspace = addresses.databricks[0],
            others = addresses.databricks[1..].join(", "),
            principal = cast.principal.display_name,
            store = file("store/sales-bi.json"),
            warehouses = warehouses.join(", "),
            verify = warehouses[0],
        )
    }

    /// The environment variables that the config refers to.
    pub fn environment(&self) -> std::collections::BTreeMap<String, String> {
        let cast = self.cast();
        [(ADMIN_SECRET, &cast.admin), (POWERBI_SECRET, &cast.powerbi)]
            .into_iter()
            .map(|(name, login)| (name.to_owned(), login.client_secret.clone()))
            .collect()
    }
}

/// JSON's strings are YAML's, and hold any path, and ids that look like numbers.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

const ADMIN_SECRET: &str = "LAKEKEY_SIM_ADMIN_SECRET";
const POWERBI_SECRET: &str = "LAKEKEY_SIM_POWERBI_SECRET";
