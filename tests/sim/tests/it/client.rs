//! A client as small as can be, which trusts nothing and retries nothing.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request};
use lakekey_sim::{Cloud, FABRIC_AUDIENCE, Fleet, Login, Lost, POWERBI_AUDIENCE, Settings, SourceTruth};
use serde_json::{Value, json};

pub(crate) const DBX: &str = "https://adb-1.1.azuredatabricks.net";
pub(crate) const DBX_2: &str = "https://adb-2.2.azuredatabricks.net";
pub(crate) const PBI: &str = "https://api.powerbi.com/v1.0/myorg";
pub(crate) const FABRIC: &str = "https://api.fabric.microsoft.com/v1";

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

pub(crate) fn cloud() -> Cloud {
    cloud_with(|_| {})
}

pub(crate) fn cloud_with(change: impl FnOnce(&mut Settings)) -> Cloud {
    let mut settings = Settings { start: Some("2026-03-01T08:00:00Z".parse().expect("a timestamp")), ..Settings::default() };
    change(&mut settings);
    Fleet::new(8, 7).build(settings)
}

pub(crate) async fn send(cloud: &Cloud, method: &str, url: &str, token: &str, body: Option<Value>) -> Answer {
    try_send(cloud, method, url, token, body).await.expect("an answer")
}

pub(crate) async fn try_send(cloud: &Cloud, method: &str, url: &str, token: &str, body: Option<Value>) -> Result<Answer, Lost> {
    let mut request = Request::builder().method(method).uri(url);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    Ok(read(cloud.handle(request.body(body).expect("a request")).await?))
}

pub(crate) async fn get(cloud: &Cloud, url: &str, token: &str) -> Answer {
    send(cloud, "GET", url, token, None).await
}

pub(crate) fn read(response: http::Response<Bytes>) -> Answer {
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(body.to_vec()).expect("text");
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer { status: parts.status.as_u16(), headers: parts.headers, text, json }
}

/// A request of the workspace's token endpoint.
pub(crate) async fn sign_in(cloud: &Cloud, base: &str, client_id: &str, secret: &str, scope: &str) -> Answer {
    let request = Request::post(format!("{base}/oidc/v1/token"))
        .header("authorization", format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}"))))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from(format!("grant_type=client_credentials&scope={scope}")))
        .expect("a request");
    read(cloud.handle(request).await.expect("an answer"))
}

pub(crate) async fn entra(cloud: &Cloud, tenant: &str, login: &Login, scope: &str) -> Answer {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &login.client_id)
        .append_pair("client_secret", &login.client_secret)
        .append_pair("scope", scope)
        .finish();
    let request = Request::post(format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from(form))
        .expect("a request");
    read(cloud.handle(request).await.expect("an answer"))
}

pub(crate) fn token_of(answer: &Answer) -> String {
    answer.json["access_token"].as_str().unwrap_or_else(|| panic!("a token in {}", answer.text)).to_owned()
}

pub(crate) async fn admin(cloud: &Cloud, base: &str) -> String {
    let login = &cloud.cast().admin;
    token_of(&sign_in(cloud, base, &login.client_id, &login.client_secret, "all-apis").await)
}

pub(crate) async fn powerbi(cloud: &Cloud) -> String {
    let cast = cloud.cast();
    token_of(&entra(cloud, &cast.tenant, &cast.powerbi, &format!("{POWERBI_AUDIENCE}/.default")).await)
}

pub(crate) async fn fabric(cloud: &Cloud) -> String {
    let cast = cloud.cast();
    token_of(&entra(cloud, &cast.tenant, &cast.powerbi, &format!("{FABRIC_AUDIENCE}/.default")).await)
}

pub(crate) fn secrets_url(cloud: &Cloud) -> String {
    format!("{DBX}/api/2.0/accounts/servicePrincipals/{}/credentials/secrets", cloud.cast().principal.id)
}

/// Mints as lakekey would, and waits until the secret is accepted.
pub(crate) async fn minted(cloud: &Cloud) -> (String, String) {
    let token = admin(cloud, DBX).await;
    let answer = send(cloud, "POST", &secrets_url(cloud), &token, Some(json!({ "lifetime": "604800s" }))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    cloud.advance(Duration::from_secs(2));
    let field = |name: &str| answer.json[name].as_str().expect("text").to_owned();
    (field("id"), field("secret"))
}

/// A target of that connectivity; of a person's dataset or of lakekey's own.
pub(crate) fn target(cloud: &Cloud, connectivity: &str, own: bool) -> SourceTruth {
    let truth = cloud.truth();
    let mine = |source: &SourceTruth| {
        let owner = truth.datasets.iter().find(|dataset| source.datasets.contains(&dataset.id)).map(|dataset| &dataset.owner);
        owner == Some(&cloud.cast().powerbi.object_id)
    };
    let found = truth.sources.iter().find(|source| source.target && source.connectivity == connectivity && mine(source) == own);
    found.expect("the fleet has such a target").clone()
}

pub(crate) fn source(cloud: &Cloud, id: &str) -> SourceTruth {
    cloud.sources().into_iter().find(|source| source.id == id).expect("the data source is there")
}

pub(crate) fn source_url(source: &SourceTruth) -> String {
    format!("{PBI}/gateways/{}/datasources/{}", source.gateway, source.id)
}

pub(crate) fn credential_text(username: &str, password: &str) -> String {
    json!({ "credentialData": [{ "name": "username", "value": username }, { "name": "password", "value": password }] })
        .to_string()
}

/// The body of an update for a cloud source.
pub(crate) fn update(credentials: &str, algorithm: &str) -> Value {
    json!({ "credentialDetails": {
        "credentialType": "Basic",
        "credentials": credentials,
        "encryptedConnection": "Encrypted",
        "encryptionAlgorithm": algorithm,
        "privacyLevel": "Private",
        "useEndUserOAuth2Credentials": false,
    } })
}

/// The workspace and id of the first dataset on a source.
pub(crate) fn dataset_of(cloud: &Cloud, source: &SourceTruth) -> (String, String) {
    let truth = cloud.truth();
    let dataset = truth.datasets.iter().find(|dataset| dataset.id == source.datasets[0]).expect("it has a dataset");
    (dataset.group.clone(), dataset.id.clone())
}
