//! The config as it is written: complete, commented, with what most people want next as comments.

use std::fmt::Write;

use super::answers::{Answers, PowerBi, Select};

/// The document.
pub(super) fn render(answers: &Answers) -> String {
    let Answers { name, workspace, service_principal, warehouse, auth, client_id, secret, tenant_id, .. } = answers;
    let mut text = String::from(HEAD);
    let tenant = |tenant: &Option<String>| tenant.as_ref().map(|id| format!(" tenant_id: {},", quoted(id))).unwrap_or_default();
    let databricks = if auth == "azure-client-secret" { tenant(tenant_id) } else { String::new() };
    let _ = writeln!(text, "identities:                       # how lakekey signs in; secrets are references to where they are");
    let _ = writeln!(
        text,
        "  databricks: {{ auth: {auth},{databricks} client_id: {}, client_secret: {} }}",
        quoted(client_id),
        quoted(secret)
    );
    if let Some(PowerBi { client_id, secret, .. }) = &answers.powerbi {
        let (client_id, secret) = (quoted(client_id), quoted(secret));
        let _ = writeln!(
            text,
            "  powerbi:    {{ auth: azure-client-secret,{} client_id: {client_id}, client_secret: {secret} }}",
            tenant(tenant_id)
        );
    }
    let principal =
        if is_uuid(service_principal) { format!("{{ application_id: {service_principal} }}") } else { quoted(service_principal) };
    let _ = write!(
        text,
        "
credentials:
  {name}:
    workspace: {}                 # where its secrets are made
    identity: databricks              # must be an admin of that workspace
    service_principal: {principal}    # whose secret is rotated
    lifetime: 14d                     # of each secret
    rotate_every: 7d
    grace: 24h                        # how long the old secret lives on after the last data source has moved
    # window: {{ cron: \"0 2 * * 1-5\", timezone: Europe/Berlin, length: 3h }}   # rotations start only then
    store: {}       # keeps the current secret, for lakekey and for others (mode 0600)
",
        quoted(workspace),
        quoted(&format!("file:.lakekey/{name}.json")),
    );
    match warehouse {
        Some(id) => {
            let id = quoted(id);
            let _ = writeln!(text, "    warehouses: [ {id} ]    # CAN_USE is added where it is missing, never removed");
            let _ = writeln!(
                text,
                "    verify: {{ warehouse: {id} }}    # a new secret must run a query here before any data source is touched"
            );
        }
        None => text.push_str(WAREHOUSE_LATER),
    }
    text.push_str(GRANTS_LATER);
    match &answers.powerbi {
        Some(PowerBi { select, .. }) => {
            let row = match select {
                Select::All => {
                    "{ all: true }    # every Databricks data source on this workspace that the identity can see".to_owned()
                }
                Select::Dataset { workspace, dataset } => {
                    format!("{{ workspace: {}, dataset: {} }}", quoted(workspace), quoted(dataset))
                }
            };
            let _ = writeln!(
                text,
                "    targets:\n      identity: powerbi               # signs in to Power BI and Fabric\n      select:\n        - {row}"
            );
            text.push_str(SELECT_LATER);
        }
        None => text.push_str(TARGETS_LATER),
    }
    text
}

const HEAD: &str = "\
# lakekey's config. `lakekey schema` describes every key, `lakekey validate` checks this file offline,
# `lakekey doctor` checks it against the services.
version: 1
state: { url: \"file:.lakekey/state\" }   # the journal: keep it, it is what makes a run that was killed resumable

";
const WAREHOUSE_LATER: &str =
    "    # warehouses: [ 1234567890abcdef ]         # CAN_USE is added where it is missing, never removed
    # verify: { warehouse: 1234567890abcdef }  # a new secret must run a query here before any data source is touched
";
const GRANTS_LATER: &str = "    # grants:                         # Unity Catalog privileges that the principal is given
    #   - { securable: schema, name: main.sales, privileges: [USE_SCHEMA, SELECT] }
";
const SELECT_LATER: &str = "        # - { workspace: Sales, dataset: Orders }
        # - { gateway: Contoso-GW, datasource: \"Sales DBX\" }
      take_over: false                # true: may take a dataset over from its owner to write its cloud data source
";
const TARGETS_LATER: &str =
    "    # targets:                        # the Power BI data sources that hold the secret; needs an identity of Entra
    #   identity: powerbi
    #   select: [ { all: true } ]
";

/// As a string of JSON, which is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
