//! What is wrong with a config reaches the user with its place, and nothing is sent anywhere.

use lakekey_sim::{Addresses, Fleet, Settings};
use serde_json::{Value, json};

use crate::arrange::hints;
use crate::support::Bench;

/// The config is refused; nothing was asked of anybody, nothing is shown that must not be.
async fn refused(bench: &Bench, arguments: &[&str]) -> Vec<Value> {
    let before = bench.mark();
    let ran = bench.run(&[arguments, &["--output", "json"]].concat()).await;
    bench.assert_discreet(&ran);
    let failure: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.status, failure["error"]["code"].as_str()), (2, Some("config-invalid")), "{failure:#}");
    let problems = failure["problems"].as_array().unwrap().clone();
    assert!(problems.iter().all(hints), "{problems:#?}");
    assert_eq!(bench.requests_since(&before).len(), 0, "nothing was sent");
    bench.assert_no_file_changed(&before);
    problems
}

#[tokio::test(start_paused = true)]
async fn every_mistake_in_a_config_is_told_at_once_with_its_file_line_and_column() {
    let bench = Bench::new(&Fleet::small(1));
    let document = "\
version: 1
state: { url: file:x }
colour: red
identities:
  dbx: { auth: oauth-m2m, client_id: abc, client_secret: env:DBX }
credentials:
  sales:
    workspace: https://adb-1.1.azuredatabricks.net
    identity: dbz
    service_principal: pbi-sales
    grace: soon
    store: file:s.json
";
    std::fs::write(bench.folder.path().join("broken.yaml"), document).unwrap();

    for command in ["rotate", "plan", "status", "validate"] {
        let problems = refused(&bench, &[command, "--config", "broken.yaml"]).await;
        let told: Vec<_> = problems
            .iter()
            .map(|problem| {
                assert!(problem["file"].as_str().unwrap().ends_with("broken.yaml"), "{problem}");
                (problem["code"].as_str().unwrap(), problem["line"].as_u64().unwrap(), problem["column"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(told, [("unknown-key", 3, 1), ("unknown-identity", 9, 15), ("bad-duration", 11, 12)]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_place_of_a_mistake_is_told_in_text_too() {
    let mut bench = Bench::new(&Fleet::small(1));
    bench.credential()["lifetme"] = json!("14d");

    let ran = bench.run(&["plan"]).await;

    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    let told = ran.stderr.lines().any(|line| line.contains("lakekey.yaml:") && line.contains("lifetme"));
    assert!(told && ran.stderr.contains("lifetime"), "{}", ran.stderr);
}

#[tokio::test(start_paused = true)]
async fn a_secret_in_the_config_is_refused_and_not_repeated() {
    let mut bench = Bench::new(&Fleet::small(1));
    let value = format!("dose{}", "0123456789abcdef".repeat(2));
    for inline in [bench.cloud.cast().admin.client_secret.clone(), value] {
        bench.config["identities"]["dbx-admin"]["client_secret"] = json!(inline);

        let problems = refused(&bench, &["rotate"]).await;
        let text = bench.run(&["rotate"]).await;

        assert_eq!(problems[0]["code"], "inline-secret", "{problems:#?}");
        assert_eq!(text.status, 2);
        assert!(!format!("{problems:?}{text:?}").contains(&inline));
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_go_to_a_foreign_host_only_when_the_environment_allows_it() {
    let own = Addresses::default();
    let foreign = Addresses {
        databricks: own.databricks.clone(),
        account: own.account.clone(),
        entra: "https://login.contoso.example".to_owned(),
        powerbi: "https://powerbi.contoso.example".to_owned(),
        fabric: "https://fabric.contoso.example".to_owned(),
    };
    let mut bench = Bench::at(&Fleet { decoys: false, ..Fleet::small(1) }, Settings::default(), foreign);
    let source = bench.own_source();
    bench.select_source(&source);

    let problems = refused(&bench, &["rotate"]).await;
    let codes: Vec<_> = problems.iter().map(|problem| problem["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["forbidden-host"; 3], "{problems:#?}");
    assert!(problems[0]["hint"].as_str().unwrap().contains("LAKEKEY_ALLOWED_HOSTS"), "{problems:#?}");

    bench.environment.push(("LAKEKEY_ALLOWED_HOSTS".to_owned(), "*.contoso.example".to_owned()));
    let done = bench.rotated().await;
    assert_eq!(bench.source(&source.id).secret_id.as_deref(), done["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn a_workspace_beyond_databricks_is_refused_even_where_it_would_answer() {
    let foreign = ["https://evil-azuredatabricks.net".to_owned(), "https://adb-1.evil.example".to_owned()];
    let foreign = Addresses { databricks: foreign.to_vec(), ..Addresses::default() };
    let bench = Bench::at(&Fleet::small(1), Settings::default(), foreign);

    let problems = refused(&bench, &["rotate"]).await;

    assert_eq!((problems.len(), &problems[0]["code"]), (2, &json!("forbidden-host")), "{problems:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_config_cannot_allow_hosts_itself() {
    let mut bench = Bench::new(&Fleet::small(1));
    bench.config["allowed_hosts"] = json!(["evil.example"]);
    bench.config["endpoints"]["powerbi"] = json!("https://evil.example");

    let problems = refused(&bench, &["rotate"]).await;

    let codes: Vec<_> = problems.iter().map(|problem| problem["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"unknown-key") && codes.contains(&"forbidden-host"), "{problems:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_credential_has_is_wrong_usage_and_the_names_are_told() {
    let bench = Bench::new(&Fleet::small(1));

    for command in ["rotate", "plan", "status", "history", "reapply"] {
        let (status, failure) = bench.json(&[command, "sales"]).await;

        assert_eq!((status, failure["error"]["code"].as_str()), (2, Some("unknown-credential")), "{failure:#}");
        assert!(failure["error"]["hint"].as_str().unwrap().contains("`sales-bi`"), "{failure:#}");
    }
    assert_eq!(bench.cloud.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_is_not_set_is_named_before_anything_is_made() {
    for missing in ["ADMIN_SECRET", "POWERBI_SECRET"] {
        let mut bench = Bench::new(&Fleet::small(1));
        bench.environment.retain(|(name, _)| name != missing);

        let problem = bench.refused("secret-missing").await;

        assert!(problem["hint"].as_str().unwrap().contains(missing), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_sign_in_says_which_and_changes_nothing() {
    for wrong in ["ADMIN_SECRET", "POWERBI_SECRET"] {
        let mut bench = Bench::new(&Fleet::small(1));
        for (name, value) in &mut bench.environment {
            if name == wrong {
                *value = "no longer this".to_owned();
            }
        }

        let problem = bench.refused("sign-in-refused").await;

        assert!(problem["message"].as_str().unwrap().contains("sign-in failed"), "{problem}");
    }
}
