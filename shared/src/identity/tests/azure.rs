//! Entra without a secret in the config: managed and workload identities, and the search of the environment.

use super::*;

const IMDS: &str = "GET http://169.254.169.254/metadata/identity/oauth2/token";
const GUID: &str = "63ed0c61-9a0b-4c3f-8a63-0e4f8d6a1b2c";

fn managed() -> impl FnMut(&Request<bytes::Bytes>) -> Reply + Send {
    |_| reply(200, &[], r#"{"access_token":"managed","expires_on":"1772326800","resource":"x","token_type":"Bearer"}"#)
}

fn named(text: &str) -> Option<PlainOrReference> {
    Some(PlainOrReference::Plain(text.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_managed_identity_is_asked_at_the_platforms_address() {
    for (client_id, variables, query) in [
        (None, [].as_slice(), ""),
        (None, [("AZURE_CLIENT_ID", "from-environment")].as_slice(), "&client_id=from-environment"),
        (named("from-config"), [("AZURE_CLIENT_ID", "from-environment")].as_slice(), "&client_id=from-config"),
    ] {
        let script = Scripted::new().always(managed());
        let all = identities_in(&script, &[("me", Auth::AzureMsi { client_id })], variables);
        let issued = all.signer(&IdentityName::new("me"), &Audience::KeyVault).unwrap().issued().await.unwrap();
        assert_eq!(issued.value.reveal(), "managed");
        assert_eq!(issued.expires_at, Some("2026-03-01T01:00:00Z".parse().unwrap()));
        let resource = "resource=https%3A%2F%2Fvault.azure.net";
        assert_eq!(script.lines(), [format!("{IMDS}?api-version=2019-08-01&{resource}{query}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_without_the_identity_is_told_to_be_given_one() {
    let script =
        Scripted::new().always(|_| reply(400, &[], r#"{"error":"invalid_request","error_description":"Identity not found"}"#));
    let error = signer(&script, Auth::AzureMsi { client_id: None }, &Audience::PowerBi).token().await.unwrap_err();
    assert!(error.problem().hint.as_ref().unwrap().contains("AZURE_CLIENT_ID"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_workload_identity_shows_the_token_of_its_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "pod-token").unwrap();
    let path = file.path().to_str().unwrap();
    let variables = [("AZURE_CLIENT_ID", "pod"), ("AZURE_TENANT_ID", GUID), ("AZURE_FEDERATED_TOKEN_FILE", path)];
    for auth in [
        Auth::AzureWorkloadIdentity { tenant_id: None, client_id: None },
        Auth::AzureDefault { tenant_id: None, client_id: None },
    ] {
        let script = Scripted::new().always(issuer(3600));
        let all = identities_in(&script, &[("me", auth)], &variables);
        assert_eq!(value(&all.signer(&IdentityName::new("me"), &databricks()).unwrap()).await, "token-1");
        assert_eq!(script.lines(), [format!("POST https://login.microsoftonline.com/{GUID}/oauth2/v2.0/token")]);
        let body = &script.seen()[0].body;
        assert!(body.contains("client_assertion=pod-token") && body.contains("client_id=pod"), "{body}");
        assert!(body.contains("scope=2ff814a6-3304-4ab8-85cb-cd0e6f879c1d%2F.default"), "{body}");
    }
    let script = Scripted::new();
    let all = identities_in(&script, &[], &variables[..1]);
    let auth = Auth::AzureWorkloadIdentity { tenant_id: None, client_id: None };
    let error = identities_in(&script, &[("me", auth)], &variables[..1])
        .signer(&IdentityName::new("me"), &databricks())
        .unwrap()
        .token()
        .await
        .unwrap_err();
    assert_eq!(error.code(), "sign-in-incomplete");
    assert!(error.problem().message.contains("AZURE_TENANT_ID"), "{error:?}");
    drop(all);
}

#[tokio::test(start_paused = true)]
async fn the_environment_signs_in_without_an_identity_in_the_config() {
    let variables = [("AZURE_CLIENT_ID", "app"), ("AZURE_TENANT_ID", GUID), ("AZURE_CLIENT_SECRET", "s3cret")];
    let script = Scripted::new().always(issuer(3600));
    let all = identities_in(&script, &[], &variables);
    assert_eq!(value(&all.ambient(&Audience::Storage)).await, "token-1");
    let body = &script.seen()[0].body;
    assert!(body.contains("client_id=app&client_secret=s3cret&scope=https%3A%2F%2Fstorage.azure.com%2F.default"), "{body}");

    let script = Scripted::new().always(managed());
    let all = identities_in(&script, &[], &variables[..1]);
    assert_eq!(value(&all.ambient(&Audience::Arm)).await, "managed");
    let line = &script.lines()[0];
    assert!(line.contains("resource=https%3A%2F%2Fmanagement.core.windows.net%2F&client_id=app"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn two_families_of_credentials_in_the_environment_are_an_error() {
    let family =
        |family: &str| ["CLIENT_ID", "TENANT_ID", "CLIENT_SECRET"].map(|name| (format!("{family}_{name}"), "x".to_owned()));
    let both: Vec<_> = [family("AZURE"), family("ARM")].concat();
    let both: Vec<_> = both.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let two_proofs = [
        ("AZURE_CLIENT_ID", "x"),
        ("AZURE_TENANT_ID", "x"),
        ("AZURE_CLIENT_SECRET", "x"),
        ("AZURE_CLIENT_CERTIFICATE_PATH", "/x.pem"),
    ];
    for (variables, named) in [(both.as_slice(), "ARM_CLIENT_SECRET"), (two_proofs.as_slice(), "AZURE_CLIENT_CERTIFICATE_PATH")] {
        let script = Scripted::new();
        let error = identities_in(&script, &[], variables).ambient(&Audience::Arm).token().await.unwrap_err();
        assert_eq!(error.code(), "ambiguous-environment");
        assert!(error.problem().message.contains("AZURE_CLIENT_SECRET") && error.problem().message.contains(named));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_found_from_a_challenge_too() {
    let challenge =
        format!("Bearer authorization_uri=\"https://login.microsoftonline.com/{GUID}/oauth2/authorize\", resource=\"x\"");
    let script =
        Scripted::new().json(404, "").then(move |_| reply(401, &[("www-authenticate", &challenge)], "")).always(issuer(3600));
    assert_eq!(value(&signer(&script, entra(None), &databricks())).await, "token-1");
    assert!(script.lines()[2].contains(GUID), "{:?}", script.lines());
    for (status, headers) in [
        (401, vec![]),
        (200, vec![]),
        (401, vec![("www-authenticate", "Bearer authorization_uri=\"https://evil.example/contoso.com/\"")]),
    ] {
        let script = Scripted::new().json(404, "").then(move |_| reply(status, &headers, "{}"));
        assert_eq!(signer(&script, entra(None), &databricks()).token().await.unwrap_err().code(), "no-tenant");
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_no_member_shows_its_role_on_the_resource() {
    const RESOURCE: &str = "/subscriptions/1/resourceGroups/g/providers/Microsoft.Databricks/workspaces/w";
    let mut issue = issuer(3600);
    let script = Scripted::new().always(move |request| match request.uri().path() {
        "/api/x" => {
            let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("x-databricks-azure-workspace-resource-id"), RESOURCE);
            assert!(header("x-databricks-azure-sp-management-token").starts_with("token-"));
            assert_ne!(format!("Bearer {}", header("x-databricks-azure-sp-management-token")), header("authorization"));
            reply(200, &[], "{}")
        }
        _ => issue(request),
    });
    let all = identities(&script, &[]);
    let identity =
        Identity { name: IdentityName::new("me"), auth: entra(Some(GUID)), workspace_resource: Some(RESOURCE.to_owned()) };
    get(&script, &all.cached(&Arc::new(identity), &databricks())).await.unwrap();
    assert!(script.seen()[1].body.contains("management.core.windows.net"), "{:?}", script.seen()[1]);
}
