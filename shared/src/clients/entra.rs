//! Entra: tokens for applications, and finding the tenant of a Databricks workspace.

use http::{Method, StatusCode, header};
use url::Url;

use crate::clients::oauth::{self, TokenAnswer};
use crate::error::Error;
use crate::http::{Call, Effect, Http, HttpError, Service};
use crate::http::{json, retry};
use crate::ids::Workspace;
use crate::secret::Secret;

/// The scope of Databricks tokens, the same application in every cloud.
pub const DATABRICKS_SCOPE: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default";

/// The public client that people sign in through unless the config names another: that of the Azure CLI, which Entra knows
/// in every tenant and lets return to any port of loopback.
pub const PUBLIC_CLIENT_ID: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

/// Whose people may sign in where no tenant is named: anybody with a work account.
pub const ANY_TENANT: &str = "organizations";

/// The sign-in hosts of Entra, of which a workspace may name one.
const AUTHORITIES: [&str; 3] = ["login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn"];

/// Who asks for a token.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    /// GUID or domain.
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) grant: Grant<'a>,
}

/// What shows that it may have one.
#[derive(Clone, Copy)]
pub(crate) enum Grant<'a> {
    /// The application's secret.
    Secret(&'a Secret),
    /// A JWT signed with the key of its certificate.
    Assertion(&'a Secret),
}

/// The token endpoint of a tenant.
pub(crate) fn token_address(entra: &Url, tenant: &str) -> String {
    address(entra, tenant, "token")
}

/// An OAuth 2.0 endpoint of a tenant, by its last word: `authorize`, `devicecode`, `token`.
pub(crate) fn address(entra: &Url, tenant: &str, word: &str) -> String {
    let tenant = super::databricks::segment(tenant);
    format!("{}/{tenant}/oauth2/v2.0/{word}", entra.as_str().trim_end_matches('/'))
}

/// `POST {entra}/{tenant}/oauth2/v2.0/token`; life in seconds.
pub(crate) async fn token(http: &Http, entra: &Url, client: Client<'_>, scope: &str) -> Result<TokenAnswer, HttpError> {
    const JWT: (&str, &str) = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let mut fields = vec![("grant_type", "client_credentials"), ("client_id", client.client_id)];
    match client.grant {
        Grant::Secret(secret) => fields.push(("client_secret", secret.reveal())),
        Grant::Assertion(jwt) => fields.extend([JWT, ("client_assertion", jwt.reveal())]),
    }
    fields.push(("scope", scope));
    let request = json::form(&token_address(entra, client.tenant), &fields);
    oauth::token(http, Service::Entra, "get a token from Entra", request).await
}

/// The tenant of a workspace: `GET {workspace}/aad/auth` answers with a redirect to `{entra}/{tenant}/oauth2/authorize`,
/// which is read and not followed. Where it does not, an unsigned call is refused with a challenge that names it.
pub(crate) async fn tenant_of(http: &Http, workspace: &Workspace, entra: &Url) -> Result<String, Error> {
    let call = |path: &str| Call {
        service: Service::Databricks,
        what: "find the tenant of the workspace",
        request: json::request(Method::GET, &format!("{}{path}", workspace.base())),
        signer: None,
        effect: Effect::Repeatable,
        not_after: None,
    };
    let unnamed = |reason: &str| {
        Error::failed("no-tenant", format!("`{}` does not name its tenant: {reason}", workspace.host()))
            .hint("give the identity a `tenant_id`")
    };
    let error = match http.send_for(call("/aad/auth"), StatusCode::is_redirection).await {
        Ok(answer) => {
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            return tenant_in(location.unwrap_or_default(), entra).map_err(unnamed);
        }
        Err(error) => error,
    };
    if error.status().is_none_or(retry::is_transient) {
        return Err(error.into());
    }
    let challenged = http.send_for(call("/api/2.0/preview/scim/v2/Me"), |status| *status == StatusCode::UNAUTHORIZED).await;
    let named = challenged.ok().and_then(|answer| {
        let challenge = answer.headers().get(header::WWW_AUTHENTICATE)?.to_str().ok()?;
        authorization_in(challenge).map(str::to_owned)
    });
    match named {
        Some(address) => tenant_in(&address, entra).map_err(unnamed),
        None => Err(unnamed("it answers without pointing to a sign-in page").caused_by(error)),
    }
}

/// The address in `Bearer authorization_uri="…"`, or `authorization="…"` as some services spell it.
fn authorization_in(challenge: &str) -> Option<&str> {
    let bearer = challenge.trim_start().strip_prefix("Bearer ")?;
    bearer.split(',').find_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        matches!(name, "authorization_uri" | "authorization").then(|| value.trim_matches('"'))
    })
}

fn tenant_in(location: &str, entra: &Url) -> Result<String, &'static str> {
    if location.contains("private-link-validation-error") {
        return Err("it is reachable by Private Link only");
    }
    let url = Url::parse(location).map_err(|_| "it does not point to a sign-in page")?;
    let host = url.host_str().unwrap_or_default();
    let is_configured = entra.host_str() == Some(host) && entra.port_or_known_default() == url.port_or_known_default();
    let is_official = AUTHORITIES.contains(&host) && url.scheme() == "https";
    if !(is_configured || is_official) {
        return Err("it points to a host that is not Entra's");
    }
    let tenant = url.path_segments().and_then(|mut segments| segments.next()).unwrap_or_default();
    let is_domain = tenant.contains('.')
        && tenant.split('.').all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    if is_domain || uuid::Uuid::try_parse(tenant).is_ok() { Ok(tenant.to_owned()) } else { Err("it names no single tenant") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tenant_at_entra_is_taken() {
        let entra: Url = "https://login.microsoftonline.com".parse().unwrap();
        let guid = "63ed0c61-9a0b-4c3f-8a63-0e4f8d6a1b2c";
        let found = |location: &str| tenant_in(location, &entra);
        assert_eq!(found(&format!("https://login.microsoftonline.com/{guid}/oauth2/authorize?x=1")), Ok(guid.to_owned()));
        assert_eq!(found(&format!("https://login.microsoftonline.us/{guid}/oauth2/authorize")), Ok(guid.to_owned()));
        assert_eq!(found("https://login.microsoftonline.com/contoso.com/oauth2"), Ok("contoso.com".to_owned()));
        for location in [
            "",
            "/login.html",
            "/login.html?error=private-link-validation-error:1",
            "https://login.microsoftonline.com/",
            "https://login.microsoftonline.com/common/oauth2/authorize",
            "https://login.microsoftonline.com/organizations/oauth2/authorize",
            &format!("https://login.example.com/{guid}/oauth2/authorize"),
            &format!("http://login.microsoftonline.us/{guid}/x"),
            &format!("https://login.microsoftonline.com:444/{guid}/x").replace(".com:", ".evil:"),
        ] {
            assert!(found(location).is_err(), "{location}");
        }
    }
}
