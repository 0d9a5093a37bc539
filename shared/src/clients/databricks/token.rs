//! Databricks' own token endpoints: `POST {workspace}/oidc/v1/token`, or the account's, HTTP Basic with application id and
//! OAuth secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, header};

use crate::clients::oauth::{self, TokenAnswer};
use crate::config::Account;
use crate::http::{Http, HttpError, Service, json};
use crate::ids::{ApplicationId, Workspace};
use crate::secret::Secret;

const WHAT: &str = "get a token from Databricks";

/// A token for this very secret, past every cache: proves that a freshly minted secret signs in. A secret that is not known
/// everywhere yet is refused with `invalid_client`; the caller decides how long to go on asking. The tokens of a secret that
/// is bound to `scopes` can't have more than those; none means `all-apis`.
pub async fn token_of_secret(
    http: &Http,
    workspace: &Workspace,
    client_id: &ApplicationId,
    secret: &Secret,
    scopes: &[String],
) -> Result<Secret, HttpError> {
    Ok(request(http, &address(workspace), client_id.as_str(), secret, scopes).await?.value)
}

/// Where a workspace issues tokens.
pub(crate) fn address(workspace: &Workspace) -> String {
    format!("{}/oidc/v1/token", workspace.base())
}

/// Where an account issues tokens.
pub(crate) fn account_address(account: &Account) -> String {
    format!("{}/oidc/accounts/{}/v1/token", account.host.base(), super::segment(account.id.as_str()))
}

/// The client that people sign in through unless the config names another: the one that every workspace knows.
pub const PUBLIC_CLIENT_ID: &str = "databricks-cli";

/// What a person's sign-in is for: everything, and to be renewed.
pub const PERSON_SCOPES: &str = "all-apis offline_access";

/// Exchanges the token of another issuer; without a client id the account's federation policy says whose it is.
pub(crate) async fn exchange(
    http: &Http,
    address: &str,
    client_id: Option<&str>,
    subject: &Secret,
) -> Result<TokenAnswer, HttpError> {
    let mut fields = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", subject.reveal()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("scope", "all-apis"),
    ];
    fields.extend(client_id.map(|id| ("client_id", id)));
    oauth::token(http, Service::Databricks, "exchange a token at Databricks", json::form(address, &fields)).await
}

/// Life in seconds.
pub(crate) async fn request(
    http: &Http,
    address: &str,
    client_id: &str,
    secret: &Secret,
    scopes: &[String],
) -> Result<TokenAnswer, HttpError> {
    let scope = if scopes.is_empty() { "all-apis".to_owned() } else { scopes.join(" ") };
    let mut request = json::form(address, &[("grant_type", "client_credentials"), ("scope", &scope)]);
    let basic = format!("Basic {}", STANDARD.encode(format!("{client_id}:{}", secret.reveal())));
    let mut basic = HeaderValue::try_from(basic).expect("base64 fits into a header");
    basic.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, basic);
    oauth::token(http, Service::Databricks, WHAT, request).await
}
