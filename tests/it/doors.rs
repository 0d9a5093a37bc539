//! Getting in: every way to sign in, and pages for people that come where data was due.

use lakekey_sim::{Action, Fleet, Rule};
use serde_json::json;

use crate::support::Bench;
use crate::town::Town;

/// One target on a gateway.
fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(3) });
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench
}

#[tokio::test(start_paused = true)]
async fn a_page_to_sign_in_where_data_was_due_is_recognised() {
    for service in ["databricks", "powerbi", "fabric"] {
        let mut bench = bench();
        if service == "fabric" {
            let source = bench.own_source();
            bench.select_source(&source);
        }
        let path = if service == "databricks" { "/api/" } else { "/v1" };
        bench.cloud.set_faults(vec![Rule::always(Action::Html).service(service).path(path)]);

        let problem = bench.refused("login-page").await;

        assert!(problem["hint"].as_str().unwrap().contains("proxy or portal"), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_where_a_token_was_due_is_recognised() {
    let bench = bench();
    bench.cloud.set_faults(vec![Rule::always(Action::Html).service("databricks").path("/oidc/v1/token")]);

    bench.refused("login-page").await;
}

#[tokio::test(start_paused = true)]
async fn a_workspace_behind_a_private_link_is_recognised() {
    let bench = bench();
    let location = "https://adb-1.1.azuredatabricks.net/login.html?error=private-link-validation-error:1".to_owned();
    bench.cloud.set_faults(vec![Rule::always(Action::Redirect { location }).service("databricks")]);

    let problem = bench.refused("private-link").await;

    assert!(problem["hint"].as_str().unwrap().contains("Private Link"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn redirects_are_not_followed() {
    let bench = bench();
    // The other workspace would answer, and would be sent the token.
    let location = "https://adb-2.2.azuredatabricks.net/stolen".to_owned();
    bench.cloud.set_faults(vec![Rule::always(Action::Redirect { location }).service("databricks-0").path("/api/")]);

    bench.refused("redirect").await;

    assert!(bench.cloud.requests().iter().all(|seen| !seen.path.contains("stolen")));
}

#[tokio::test(start_paused = true)]
async fn a_personal_access_token_signs_in_to_databricks() {
    let mut bench = bench();
    bench.config["identities"]["dbx-admin"] = json!({ "auth": "pat", "token": "env:DATABRICKS_TOKEN" });
    bench.environment.push(("DATABRICKS_TOKEN".to_owned(), bench.cloud.cast().personal_token.clone()));

    let done = bench.rotated().await;

    assert_eq!(bench.source(&bench.gateway_source().id).secret_id.as_deref(), done["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn a_personal_access_token_with_a_line_break_is_explained() {
    let mut bench = bench();
    bench.config["identities"]["dbx-admin"] = json!({ "auth": "pat", "token": "env:DATABRICKS_TOKEN" });
    let broken = format!("{}\nsecond line", bench.cloud.cast().personal_token);
    bench.environment.push(("DATABRICKS_TOKEN".to_owned(), broken));

    bench.refused("unusable-token").await;
}

#[tokio::test(start_paused = true)]
async fn an_entra_app_signs_in_to_databricks_with_its_tenant_found_from_the_workspace() {
    for tenant in [true, false] {
        let mut bench = bench();
        let (app, tenant_id) = (bench.cloud.cast().entra_admin.clone(), bench.cloud.cast().tenant.clone());
        bench.config["identities"]["dbx-admin"] =
            json!({ "auth": "azure-client-secret", "client_id": app.client_id, "client_secret": "env:APP_SECRET" });
        if tenant {
            bench.config["identities"]["dbx-admin"]["tenant_id"] = json!(tenant_id);
        }
        bench.environment.push(("APP_SECRET".to_owned(), app.client_secret));
        let before = bench.mark();

        let done = bench.rotated().await;

        assert_eq!(bench.source(&bench.gateway_source().id).secret_id.as_deref(), done["secret_id"].as_str());
        let asked = bench.requests_since(&before).iter().filter(|seen| seen.path.starts_with("/aad/auth")).count();
        // Each of the two workspaces names its own.
        assert_eq!(asked, 2 * usize::from(!tenant));
    }
}

#[tokio::test(start_paused = true)]
async fn one_entra_app_may_sign_in_everywhere() {
    let mut bench = bench();
    let (app, me) = (bench.cloud.cast().powerbi.clone(), bench.me());
    let source = bench.gateway_source();
    // The Power BI app is no member of the workspace at Databricks.
    bench.credential()["identity"] = json!("powerbi");

    let problem = bench.refused("forbidden").await;

    assert!(problem["message"].as_str().unwrap().contains(&app.client_id), "{problem}");
    assert_eq!((bench.source(&source.id).writes, me), (0, app.object_id));
}

#[tokio::test]
async fn what_goes_to_loopback_passes_no_proxy() {
    let mut town = Town::new().await;
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        town.set(name, &address);
    }

    let (status, plan) = town.one(&["plan"]).await;
    assert_eq!((status, plan["problems"].as_array().map(Vec::len)), (0, Some(0)), "{plan:#}");
    assert!(proxy.accept().is_err(), "the proxy saw a connection");
}
