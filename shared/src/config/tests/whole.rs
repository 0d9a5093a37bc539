//! A whole config, the promises about secrets, and arbitrary text.

use proptest::prelude::*;

use super::{SMALL, load};
use crate::config::reference::Reference;
use crate::config::{Auth, Format, PrincipalSelector, Proof, Securable, Selector, StateLocation, StoreLocation, TakeOver};

/// The contract's example without what this version can't do.
const WHOLE: &str = r#"
version: 1
cloud: public                 # public | usgov | china
endpoints:
  powerbi: https://api.powerbi.com
state: { url: "file:.lakekey", key: env:LAKEKEY_STATE_KEY, lease: 10m, skew: 1m }
identities:
  dbx-admin: { auth: oauth-m2m, client_id: 2c8e, client_secret: env:DBX_ADMIN_SECRET }
  powerbi:   { auth: azure-client-secret, tenant_id: 63ed, client_id: env:POWERBI_ID, client_secret: "file:secrets/powerbi" }
  token:     { auth: pat, token: "databricks:adb-9.1.azuredatabricks.net/scope/key?identity=dbx-admin" }
defaults: { lifetime: 14d, rotate_every: 7d, grace: 24h }
credentials:
  sales-bi:
    workspace: https://adb-1234567890123456.7.azuredatabricks.net/?o=1234567890123456
    also_workspaces: [adb-2.7.azuredatabricks.net]
    identity: dbx-admin
    service_principal: pbi-sales
    create_service_principal: false
    lifetime: 14d
    rotate_every: 7d
    grace: 24h
    window: { cron: "0 2 * * 1-5", timezone: Europe/Berlin, length: 3h }
    freeze: [2026-12-20..2027-01-03]
    store: file:/var/lib/lakekey/sales-bi.json
    copies: [ "file:copy.json", "databricks:powerbi/sales-bi" ]
    warehouses: [ 1234567890abcdef, 12345678901e2345, 1234567890 ]
    grants:
      - { securable: catalog, name: main, privileges: [USE_CATALOG] }
      - { securable: schema, name: main.sales, privileges: [use schema, SELECT] }
    verify: { warehouse: 1234567890abcdef }
    account: { host: accounts.azuredatabricks.net, id: 7A3A0000-0000-4000-8000-000000000000 }
    targets:
      identity: powerbi
      select:
        - { workspace: Sales, dataset: Orders }
        - { warehouse: 1234567890abcdef }
        - { all: true }
        - { gateway: Contoso-GW, datasource: "Sales DBX" }
      take_over: always
      convert: true
      waves: [100%]
      privacy_level: Organizational
      concurrency: 4
  another:
    workspace: https://adb-1234567890123456.7.azuredatabricks.net
    identity: token
    service_principal: { application_id: 2C8E0000-0000-4000-8000-000000000001 }
    rotate_every: manual
    store: file:another.json
notify:
  - { url: env:TEAMS_WEBHOOK, format: teams }
  - { url: "http://127.0.0.1:9/x", format: cloudevents, secret: env:WEBHOOK_KEY }
api:
  keys: { reader: env:LAKEKEY_READER_KEY, operator: akv:my-vault/operator, breakglass: env:LAKEKEY_BREAKGLASS_KEY }
  webhook_secret: akv:my-vault/webhook
broker:
  - { host: https://adb-1234567890123456.7.azuredatabricks.net, identity: dbx-admin }
"#;

#[test]
fn the_whole_config_resolves() {
    let config = load(WHOLE).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.state.location, StateLocation::File("/etc/lakekey/.lakekey".into()));
    assert_eq!(config.state.key, Some(Reference::Env("LAKEKEY_STATE_KEY".into())));
    assert_eq!(config.state.request_timeout.as_secs(), 60);
    assert_eq!(config.endpoints.powerbi.as_str(), "https://api.powerbi.com/");
    assert_eq!(config.digest.len(), 64);
    let powerbi = &config.identities.values().find(|identity| identity.name.as_str() == "powerbi").unwrap().auth;
    assert!(
        matches!(powerbi, Auth::AzureApplication { proof: Proof::Secret(Reference::File(path)), .. } if path.ends_with("lakekey/secrets/powerbi"))
    );

    let [teams, events] = config.notify.as_slice() else { panic!() };
    assert_eq!((teams.format, events.format), (Format::Teams, Format::CloudEvents));
    assert!(teams.secret.is_none() && events.secret.is_some());
    let variables: Vec<&str> = config.variables.iter().map(String::as_str).collect();
    let keys = ["LAKEKEY_BREAKGLASS_KEY", "LAKEKEY_READER_KEY", "LAKEKEY_STATE_KEY"];
    assert_eq!(variables, [&["DBX_ADMIN_SECRET"], &keys[..], &["POWERBI_ID", "TEAMS_WEBHOOK", "WEBHOOK_KEY"]].concat());

    let [sales, another] = config.credentials.as_slice() else { panic!() };
    assert_eq!(sales.name.as_str(), "sales-bi");
    assert_eq!(sales.workspace.base(), "https://adb-1234567890123456.7.azuredatabricks.net");
    assert_eq!(sales.also_workspaces[0].host(), "adb-2.7.azuredatabricks.net");
    assert_eq!(sales.copies[0], StoreLocation::File("/etc/lakekey/copy.json".into()));
    assert_eq!(sales.copies[1].to_string(), "databricks:powerbi/sales-bi");
    assert!(sales.warehouses.iter().any(|id| id.as_str() == "12345678901e2345") && sales.warehouses.len() == 3);
    assert_eq!((sales.grants[1].securable, sales.grants[1].privileges[0].as_str()), (Securable::Schema, "USE_SCHEMA"));
    assert_eq!(sales.freeze.len(), 1);
    let account = sales.account.as_ref().unwrap();
    assert_eq!(account.host.base(), "https://accounts.azuredatabricks.net");
    assert_eq!(account.id.as_str(), "7a3a0000-0000-4000-8000-000000000000");
    assert_eq!(sales.window.as_ref().unwrap().length().as_secs(), 10_800);
    let targets = sales.targets.as_ref().unwrap();
    assert_eq!((targets.take_over, targets.convert, targets.concurrency), (TakeOver::Always, true, 4));
    assert_eq!(targets.privacy_level.as_deref(), Some("Organizational"));
    assert_eq!(targets.select[2], Selector::All);
    assert!(matches!(&another.service_principal, PrincipalSelector::ApplicationId(id) if id.as_str().starts_with("2c8e")));
    assert!(another.rotate_every.is_none() && another.targets.is_none());
}

#[test]
fn a_json_document_is_a_yaml_document() {
    let example = crate::config::schema()["examples"][0].clone();
    for text in [example.to_string(), serde_json::to_string_pretty(&example).unwrap()] {
        let config = load(&text).unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert_eq!(config.credentials.len(), 1);
    }
}

#[test]
fn the_addresses_are_those_of_the_cloud() {
    for (cloud, entra, powerbi, scope, arm, keyvault) in [
        (
            "usgov",
            "https://login.microsoftonline.us/",
            "https://api.powerbigov.us/",
            "https://analysis.usgovcloudapi.net/powerbi/api/.default",
            "https://management.core.usgovcloudapi.net//.default",
            "https://vault.usgovcloudapi.net/.default",
        ),
        (
            "china",
            "https://login.chinacloudapi.cn/",
            "https://api.powerbi.cn/",
            "https://analysis.chinacloudapi.cn/powerbi/api/.default",
            "https://management.core.chinacloudapi.cn//.default",
            "https://vault.azure.cn/.default",
        ),
    ] {
        let endpoints = load(&format!("cloud: {cloud}\n{SMALL}")).unwrap().endpoints;
        assert_eq!(
            (endpoints.entra.as_str(), endpoints.powerbi.as_str(), endpoints.powerbi_scope.as_str()),
            (entra, powerbi, scope)
        );
        assert_eq!((endpoints.arm_scope.as_str(), endpoints.keyvault_scope.as_str()), (arm, keyvault));
    }
}

/// Places where a reference belongs, and some where nothing secret does.
const SECRET_PLACES: [&str; 6] = [
    "identities: { a: { auth: pat, token: SECRET } }\n",
    "identities: { a: { auth: oauth-m2m, client_id: b, client_secret: SECRET } }\n",
    "identities: { a: { auth: oauth-m2m, client_secret: { SECRET: SECRET } } }\n",
    "state: { url: file:x, key: SECRET }\n",
    "api: { keys: { reader: [SECRET] }, webhook_secret: SECRET }\nnotify: [{ url: env:X, format: SECRET, secret: SECRET }]\n",
    "version: SECRET\ncloud: SECRET\nstate: SECRET\nSECRET: 1\ndefaults: { lifetime: SECRET }\ncredentials: { a: { workspace: SECRET, store: SECRET, freeze: [SECRET], targets: { waves: [SECRET] } } }\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*", lines in proptest::collection::vec("[ ]{0,6}[a-z_]{0,8}[:\\-\\[{\\]}&*!|>'\"#, ]{0,4}[a-z0-9]{0,4}", 0..12)) {
        let _ = load(&format!("{text}\n"));
        let _ = load(&format!("{}\n", lines.join("\n")));
        let _ = load(&format!("{SMALL}{}\n", lines.join("\n")));
    }

    #[test]
    fn an_inline_secret_is_refused_and_never_repeated(body in "[0-9a-f]{32}", quote in "['\"]?", broken in "[\\]}'\":]?", place in 0..SECRET_PLACES.len()) {
        let secret = format!("dose{body}");
        let document = SECRET_PLACES[place].replace("SECRET", &format!("{quote}{secret}{quote}{broken}"));
        let problems = load(&format!("{document}\n")).unwrap_err();
        let printed = format!("{problems:?}{}", serde_json::to_string(&problems).unwrap());
        prop_assert!(!printed.contains(&body[..8]), "{printed}");
    }
}
