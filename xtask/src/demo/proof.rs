//! Does a dataset read data with the new secret? Asked of Power BI's own API, as anybody would who has nothing to do with
//! lakekey: sign in, refresh, look into the refresh history. Under faults each request is tried again.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request};
use lakekey_core::http::transport::Transport;
use lakekey_sim::{DatasetTruth, POWERBI_AUDIENCE};
use serde_json::Value;

use super::scene::Scene;

/// Refreshes a dataset and gives the status that the history has for it in the end.
pub(super) async fn refresh(scene: &Scene, dataset: &DatasetTruth) -> anyhow::Result<String> {
    let token = sign_in(scene).await?;
    let address = &scene.cloud().addresses().powerbi;
    let url = format!("{address}/v1.0/myorg/groups/{}/datasets/{}/refreshes", dataset.group, dataset.id);
    let begin = || request(Method::POST, &url, &token, r#"{"notifyOption":"NoNotification"}"#);
    // An answer that got lost leaves a refresh under way, and a second one is refused.
    ask(scene, begin, |status, body| status == 202 || body.contains("already executing")).await?;
    let history = || request(Method::GET, &format!("{url}?$top=1"), &token, "");
    for _ in 0..LOOKS_MAX {
        let body = ask(scene, history, |status, body| status == 200 && body.starts_with('{')).await?;
        let newest: Value = serde_json::from_str(&body).unwrap_or_default();
        match newest["value"][0]["status"].as_str() {
            Some("Unknown") | None => scene.clock.sleep(PAUSE).await,
            Some(status) => return Ok(status.to_owned()),
        }
    }
    anyhow::bail!("the refresh of `{}` did not end", dataset.name)
}

async fn sign_in(scene: &Scene) -> anyhow::Result<String> {
    let (cast, entra) = (scene.cloud().cast(), &scene.cloud().addresses().entra);
    let url = format!("{entra}/{}/oauth2/v2.0/token", cast.tenant);
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &cast.powerbi.client_id)
        .append_pair("client_secret", &cast.powerbi.client_secret)
        .append_pair("scope", &format!("{POWERBI_AUDIENCE}/.default"))
        .finish();
    let post = || {
        let request = Request::post(&url).header("content-type", "application/x-www-form-urlencoded");
        request.body(Bytes::from(form.clone())).context("the simulated Entra has no usable address")
    };
    let body = ask(scene, post, |status, body| status == 200 && serde_json::from_str::<Value>(body).is_ok()).await?;
    let answer: Value = serde_json::from_str(&body)?;
    answer["access_token"].as_str().map(str::to_owned).context("Entra's answer has no token in it")
}

fn request(method: Method, url: &str, token: &str, body: &str) -> anyhow::Result<Request<Bytes>> {
    Request::builder()
        .method(method)
        .uri(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_owned()))
        .context("the simulated Power BI has no usable address")
}

/// Sends until the answer is one that counts.
async fn ask(
    scene: &Scene,
    request: impl Fn() -> anyhow::Result<Request<Bytes>>,
    counts: impl Fn(u16, &str) -> bool,
) -> anyhow::Result<String> {
    let mut last = String::new();
    for _ in 0..TRIES_MAX {
        match scene.watch.send(request()?, TIMEOUT).await {
            Ok(answer) => {
                let (status, body) = (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned());
                if counts(status, &body) {
                    return Ok(body);
                }
                last = format!("{status} {body}");
            }
            Err(error) => last = error.to_string(),
        }
        scene.clock.sleep(PAUSE).await;
    }
    anyhow::bail!("Power BI did not answer as it should in {TRIES_MAX} tries: {last}")
}

const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);
const TRIES_MAX: usize = 20;
const LOOKS_MAX: usize = 240;
