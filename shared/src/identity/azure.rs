//! What signs in to Azure without anything in the config: managed identities and workload identities through
//! `azure_identity`, whose requests take lakekey's own way out; the Azure CLI; and the search among them all.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, StatusCode, Transport};
use azure_identity::{
    ClientAssertionCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::tool::Tool;
use crate::clients::oauth::{self, TokenAnswer};
use crate::config::env_vars::Environment;
use crate::config::hosts::HostPolicy;
use crate::config::reference::Reference;
use crate::config::{Endpoints, Proof};
use crate::error::Error;
use crate::http::{Call, Effect, Http, HttpError, Service};
use crate::secret::Secret;

/// Where a virtual machine asks for the tokens of its identity.
const IMDS: &str = "http://169.254.169.254";

/// On machines that are not in Azure nobody answers at that address: the search goes on after this long.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(2);

const WHAT_MANAGED: &str = "get a token of the managed identity";

/// What the environment says of an application: whoever deploys sets either family.
const FAMILIES: [&str; 2] = ["AZURE", "ARM"];

/// An application that the environment names.
pub(super) struct Application {
    pub(super) tenant: String,
    pub(super) client_id: String,
    pub(super) proof: Proof,
}

/// A token of the identity that the platform gives this process. App Service and Functions have an endpoint of their own,
/// virtual machines IMDS; `client_id` picks a user-assigned identity.
pub(super) async fn managed_identity(
    http: &Http,
    environment: &Environment,
    client_id: Option<String>,
    scope: &str,
) -> Result<TokenAnswer, Error> {
    let endpoint = environment.get("IDENTITY_ENDPOINT").unwrap_or(IMDS);
    let Ok(endpoint) = Url::parse(endpoint) else {
        return Err(Error::failed("managed-identity", "IDENTITY_ENDPOINT in the environment is not an address")
            .hint("the platform sets it: let it be, or unset it where there is no managed identity"));
    };
    let relay = Relay::new(http.with_hosts(HostPolicy::platform(&endpoint)), WHAT_MANAGED, endpoint);
    let named = client_id.is_some();
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id: client_id.map(UserAssignedId::ClientId),
        client_options: relay.options(),
    };
    let credential = ManagedIdentityCredential::new(Some(options)).map_err(|error| relay.unusable(error))?;
    relay.answer(&*credential, scope).await.map_err(|error| {
        let hint = match (error.code(), named) {
            ("unreachable" | "timeout" | "no-answer", _) => {
                "run lakekey on an Azure resource that has a managed identity, or use another kind of sign-in"
            }
            (_, true) => "assign the identity with this client id (`client_id`, or AZURE_CLIENT_ID) to this resource",
            (_, false) => "switch the system-assigned identity on, or name a user-assigned one in `client_id` or AZURE_CLIENT_ID",
        };
        error.hint(hint)
    })
}

/// A token of a Kubernetes service account's identity; the file's token proves it, read anew each time.
pub(super) async fn workload_identity(
    http: &Http,
    endpoints: &Endpoints,
    (tenant, client_id, file): (String, String, &str),
    scope: &str,
) -> Result<TokenAnswer, Error> {
    let relay = Relay::new(http.clone(), "get a token of the workload identity", endpoints.entra.clone());
    let mut authority = CustomConfiguration::default();
    authority.authority_host = https(&endpoints.entra);
    let client_options = ClientOptions { cloud: Some(Arc::new(authority.into())), ..relay.options() };
    let options = WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options },
        client_id: Some(client_id),
        tenant_id: Some(tenant),
        token_file_path: Some(PathBuf::from(file)),
    };
    let credential = WorkloadIdentityCredential::new(Some(options)).map_err(|error| relay.unusable(error))?;
    relay.answer(&*credential, scope).await
}

/// The variable of a workload identity, or what to do where it is not set.
pub(super) fn variable<'a>(environment: &'a Environment, name: &str) -> Result<&'a str, Error> {
    environment.get(name).ok_or_else(|| {
        Error::failed("sign-in-incomplete", format!("the environment variable `{name}` is not set"))
            .hint("label the pod `azure.workload.identity/use: \"true\"` and annotate its service account, or set it yourself")
    })
}

#[derive(Deserialize)]
struct CliToken {
    #[serde(rename = "accessToken")]
    access_token: String,
    /// Seconds since 1970; the Azure CLI has it since 2.54.
    expires_on: Option<i64>,
}

/// A token of whoever signed in with `az login`. Not through `azure_identity`, which starts it by a shell.
pub(super) async fn cli(environment: &Environment, tenant: Option<&str>, scope: &str) -> Result<(Secret, Timestamp), Error> {
    let mut arguments = vec!["account", "get-access-token", "--output", "json", "--scope", scope];
    arguments.extend(tenant.into_iter().flat_map(|tenant| ["--tenant", tenant]));
    let tool = Tool {
        name: "Azure CLI",
        program: if cfg!(windows) { "az.cmd" } else { "az" },
        arguments: &arguments,
        hint: "install the Azure CLI 2.54 or newer and run `az login`",
    };
    let token: CliToken = tool.run(environment).await?;
    let expires = token.expires_on.and_then(|at| Timestamp::from_second(at).ok());
    match expires {
        Some(expires) => Ok((Secret::new(token.access_token), expires)),
        None => Err(Error::failed("sign-in-tool", "the Azure CLI does not say when its token expires").hint(tool.hint)),
    }
}

/// The application that the environment names, if it names one: all of tenant, client id, and secret or certificate.
pub(super) fn application(environment: &Environment) -> Result<Option<Application>, Error> {
    let mut found: Vec<(Application, [String; 2])> = Vec::new();
    for family in FAMILIES {
        let of = |name: &str| environment.get(&format!("{family}_{name}")).map(str::to_owned);
        let (Some(client_id), Some(tenant)) = (of("CLIENT_ID"), of("TENANT_ID")) else { continue };
        let (secret, certificate) = (format!("{family}_CLIENT_SECRET"), format!("{family}_CLIENT_CERTIFICATE_PATH"));
        let proofs = [
            environment.get(&secret).map(|_| (Proof::Secret(Reference::Env(secret.clone())), secret.clone())),
            environment.get(&certificate).map(|path| (Proof::Certificate(Reference::File(path.into())), certificate.clone())),
        ];
        for (proof, variable) in proofs.into_iter().flatten() {
            let application = Application { tenant: tenant.clone(), client_id: client_id.clone(), proof };
            found.push((application, [format!("{family}_CLIENT_ID"), variable]));
        }
    }
    if let [(_, [_, first]), (_, [_, second]), ..] = found.as_slice() {
        let message = format!("the environment signs in in two ways: `{first}` and `{second}` are both set");
        return Err(Error::failed("ambiguous-environment", message).hint("unset one of them, or name one way in the config"));
    }
    Ok(found.pop().map(|(application, _)| application))
}

/// The managed identity where there is one, else the Azure CLI: the end of the search of `azure-default`.
pub(super) async fn search(
    http: &Http,
    environment: &Environment,
    (tenant, client_id): (Option<&str>, Option<String>),
    scope: &str,
) -> Result<Found, Error> {
    let managed = managed_identity(http, environment, client_id, scope);
    if environment.get("IDENTITY_ENDPOINT").is_some() {
        return managed.await.map(Found::Managed);
    }
    if let Ok(Ok(answer)) = tokio::time::timeout(SEARCH_TIME_MAX, managed).await {
        return Ok(Found::Managed(answer));
    }
    let (value, expires) = cli(environment, tenant, scope).await.map_err(|error| {
        let message = format!(
            "nothing here signs in to Azure: the environment names no application and no workload identity, no managed identity answers, and {}",
            error.problem().message
        );
        Error::failed("no-azure-sign-in", message)
            .hint("set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, run on a resource with a managed identity, or run `az login`")
            .caused_by(error)
    })?;
    Ok(Found::Cli(value, expires))
}

/// What the search found.
pub(super) enum Found {
    Managed(TokenAnswer),
    Cli(Secret, Timestamp),
}

/// Carries the requests of an Azure credential through [`Http::send`] and keeps what came of them: the library's own errors
/// say less, and its expiry is by the machine's clock.
#[derive(Clone)]
struct Relay(Arc<Passing>);

struct Passing {
    http: Http,
    what: &'static str,
    /// Whose scheme is used: the library speaks https only, and the address of a simulated Entra may be on loopback.
    address: Url,
    outcome: Mutex<Option<Result<TokenAnswer, HttpError>>>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Relay").field(&self.0.what).finish()
    }
}

impl Relay {
    fn new(http: Http, what: &'static str, address: Url) -> Self {
        Self(Arc::new(Passing { http, what, address, outcome: Mutex::default() }))
    }

    /// Options of a credential whose requests go this way; retries are those of [`Http::send`] alone.
    fn options(&self) -> ClientOptions {
        let transport = Some(Transport::new(Arc::new(self.clone())));
        ClientOptions { transport, retry: RetryOptions::none(), ..ClientOptions::default() }
    }

    /// Asks the credential, and gives what the endpoint answered.
    async fn answer(&self, credential: &dyn TokenCredential, scope: &str) -> Result<TokenAnswer, Error> {
        let outcome = credential.get_token(&[scope], None).await;
        let carried = self.0.outcome.lock().expect("no code panics while it holds the outcome").take();
        match (carried, outcome) {
            (Some(Ok(answer)), Ok(_)) => Ok(answer),
            (Some(Err(error)), _) => Err(error.into()),
            (None, Err(error)) | (Some(Ok(_)), Err(error)) => Err(self.unusable(error)),
            (None, Ok(_)) => Err(Error::failed("sign-in-failed", format!("{}: no request was sent", self.0.what))),
        }
    }

    fn unusable(&self, error: azure_core::Error) -> Error {
        Error::failed("sign-in-failed", format!("{}: the environment holds no usable sign-in", self.0.what))
            .hint("check the variables and files that the platform provides")
            .caused_by(error)
    }

    async fn send(&self, request: http::Request<Bytes>) -> Result<(http::Response<Bytes>, TokenAnswer), HttpError> {
        let Passing { http, what, .. } = &*self.0;
        let target = format!("{} {}{}", request.method(), request.uri().host().unwrap_or_default(), request.uri().path());
        let asked = http.clock().now();
        let call = Call { service: Service::Entra, what, request, signer: None, effect: Effect::Repeatable, not_after: None };
        let response = http.send(call).await?;
        let answer = oauth::read(http, what, &target, asked, &response)?;
        Ok((response, answer))
    }
}

#[async_trait::async_trait]
impl HttpClient for Relay {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut url = request.url().clone();
        // Between two special schemes this can't fail.
        let _ = url.set_scheme(self.0.address.scheme());
        let mut copy = http::Request::new(Bytes::from(request.body()));
        *copy.method_mut() = http::Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
        *copy.uri_mut() = url.as_str().parse().unwrap_or_default();
        for (name, value) in request.headers().iter() {
            let name = http::HeaderName::try_from(name.as_str());
            if let (Ok(name), Ok(value)) = (name, http::HeaderValue::try_from(value.as_str())) {
                copy.headers_mut().insert(name, value);
            }
        }
        let outcome = self.send(copy).await;
        let (outcome, result) = match outcome {
            Ok((response, answer)) => {
                let raw = AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), response.into_body());
                (Ok(answer), Ok(raw))
            }
            Err(error) => {
                let told = azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "the request failed");
                (Err(error), Err(told))
            }
        };
        *self.0.outcome.lock().expect("no code panics while it holds the outcome") = Some(outcome);
        result
    }
}

fn https(url: &Url) -> String {
    let mut url = url.clone();
    // Between two special schemes this can't fail.
    let _ = url.set_scheme("https");
    url.as_str().trim_end_matches('/').to_owned()
}
