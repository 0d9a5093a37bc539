//! Every kind of problem, at its place.

use super::{SMALL, expect, load, load_with, small};

#[test]
fn the_small_document_is_valid() {
    expect(SMALL, &[]);
}

#[test]
fn problems_of_every_kind_are_reported_at_once_in_the_order_of_the_document() {
    let problems = expect(
        "\
version: ▶2
▶colour: red
state: { url: file:x, lease: ▶10s }
identities:
  dbx: { auth: oauth-m2m, client_id: abc, client_secret: ▶dose0123456789abcdef }
  pbi: { auth: ▶azure-secret }
  ▶pbi: { auth: pat }
credentials:
  sales:
    workspace: ▶https://evil-azuredatabricks.net
    identity: ▶dbz
    service_principal: pbi-sales
    ▶lifetme: 14d
    grace: ▶soon
    create_service_principal: ▶\"true\"
    store: ▶sales.json
  ▶hr:
    workspace: https://adb-1.7.azuredatabricks.net
    identity: dbx
    service_principal: pbi-sales
",
        &[
            "unknown-version",
            "unknown-key",
            "lease-too-short",
            "inline-secret",
            "unknown-value",
            "duplicate-key",
            "forbidden-host",
            "unknown-identity",
            "unknown-key",
            "bad-duration",
            "wrong-type",
            "bad-store",
            "missing-key",
        ],
    );
    let text = format!("{problems:?}");
    assert!(text.contains("did you mean `lifetime`?") && text.contains("did you mean `dbx`?"), "{text}");
    assert!(text.contains("LAKEKEY_ALLOWED_HOSTS"), "{text}");
    assert!(!text.contains("dose0123"), "{text}");
}

#[test]
fn what_is_no_yaml_is_one_problem() {
    expect("version: 1\nstate: ▶[1, 2\n", &["yaml-syntax"]);
    expect("version: 1\n▶---\nversion: 1\n", &["yaml-unsupported"]);
    assert_eq!(load("\n").unwrap_err()[0].code, "empty-document");
    assert_eq!(load("- 1\n- 2\n").unwrap_err()[0].code, "wrong-type");
    assert_eq!(load("just words\n\n").unwrap_err()[0].code, "wrong-type");
    let deep = format!("version: 1\nx: {}{}\n", "[".repeat(40), "]".repeat(40));
    assert_eq!(load(&deep).unwrap_err()[0].code, "yaml-too-complex");
}

#[test]
fn aliases_work_and_are_bounded() {
    let shared = SMALL.replace("identity: dbx", "identity: &who dbx").replace("identity: pbi", "identity: *who");
    assert_eq!(load(&shared).unwrap_err()[0].code, "wrong-identity");
    expect(&small("store: file:sales.json", "store: ▶*nowhere"), &["yaml-syntax"]);
    let mut laughs = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        laughs += &format!("b{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "));
    }
    assert_eq!(load(&laughs).unwrap_err()[0].code, "yaml-too-complex");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 10_000].join(", "));
    assert_eq!(load(&long).unwrap_err()[0].code, "yaml-too-complex");
}

#[test]
fn a_key_without_a_value_is_a_problem_of_its_own() {
    expect(&small("    store: file:sales.json", "    ▶store:"), &["no-value"]);
    expect(&small("    store: file:sales.json", "    ▶store: null"), &["no-value"]);
}

#[test]
fn times_that_do_not_fit_are_refused() {
    let with = |lines: &str| small("    store:", &format!("{lines}    store:"));
    expect(&with("    lifetime: ▶731d\n    rotate_every: 300d\n"), &["lifetime-out-of-range"]);
    expect(&with("    lifetime: ▶1h\n    rotate_every: 30m\n    grace: 25m\n"), &["lifetime-out-of-range"]);
    expect(&with("    lifetime: ▶22d\n"), &["lifetime-too-long"]);
    expect(&with("    lifetime: ▶7d\n"), &["rotation-does-not-fit"]);
    expect(&with("    lifetime: 8d\n"), &[]);
    expect(&with("    grace: ▶19m\n"), &["grace-too-short"]);
    expect(&with("    grace: 20m\n"), &[]);
    expect(&with("    rotate_every: manual\n    lifetime: ▶12h\n"), &["rotation-does-not-fit"]);
    expect(&with("    rotate_every: ▶weekly\n"), &["bad-duration"]);
    // Monday to Friday at two: 70 hours from Friday to Monday when the clocks go back.
    let window = "    window: { cron: 0 2 * * 1-5, timezone: Europe/Berlin, length: 3h }\n";
    expect(&with(&format!("    lifetime: 262h\n{window}")), &[]);
    expect(&with(&format!("    lifetime: ▶261h\n{window}")), &["rotation-does-not-fit"]);
}

#[test]
fn defaults_apply_unless_a_credential_says_otherwise() {
    let defaults = "defaults: { lifetime: 30d, rotate_every: 10d, grace: 2d }\n";
    let config = load(&format!("{defaults}{}", small("    store:", "    grace: 3d\n    store:"))).unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let credential = &config.credentials[0];
    assert_eq!((credential.lifetime, credential.rotate_every, credential.grace), (day * 30, Some(day * 10), day * 3));
    expect(&format!("defaults: {{ lifetime: ▶2d }}\n{SMALL}"), &["rotation-does-not-fit"]);
    expect(&format!("defaults: {{ lifetime: ▶2x }}\n{SMALL}"), &["bad-duration"]);
    expect(&format!("defaults: {{ grace: ▶2x }}\n{}", small("    store:", "    grace: 2d\n    store:")), &["bad-duration"]);
}

#[test]
fn the_lease_leaves_time_to_work() {
    let state = |state: &str| small("state: file:.lakekey", &format!("state: {{ url: file:x, {state} }}"));
    expect(&state("lease: ▶29s"), &["lease-too-short"]);
    expect(&state("lease: 30s"), &[]);
    expect(&state("lease: 60s, skew: ▶40s"), &["lease-too-short"]);
    expect(&state("lease: 60s, skew: 39s"), &[]);
    expect(&state("skew: ▶20m"), &["lease-too-short"]);
    let problems = load(&state("lease: 60s, skew: 50s")).unwrap_err();
    assert!(problems[0].hint.as_deref().unwrap().contains("at least 11s longer"), "{problems:?}");
    let timing = load(&state("lease: 35s")).unwrap().state;
    assert_eq!((timing.skew.as_secs(), timing.request_timeout.as_millis()), (5, 8_750));
    let timing = load(SMALL).unwrap().state;
    assert_eq!((timing.lease.as_secs(), timing.skew.as_secs(), timing.request_timeout.as_secs()), (900, 120, 60));
}

#[test]
fn windows_and_freezes_are_checked() {
    let with = |lines: &str| small("    store:", &format!("    {lines}\n    store:"));
    expect(&with("window: { cron: ▶0 2 * *, length: 3h }"), &["bad-window"]);
    expect(&with("window: { cron: 0 2 * * *, timezone: ▶Mars/Base, length: 3h }"), &["bad-window"]);
    expect(&with("window: { cron: 0 2 * * *, length: ▶1m }"), &["bad-window"]);
    expect(&with("window: { cron: ▶x, length: ▶long }"), &["bad-window", "bad-duration"]);
    expect(&with("▶window: { cron: 0 2 * * * }"), &["missing-key"]);
    expect(
        &with("freeze: [2026-12-20..2027-01-03, ▶2027-01-03..2026-12-20, ▶christmas, 2027-05-01]"),
        &["bad-freeze", "bad-freeze"],
    );
}

#[test]
fn one_principal_and_one_place_belong_to_one_credential() {
    let second = |workspace: &str, principal: &str, store: &str| {
        format!(
            "{SMALL}  hr:\n    workspace: {workspace}\n    identity: dbx\n    service_principal: {principal}\n    store: {store}\n"
        )
    };
    let (here, there) = ("https://ADB-1.7.azuredatabricks.net/?o=1", "https://adb-2.7.azuredatabricks.net");
    expect(&second(here, "▶pbi-sales", "file:hr.json"), &["duplicate-principal"]);
    expect(&second(there, "pbi-sales", "file:hr.json"), &[]);
    expect(&second(here, "pbi-hr", "▶file:x/../sales.json"), &["duplicate-store"]);
    expect(
        &second(here, "pbi-hr", "file:hr.json\n    copies: [databricks:s/k, ▶databricks:s/k, ▶file:sales.json]"),
        &["duplicate-store", "duplicate-store"],
    );
    expect(
        &second(there, "pbi-sales", "file:hr.json\n    also_workspaces: [adb-1.7.azuredatabricks.net]")
            .replace("service_principal: pbi-sales\n    store: file:hr", "service_principal: ▶pbi-sales\n    store: file:hr"),
        &["duplicate-principal"],
    );
    let id = "{ application_id: 2C8E0000-0000-4000-8000-000000000001 }";
    let first = second(there, &format!("▶{id}"), "file:hr.json").replacen("pbi-sales", &id.to_lowercase(), 1);
    expect(&first, &["duplicate-principal"]);
    expect(&second(there, "{ application_id: ▶one }", "file:hr.json"), &["bad-id"]);
    expect(&SMALL.replace("  sales:", "  ▶\"sales bi\":"), &["bad-name"]);
    let twice = SMALL.split_once("credentials:\n").unwrap().1;
    expect(&format!("{SMALL}{}", twice.replace("  sales:", "  ▶sales:")), &["duplicate-key"]);
}

#[test]
fn identities_have_the_keys_of_their_kind() {
    let dbx = |identity: &str| small("dbx: { auth: oauth-m2m, client_id: abc, client_secret: env:DBX }", identity);
    expect(&dbx("dbx: { auth: pat, token: env:PAT }"), &[]);
    expect(&dbx("▶dbx: { auth: pat }"), &["missing-key"]);
    expect(&dbx("dbx: { auth: pat, token: env:PAT, ▶client_id: x }"), &["unused-key"]);
    expect(&dbx("▶dbx: { client_id: x }"), &["missing-key"]);
    expect(&dbx("dbx: { auth: azure-sp-m2m, client_id: env:ID, client_secret: file:secret }"), &[]);
    expect(&dbx("dbx: { auth: pat, token: ▶env:MY PAT }"), &["bad-reference"]);
    expect(&dbx("dbx: { auth: pat, token: ▶[env:PAT] }"), &["wrong-type"]);
    expect(&small("      identity: pbi", "      identity: ▶dbx"), &["wrong-identity"]);
    expect(&small("tenant_id: t, ", "").replace("      identity: pbi", "      identity: ▶pbi"), &["wrong-identity"]);
}

#[test]
fn every_kind_of_sign_in_has_its_keys_and_no_others() {
    let dbx = |identity: &str| small("dbx: { auth: oauth-m2m, client_id: abc, client_secret: env:DBX }", identity);
    for kind in [
        "external-browser",
        "databricks-oauth, client_id: x",
        "databricks-cli",
        "databricks-cli, profile: PROD",
        "azure-client-certificate, client_id: x, client_certificate: file:sp.pem, tenant_id: env:TENANT",
        "azure-browser",
        "azure-oauth, tenant_id: t",
        "azure-device-code, client_id: x",
        "azure-cli",
        "azure-msi, client_id: env:ID",
        "azure-workload-identity",
        "azure-default",
        "env-oidc, client_id: x, oidc_token_env: MY_TOKEN",
        "file-oidc, oidc_token_filepath: /run/token",
        "aws-web-identity, client_id: x, token_audience: https://lake.example",
        "azure-msi, azure_workspace_resource_id: /subscriptions/1/resourceGroups/g/providers/Microsoft.Databricks/workspaces/w",
    ] {
        expect(&dbx(&format!("dbx: {{ auth: {kind} }}")), &[]);
    }
    expect(&dbx("dbx: { auth: azure-cli, ▶client_id: x }"), &["unused-key"]);
    expect(&dbx("▶dbx: { auth: azure-client-certificate, client_id: x }"), &["missing-key"]);
    expect(&dbx("dbx: { auth: azure-client-certificate, client_id: x, client_certificate: ▶secret }"), &["inline-secret"]);
    expect(&dbx("dbx: { auth: databricks-cli, profile: ▶--debug }"), &["no-value"]);
    expect(&dbx("dbx: { auth: env-oidc, oidc_token_env: ▶MY TOKEN }"), &["no-value"]);
    expect(&dbx("dbx: { auth: azure-msi, azure_workspace_resource_id: ▶w }"), &["bad-id"]);
    expect(&dbx("dbx: { auth: env-oidc }").replace("      identity: pbi", "      identity: ▶dbx"), &["wrong-identity"]);
    expect(&dbx("dbx: { auth: azure-msi }").replace("      identity: pbi", "      identity: dbx"), &[]);
}

#[test]
fn an_identity_may_be_a_credential_that_needs_nothing_of_it() {
    let own = |own: &str| small("identities:", &format!("identities:\n  own: {own}"));
    expect(&own("{ credential: sales }"), &[]);
    expect(&own("{ credential: ▶sale }"), &["unknown-credential"]);
    expect(&own("{ credential: sales, ▶client_id: x }"), &["unused-key"]);
    expect(&own("{ auth: azure-cli, ▶credential: sales }"), &["unused-key"]);
    expect(&own("{ credential: ▶sales }").replace("    identity: dbx", "    identity: own"), &["reference-cycle"]);
    expect(&own("{ credential: sales }").replace("      identity: pbi", "      identity: ▶own"), &["wrong-identity"]);
}

#[test]
fn an_identity_that_needs_itself_is_refused() {
    let host = "adb-1.7.azuredatabricks.net";
    let dbx = |dbx: &str| small("client_secret: env:DBX", &format!("client_secret: {dbx}"));
    expect(&dbx(&format!("▶databricks:{host}/s/k?identity=dbx")), &["reference-cycle"]);
    expect(&dbx(&format!("databricks:{host}/s/k?identity=pbi")), &[]);
    expect(&dbx(&format!("▶databricks:{host}/s/k?identity=nobody")), &["unknown-identity"]);
    expect(&dbx("▶databricks:evil.example/s/k?identity=pbi"), &["forbidden-host"]);
    let both =
        dbx(&format!("▶databricks:{host}/s/k?identity=pbi")).replace("env:PBI", &format!("▶databricks:{host}/s/k?identity=dbx"));
    expect(&both, &["reference-cycle", "reference-cycle"]);
}

#[test]
fn select_rows_have_one_of_their_forms() {
    let select = |rows: &str| small("[{ workspace: Sales, dataset: Orders }]", rows);
    expect(
        &select(
            "[{ all: true }, { warehouse: 123e45 }, { gateway: G, datasource: D }, { workspace: a, dataset: b, refresh: none }]",
        ),
        &[],
    );
    expect(&select("[▶{ workspace: Sales }]"), &["bad-selector"]);
    expect(&select("[▶{ all: true, warehouse: x }]"), &["bad-selector"]);
    expect(&select("[{ all: ▶false }]"), &["bad-selector"]);
    expect(&select("[{ all: true, ▶refresh: none }]"), &["bad-selector"]);
    expect(&select("[{ warehouse: ▶/sql/1.0/warehouses/abc }]"), &["bad-warehouse"]);
    expect(&small("    targets:", "    ▶targets:").replace("[{ workspace: Sales, dataset: Orders }]", "[]"), &["no-targets"]);
    expect(
        &small(
            "      identity: pbi",
            "      identity: pbi\n      take_over: ▶sometimes\n      concurrency: ▶65\n      privacy_level: ▶organisational",
        ),
        &["wrong-type", "out-of-range", "unknown-value"],
    );
}

#[test]
fn grants_name_whole_objects() {
    let grants = |grants: &str| small("    store:", &format!("    grants: {grants}\n    store:"));
    expect(&grants("[{ securable: schema, name: ▶main, privileges: [USE SCHEMA, ▶sel3ct] }]"), &["bad-grant", "bad-grant"]);
    expect(&grants("[{ securable: table, name: a.b.c, privileges: ▶[] }]"), &["bad-grant"]);
    expect(&grants("[▶{ securable: catalog, name: main }]"), &["missing-key"]);
}

#[test]
fn hosts_beyond_the_policy_are_refused_and_the_environment_can_allow_them() {
    let foreign = small("https://adb-1.7.azuredatabricks.net", "▶https://lake.example");
    expect(&foreign, &["forbidden-host"]);
    assert!(load_with(&foreign.replace('▶', ""), "lake.example").is_ok());
    assert_eq!(load_with(SMALL, "https://lake.example").unwrap_err()[0].file, "LAKEKEY_ALLOWED_HOSTS");
    expect(&small("https://adb-1.7.azuredatabricks.net", "▶http://adb-1.7.azuredatabricks.net"), &["forbidden-host"]);
    expect(&small("https://adb-1.7.azuredatabricks.net", "http://127.0.0.1:8080"), &[]);
    expect(&small("https://adb-1.7.azuredatabricks.net", "▶\"https://\""), &["bad-address"]);
    expect(
        &format!(
            "endpoints: {{ powerbi: ▶https://api.powerbi.example, keyvault: ▶nowhere, fabric: http://localhost:1/ }}\n{SMALL}"
        ),
        &["forbidden-host", "bad-address"],
    );
}

#[test]
fn a_file_keeps_the_value_only_beside_a_file_state() {
    let document = small("state: file:.lakekey", "state: s3://bucket/x").replace("store: file:", "store: ▶file:");
    expect(&document, &["bad-store"]);
    expect(&small("state: file:.lakekey", "state: ▶.lakekey"), &["bad-state"]);
    expect(&small("store: file:sales.json", "store: ▶databricks:s/k"), &["bad-store"]);
}

#[test]
fn a_place_in_the_cloud_has_the_form_that_its_service_allows() {
    for place in ["s3://B_cket/x", "s3://bucket/../x", "az://account", "az://acc-1/box"] {
        expect(
            &small("state: file:.lakekey", &format!("state: ▶{place}"))
                .replace("store: file:sales.json", "store: akv:vault/sales"),
            &["bad-state"],
        );
    }
    for store in ["akv:vault", "akv:vault/na_me", "akv:vault/name/version", "awssm:", "awssm:a b"] {
        expect(&small("store: file:sales.json", &format!("store: ▶\"{store}\"")), &["bad-store"]);
    }
    let copies = "store: akv:vault/sales\n    copies: [▶akv:Vault/SALES, ▶akv:vault/sales-next, awssm:a]";
    expect(&small("store: file:sales.json", copies), &["duplicate-store", "duplicate-store"]);
    let endpoints = "endpoints: { keyvault: https://my.vault.azure.net, blob: ▶https://my.blob.example/account }";
    expect(&format!("{endpoints}\n{SMALL}"), &["forbidden-host"]);
}

#[test]
fn waves_rise_and_end_with_all() {
    let waves = |list: &str| small("      identity: pbi", &format!("      identity: pbi\n      waves: {list}"));
    for list in ["[100%]", "[1, 10%, 100%]", "[1, 5, 10%, 50%, 100%]", "[10%, 3, 100%]"] {
        expect(&waves(list), &[]);
    }
    for list in [
        "▶[]",
        "[▶0, 100%]",
        "[▶101%]",
        "[▶half, 100%]",
        "[1, ▶10%]",
        "[▶5]",
        "[5, ▶2, 100%]",
        "[50%, ▶10%, 100%]",
        "[1, ▶1, 100%]",
        "[100%, ▶7]",
    ] {
        expect(&waves(list), &["bad-waves"]);
    }
}

#[test]
fn a_connection_is_named_by_its_id() {
    let with = |row: &str| small("{ workspace: Sales, dataset: Orders }", row);
    expect(&with("{ connection: 6952a7b2-aea3-414f-9d85-6c0fe5d34539 }"), &[]);
    expect(&with("{ connection: ▶Sales }"), &["bad-id"]);
}
