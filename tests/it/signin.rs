//! Every way to sign in that needs no person, at the simulated services, and what may go wrong on the way.

mod certificates;
mod outside;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use lakekey_core::clients::databricks::Databricks;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::config::{Config, ConfigSource};
use lakekey_core::error::Error;
use lakekey_core::http::Http;
use lakekey_core::http::transport::Transport;
use lakekey_core::identity::{Audience, Identities, SecretReader, Signer, Sources};
use lakekey_core::ids::{IdentityName, Workspace};
use lakekey_core::random::Random;
use lakekey_core::storage::Places;
use lakekey_sim::{Action, Fleet, Rule};
use serde_json::{Value, json};

use crate::support::{Bench, InProcess, days, hours, minutes};

/// A customer, and one identity beside those that rotate.
struct Visitor {
    bench: Bench,
}

impl Visitor {
    fn new(identity: Value) -> Self {
        let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(5) });
        bench.config["identities"]["me"] = identity;
        Self { bench }
    }

    /// With another identity, once the cloud is known.
    fn set(&mut self, identity: Value) {
        self.bench.config["identities"]["me"] = identity;
    }

    fn variable(&mut self, name: &str, value: &str) {
        self.bench.environment.push((name.to_owned(), value.to_owned()));
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.bench.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn workspace(&self) -> Workspace {
        Workspace::parse(&self.bench.cloud.addresses().databricks[0]).unwrap()
    }

    fn databricks(&self) -> Audience {
        Audience::Databricks(self.workspace())
    }

    /// The broker over the config as it stands, with an empty cache.
    fn broker(&self) -> (Arc<Http>, Identities) {
        self.bench.write_config();
        let environment: Environment = self.bench.environment.iter().cloned().collect();
        let source = ConfigSource::Flag("lakekey.yaml".to_owned());
        let config = Config::load(&source, &environment, self.bench.folder.path()).unwrap_or_else(|all| panic!("{all:#?}"));
        let transport: Arc<dyn Transport> = Arc::new(InProcess(self.bench.cloud.clone()));
        let (hosts, clock) = (config.hosts.clone(), self.bench.clock.clone());
        let storage = Arc::new(Places::new(&config, &environment, &transport, &clock).unwrap());
        let http = Arc::new(Http::new(transport, hosts, clock, Random::system(), Duration::from_secs(30)));
        let secrets = Arc::new(SecretReader::new(environment));
        let sources = Sources { secrets, storage, sign_ins: None };
        let identities = Identities::new(&config, sources, Arc::clone(&http));
        (http, identities)
    }

    fn signer(&self, audience: &Audience) -> Signer {
        self.broker().1.signer(&IdentityName::new("me"), audience).unwrap()
    }

    /// As whom the workspace knows the identity.
    async fn name(&self) -> Result<String, Error> {
        let (http, identities) = self.broker();
        let signer = identities.signer(&IdentityName::new("me"), &self.databricks())?;
        Ok(Databricks::new(http, self.workspace(), signer).me().await?.user_name)
    }

    /// Every other service that lakekey signs in to takes its tokens too.
    async fn assert_entra(&self) {
        for audience in [Audience::PowerBi, Audience::Fabric, Audience::Arm, Audience::KeyVault, Audience::Storage] {
            let issued = self.signer(&audience).issued().await.unwrap();
            let left = issued.expires_at.unwrap().duration_since(self.bench.clock.now());
            assert!(left > SignedDuration::from_mins(1), "{audience} {left:?}");
        }
    }

    fn tokens_asked_for(&self) -> usize {
        let requests = self.bench.cloud.requests();
        requests.iter().filter(|seen| seen.path.contains("token") && seen.method != "DELETE").count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_personal_access_token_signs_in() {
    let mut me = Visitor::new(json!({ "auth": "pat", "token": "env:PAT" }));
    let token = me.bench.cloud.cast().personal_token.clone();
    me.variable("PAT", &token);
    assert!(me.name().await.unwrap().contains('@'));
}

#[tokio::test(start_paused = true)]
async fn a_databricks_principal_signs_in_with_its_secret() {
    let mut me = Visitor::new(json!(null));
    let admin = me.bench.cloud.cast().admin.clone();
    me.set(json!({ "auth": "oauth-m2m", "client_id": admin.client_id, "client_secret": "env:ADMIN_SECRET" }));
    assert_eq!(me.name().await.unwrap(), admin.client_id);
}

#[tokio::test(start_paused = true)]
async fn an_entra_application_signs_in_with_its_secret_and_needs_no_tenant() {
    let mut me = Visitor::new(json!(null));
    let entra = me.bench.cloud.cast().entra_admin.clone();
    me.variable("ENTRA_SECRET", &entra.client_secret);
    for auth in ["azure-client-secret", "azure-sp-m2m"] {
        me.set(json!({ "auth": auth, "client_id": entra.client_id, "client_secret": "env:ENTRA_SECRET" }));
        assert_eq!(me.name().await.unwrap(), entra.client_id);
        me.assert_entra().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_virtual_machine_signs_in_with_its_managed_identity() {
    let mut me = Visitor::new(json!({ "auth": "azure-msi" }));
    let entra = me.bench.cloud.cast().entra_admin.clone();
    let error = me.name().await.unwrap_err();
    assert!(error.problem().hint.as_ref().unwrap().contains("AZURE_CLIENT_ID"), "{error:?}");
    me.bench.cloud.assign_identity(&entra.client_id, &entra.object_id, false);
    assert!(me.name().await.is_err(), "no identity is the system's");
    me.variable("AZURE_CLIENT_ID", &entra.client_id);
    assert_eq!(me.name().await.unwrap(), entra.client_id);
    me.assert_entra().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_signs_in_with_the_token_of_its_service_account() {
    let mut me = Visitor::new(json!({ "auth": "azure-workload-identity" }));
    let cast = me.bench.cloud.cast().clone();
    let path = me.file("pod-token", &me.bench.cloud.trust_pod(&cast.entra_admin.client_id));
    me.variable("AZURE_CLIENT_ID", &cast.entra_admin.client_id);
    me.variable("AZURE_TENANT_ID", &cast.tenant);
    me.variable("AZURE_FEDERATED_TOKEN_FILE", &path);
    assert_eq!(me.name().await.unwrap(), cast.entra_admin.client_id);
    me.assert_entra().await;
    // The search finds it as well.
    me.set(json!({ "auth": "azure-default" }));
    assert_eq!(me.name().await.unwrap(), cast.entra_admin.client_id);
}

#[tokio::test(start_paused = true)]
async fn the_environment_names_an_application() {
    let mut me = Visitor::new(json!({ "auth": "azure-default" }));
    let cast = me.bench.cloud.cast().clone();
    me.variable("AZURE_CLIENT_ID", &cast.entra_admin.client_id);
    me.variable("AZURE_TENANT_ID", &cast.tenant);
    me.variable("AZURE_CLIENT_SECRET", &cast.entra_admin.client_secret);
    assert_eq!(me.name().await.unwrap(), cast.entra_admin.client_id);
    me.assert_entra().await;
    let (_, identities) = me.broker();
    assert!(identities.ambient(&Audience::Arm).issued().await.unwrap().expires_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_issuer_is_exchanged() {
    let mut me = Visitor::new(json!(null));
    let (cast, cloud) = (me.bench.cloud.cast().clone(), me.bench.cloud.clone());
    let (issuer, subject, audience) = ("https://ci.example", "repo:lake", "https://lake.example");
    let token = cloud.foreign_token(issuer, subject, audience);
    let path = me.file("oidc", &format!("{token}\n"));
    me.variable("DATABRICKS_OIDC_TOKEN", &token);
    me.variable("MY_TOKEN", &token);
    let kinds = [
        json!({ "auth": "env-oidc", "client_id": cast.admin.client_id }),
        json!({ "auth": "env-oidc", "oidc_token_env": "MY_TOKEN" }),
        json!({ "auth": "file-oidc", "client_id": cast.admin.client_id, "oidc_token_filepath": path }),
    ];
    me.set(kinds[0].clone());
    let error = me.name().await.unwrap_err();
    assert!(error.problem().message.contains("No federation policy"), "{error:?}");
    cloud.add_federation_policy(issuer, subject, audience, &cast.admin.client_id);
    for kind in kinds {
        me.set(kind);
        assert_eq!(me.name().await.unwrap(), cast.admin.client_id);
    }
    me.set(json!({ "auth": "env-oidc", "oidc_token_env": "UNSET" }));
    let error = me.name().await.unwrap_err();
    assert_eq!(error.code(), "secret-missing");
    assert!(error.problem().message.contains("UNSET"));
}

#[tokio::test(start_paused = true)]
async fn the_role_that_aws_gives_this_process_signs_in() {
    let mut me = Visitor::new(json!(null));
    let (cast, cloud) = (me.bench.cloud.cast().clone(), me.bench.cloud.clone());
    me.variable("AWS_REGION", "eu-west-1");
    me.variable("AWS_ACCESS_KEY_ID", "AKIALAKEKEY");
    me.variable("AWS_SECRET_ACCESS_KEY", "s3cret");
    me.variable("AWS_ENDPOINT_URL_STS", &format!("{}/sts", cloud.addresses().entra));
    // Where the cloud is simulated, AWS is at a host that credentials may go to by the environment's word alone.
    me.variable("LAKEKEY_ALLOWED_HOSTS", "login.microsoftonline.com");
    me.set(json!({ "auth": "aws-web-identity", "client_id": cast.admin.client_id }));
    let error = me.name().await.unwrap_err();
    assert!(error.problem().hint.as_ref().unwrap().contains("outbound identity federation"), "{error:?}");
    let (issuer, subject) = (cloud.enable_outbound_federation(), "arn:aws:iam::123456789012:role/AKIALAKEKEY");
    let endpoint = format!("{}/oidc/v1/token", cloud.addresses().databricks[0]);
    cloud.add_federation_policy(issuer, subject, &endpoint, &cast.admin.client_id);
    assert_eq!(me.name().await.unwrap(), cast.admin.client_id);
    me.set(json!({ "auth": "aws-web-identity", "token_audience": "https://lake.example" }));
    assert!(me.name().await.is_err(), "no policy is for this audience");
    cloud.add_federation_policy(issuer, subject, "https://lake.example", &cast.admin.client_id);
    assert_eq!(me.name().await.unwrap(), cast.admin.client_id);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_under_way_is_invisible_to_whoever_signs_in_as_the_credential() {
    let me = Visitor::new(json!({ "credential": "sales-bi" }));
    let error = me.signer(&me.databricks()).token().await.unwrap_err();
    assert_eq!(error.code(), "secret-missing");
    let (status, _) = me.bench.one(&["rotate"]).await;
    assert_eq!(status, 0);
    let (http, identities) = me.broker();
    let signer = identities.signer(&IdentityName::new("me"), &me.databricks()).unwrap();
    let client = Databricks::new(http, me.workspace(), signer);
    let principal = me.bench.cloud.cast().principal.application_id.clone();
    for week in 0..3 {
        assert_eq!(client.me().await.unwrap().user_name, principal, "week {week}");
        let (status, answer) = me.bench.one(&["rotate", "--force"]).await;
        assert_eq!(status, 0, "{answer:#}");
        assert_eq!(client.me().await.unwrap().user_name, principal, "week {week}");
        me.bench.pass(days(2));
        let (status, answer) = me.bench.one(&["rotate"]).await;
        assert_eq!((status, answer["phase"].as_str()), (0, Some("idle")), "the old secret is gone: {answer:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_no_member_signs_in_by_its_role_in_azure() {
    let mut me = Visitor::new(json!(null));
    let cast = me.bench.cloud.cast().clone();
    me.variable("ENTRA_SECRET", &cast.entra_admin.client_secret);
    let resource = me.bench.cloud.make_contributor(&cast.entra_admin.client_id);
    let plain =
        json!({ "auth": "azure-client-secret", "client_id": cast.entra_admin.client_id, "client_secret": "env:ENTRA_SECRET" });
    me.set(plain.clone());
    assert_eq!(me.name().await.unwrap_err().code(), "forbidden");
    let mut with_resource = plain;
    with_resource["azure_workspace_resource_id"] = resource.into();
    me.set(with_resource);
    assert_eq!(me.name().await.unwrap(), cast.entra_admin.client_id);
}

#[tokio::test(start_paused = true)]
async fn a_workspace_that_points_elsewhere_for_its_tenant_is_not_followed() {
    let mut me = Visitor::new(json!(null));
    let entra = me.bench.cloud.cast().entra_admin.clone();
    me.variable("ENTRA_SECRET", &entra.client_secret);
    me.set(json!({ "auth": "azure-client-secret", "client_id": entra.client_id, "client_secret": "env:ENTRA_SECRET" }));
    let location = "https://login.microsoftonline.com.evil.example/contoso.com/oauth2/authorize".to_owned();
    me.bench.cloud.set_faults(vec![Rule::always(Action::Redirect { location }).path("/aad/auth")]);
    let error = me.name().await.unwrap_err();
    assert_eq!(error.code(), "no-tenant");
    assert!(me.bench.cloud.requests().iter().all(|seen| !seen.service.contains("entra")), "the secret went nowhere");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_ask_at_once_make_one_request_to_the_service() {
    let mut me = Visitor::new(json!(null));
    let admin = me.bench.cloud.cast().admin.clone();
    me.set(json!({ "auth": "oauth-m2m", "client_id": admin.client_id, "client_secret": "env:ADMIN_SECRET" }));
    let signer = me.signer(&me.databricks());
    let asked = futures::future::join_all((0..10_000).map(|_| signer.token())).await;
    let first = asked[0].as_ref().unwrap().reveal().to_owned();
    assert!(asked.iter().all(|token| token.as_ref().unwrap().reveal() == first));
    assert_eq!(me.tokens_asked_for(), 1);
    // The wall clock alone goes on while a function is frozen.
    me.bench.pass(hours(9));
    assert_ne!(signer.token().await.unwrap().reveal(), first);
    me.bench.pass(minutes(5));
    signer.token().await.unwrap();
    assert_eq!(me.tokens_asked_for(), 2);
}
