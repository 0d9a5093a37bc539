//! Identities: which keys each kind of sign-in takes, and that none needs itself to be read.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::config::document::{AuthName, Document, IdentityPart, PlainText, ReferenceText};
use crate::config::model::{Auth, AzureSignIn, Identity, OidcToken, PlainOrReference, Proof};
use crate::config::problem::{Position, nearest, shown};
use crate::config::reference::{self, Reference};
use crate::config::tree::Place;
use crate::ids::{CredentialName, IdentityName};

/// What other parts of the document need to know of an identity.
#[derive(Clone, Copy)]
pub(super) struct SignIn {
    /// Its kind, if it could be read.
    auth: Option<AuthName>,
    is_credential: bool,
    has_tenant: bool,
}

impl SignIn {
    /// Whether it is a personal access token, which belongs to one workspace.
    pub(super) fn is_token(self) -> bool {
        self.auth == Some(AuthName::Pat)
    }

    /// Whether it signs in at Databricks itself, whose tokens Power BI does not take.
    pub(super) fn is_databricks_only(self) -> bool {
        self.is_credential || self.auth.is_some_and(|auth| kind(auth).databricks_only)
    }

    /// Whether it has no tenant, and Power BI can't be asked for one.
    pub(super) fn lacks_tenant(self) -> bool {
        let application = [AuthName::AzureClientSecret, AuthName::AzureSpM2m, AuthName::AzureClientCertificate];
        !self.has_tenant && self.auth.is_some_and(|auth| application.contains(&auth))
    }
}

/// An identity that another one needs before it can sign in.
struct Edge {
    from: String,
    to: String,
    at: Position,
}

/// The keys that a kind of sign-in takes.
struct Kind {
    needed: &'static [&'static str],
    optional: &'static [&'static str],
    databricks_only: bool,
}

/// Keys of an identity, of which each kind takes some.
const KEYS: [&str; 10] = [
    "token",
    "client_id",
    "client_secret",
    "client_certificate",
    "tenant_id",
    RESOURCE,
    "profile",
    "oidc_token_env",
    "oidc_token_filepath",
    "token_audience",
];

const RESOURCE: &str = "azure_workspace_resource_id";

fn kind(auth: AuthName) -> Kind {
    let databricks = |needed, optional| Kind { needed, optional, databricks_only: true };
    let entra = |needed, optional| Kind { needed, optional, databricks_only: false };
    match auth {
        AuthName::Pat => databricks(&["token"], &[]),
        AuthName::OauthM2m => databricks(&["client_id", "client_secret"], &[]),
        AuthName::ExternalBrowser | AuthName::DatabricksOauth => databricks(&[], &["client_id"]),
        AuthName::DatabricksCli => databricks(&[], &["profile"]),
        AuthName::EnvOidc => databricks(&[], &["client_id", "oidc_token_env"]),
        AuthName::FileOidc => databricks(&[], &["client_id", "oidc_token_filepath"]),
        AuthName::AwsWebIdentity => databricks(&[], &["client_id", "token_audience"]),
        AuthName::AzureClientSecret | AuthName::AzureSpM2m => entra(&["client_id", "client_secret"], &["tenant_id", RESOURCE]),
        AuthName::AzureClientCertificate => entra(&["client_id", "client_certificate"], &["tenant_id", RESOURCE]),
        AuthName::AzureBrowser | AuthName::AzureOauth | AuthName::AzureDeviceCode => entra(&[], &["client_id", "tenant_id"]),
        AuthName::AzureCli => entra(&[], &["tenant_id", RESOURCE]),
        AuthName::AzureMsi => entra(&[], &["client_id", RESOURCE]),
        AuthName::AzureWorkloadIdentity | AuthName::AzureDefault => entra(&[], &["client_id", "tenant_id", RESOURCE]),
    }
}

/// Every identity that the document names, however broken; `None` if it has no such section.
pub(super) fn sign_ins(document: &Document, place: Place<'_>) -> Option<BTreeMap<String, SignIn>> {
    let parts = document.identities.as_ref()?;
    let place = place.key("identities");
    let read = |name: &str| {
        let (part, place) = (parts.get(name), place.key(name));
        SignIn {
            auth: part.and_then(|part| part.auth),
            is_credential: place.has("credential"),
            has_tenant: place.has("tenant_id"),
        }
    };
    Some(place.keys().map(|name| (name.to_owned(), read(name))).collect())
}

impl Checker<'_> {
    pub(super) fn identities(&mut self, document: &Document, place: Place<'_>) -> BTreeMap<IdentityName, Identity> {
        let mut identities = BTreeMap::new();
        let mut edges = Vec::new();
        for (name, part) in document.identities.iter().flatten() {
            let place = place.key(name);
            self.own_name(name, place.label_at());
            let Some(auth) = self.auth(part, document, place) else { continue };
            edges.extend(needs(&auth, document, place).into_iter().map(|(to, at)| Edge { from: name.clone(), to, at }));
            let workspace_resource = part.azure_workspace_resource_id.clone();
            if workspace_resource.as_deref().is_some_and(|id| !is_workspace_resource(id)) {
                let hint = "write it as the Azure portal shows it: `/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Databricks/workspaces/NAME`";
                self.problem(place.key(RESOURCE).at(), "bad-id", "this is not the resource id of a Databricks workspace", hint);
            }
            let name = IdentityName::new(name);
            identities.insert(name.clone(), Identity { name, auth, workspace_resource });
        }
        self.no_cycle(&edges);
        identities
    }

    fn auth(&mut self, part: &IdentityPart, document: &Document, place: Place<'_>) -> Option<Auth> {
        let Some(auth) = part.auth else {
            return match &part.credential {
                Some(name) => self.credential_of(name, document, place),
                None => {
                    if !place.has("auth") && !place.has("credential") {
                        let hint = "add `auth: oauth-m2m`, or another kind of sign-in";
                        self.problem(place.label_at(), "missing-key", "the identity needs the key `auth`", hint);
                    }
                    None
                }
            };
        };
        let Kind { needed, optional, .. } = kind(auth);
        self.keys(needed, optional, place);
        let token = self.secret(part.token.as_ref(), place.key("token"));
        let secret = self.secret(part.client_secret.as_ref(), place.key("client_secret"));
        let certificate = self.secret(part.client_certificate.as_ref(), place.key("client_certificate"));
        let client_id = self.plain(part.client_id.as_ref(), place.key("client_id"));
        let tenant_id = self.plain(part.tenant_id.as_ref(), place.key("tenant_id"));
        Some(match auth {
            AuthName::Pat => Auth::Pat { token: token? },
            AuthName::OauthM2m => Auth::OauthM2m { client_id: client_id?, client_secret: secret? },
            AuthName::ExternalBrowser | AuthName::DatabricksOauth => Auth::ExternalBrowser { client_id },
            AuthName::DatabricksCli => Auth::DatabricksCli { profile: self.profile(part, place) },
            AuthName::EnvOidc => Auth::Federation { client_id, from: self.oidc_variable(part, place) },
            AuthName::FileOidc => Auth::Federation { client_id, from: self.oidc_file(part, place) },
            AuthName::AwsWebIdentity => {
                let audience = part.token_audience.clone().filter(|audience| !audience.is_empty());
                Auth::Federation { client_id, from: OidcToken::Aws(audience) }
            }
            AuthName::AzureClientSecret | AuthName::AzureSpM2m => {
                Auth::AzureApplication { tenant_id, client_id: client_id?, proof: Proof::Secret(secret?) }
            }
            AuthName::AzureClientCertificate => {
                Auth::AzureApplication { tenant_id, client_id: client_id?, proof: Proof::Certificate(certificate?) }
            }
            AuthName::AzureBrowser | AuthName::AzureOauth => Auth::AzurePerson { tenant_id, client_id, by: AzureSignIn::Browser },
            AuthName::AzureDeviceCode => Auth::AzurePerson { tenant_id, client_id, by: AzureSignIn::DeviceCode },
            AuthName::AzureCli => Auth::AzureCli { tenant_id },
            AuthName::AzureMsi => Auth::AzureMsi { client_id },
            AuthName::AzureWorkloadIdentity => Auth::AzureWorkloadIdentity { tenant_id, client_id },
            AuthName::AzureDefault => Auth::AzureDefault { tenant_id, client_id },
        })
    }

    fn credential_of(&mut self, name: &str, document: &Document, place: Place<'_>) -> Option<Auth> {
        self.keys(&[], &[], place);
        let known = document.credentials.as_ref()?;
        if known.contains_key(name) {
            return Some(Auth::Credential { name: CredentialName::new(name) });
        }
        let hint = nearest(name, known.keys().map(String::as_str))
            .map_or_else(|| "name one of those under `credentials`".to_owned(), |name| format!("did you mean `{name}`?"));
        let message = format!("no credential is called {}", shown(name));
        self.problem(place.key("credential").at(), "unknown-credential", message, hint);
        None
    }

    fn profile(&mut self, part: &IdentityPart, place: Place<'_>) -> Option<String> {
        let profile = part.profile.clone()?;
        if profile.is_empty() || profile.starts_with('-') || profile.contains(char::is_control) {
            let hint = "write the name in brackets that it has in `~/.databrickscfg`";
            self.problem(place.key("profile").at(), "no-value", "this is not the name of a profile", hint);
        }
        Some(profile)
    }

    fn oidc_variable(&mut self, part: &IdentityPart, place: Place<'_>) -> OidcToken {
        let name = part.oidc_token_env.clone();
        if name.as_deref().is_some_and(|name| Reference::parse(&format!("env:{name}"), self.base).is_err()) {
            let hint = "write the name of the variable, as in `oidc_token_env: MY_TOKEN`";
            self.problem(place.key("oidc_token_env").at(), "no-value", "this can't be the name of a variable", hint);
        }
        self.variables.extend(name.clone());
        OidcToken::Env(name)
    }

    fn oidc_file(&mut self, part: &IdentityPart, place: Place<'_>) -> OidcToken {
        let path = part.oidc_token_filepath.as_deref();
        let full = path.and_then(|path| reference::absolute(path, self.base));
        if path.is_some() && full.is_none() {
            let hint = "write the path of the file, or leave it to DATABRICKS_OIDC_TOKEN_FILEPATH";
            self.problem(place.key("oidc_token_filepath").at(), "no-value", "this is not a path", hint);
        }
        OidcToken::File(full)
    }

    fn keys(&mut self, needed: &[&str], optional: &[&str], place: Place<'_>) {
        for key in needed.iter().filter(|key| !place.has(key)) {
            self.problem(
                place.label_at(),
                "missing-key",
                format!("this kind of sign-in needs the key `{key}`"),
                format!("add `{key}:`"),
            );
        }
        for key in KEYS.into_iter().filter(|key| place.has(key) && !needed.contains(key) && !optional.contains(key)) {
            let hint = "remove it, or choose another `auth`";
            self.problem(place.key(key).label_at(), "unused-key", format!("this kind of sign-in has no use for `{key}`"), hint);
        }
        if place.has("credential") && place.has("auth") {
            let hint = "keep either `auth` or `credential`";
            self.problem(place.key("credential").label_at(), "unused-key", "an identity has one kind of sign-in", hint);
        }
    }

    fn secret(&mut self, text: Option<&ReferenceText>, place: Place<'_>) -> Option<Reference> {
        text.and_then(|text| self.reference(text, place))
    }

    fn plain(&mut self, text: Option<&PlainText>, place: Place<'_>) -> Option<PlainOrReference> {
        text.and_then(|text| self.plain_or_reference(text, place))
    }

    fn no_cycle(&mut self, edges: &[Edge]) {
        for edge in edges {
            let mut reached = BTreeSet::new();
            let mut open = vec![edge.to.as_str()];
            while let Some(name) = open.pop() {
                if reached.insert(name) {
                    open.extend(edges.iter().filter(|next| next.from == name).map(|next| next.to.as_str()));
                }
            }
            if reached.contains(edge.from.as_str()) {
                let message = "before it can sign in with this, the identity would have to be signed in";
                let hint = "keep it elsewhere, or let an identity that needs nothing of this one read it";
                self.problem(edge.at, "reference-cycle", message, hint);
            }
        }
    }
}

/// Identities that must sign in before this one can, and where that is written.
fn needs(auth: &Auth, document: &Document, place: Place<'_>) -> Vec<(String, Position)> {
    if let Auth::Credential { name } = auth {
        let credential = document.credentials.as_ref().and_then(|known| known.get(name.as_str()));
        let identity = credential.and_then(|credential| credential.identity.clone());
        return identity.map(|identity| (identity, place.key("credential").at())).into_iter().collect();
    }
    let read_by = |(key, reference): (&'static str, &Reference)| match reference {
        Reference::Databricks { identity, .. } => Some((identity.as_str().to_owned(), place.key(key).at())),
        Reference::Env(_) | Reference::File(_) | Reference::Vault(_) => None,
    };
    references(auth).into_iter().filter_map(read_by).collect()
}

fn references(auth: &Auth) -> Vec<(&'static str, &Reference)> {
    fn referred(value: Option<&PlainOrReference>) -> Option<&Reference> {
        match value? {
            PlainOrReference::Plain(_) => None,
            PlainOrReference::Reference(reference) => Some(reference),
        }
    }
    let (tenant_id, client_id, secret) = match auth {
        Auth::Pat { token } => (None, None, Some(("token", token))),
        Auth::OauthM2m { client_id, client_secret } => (None, Some(client_id), Some(("client_secret", client_secret))),
        Auth::AzureApplication { tenant_id, client_id, proof } => {
            let secret = match proof {
                Proof::Secret(reference) => ("client_secret", reference),
                Proof::Certificate(reference) => ("client_certificate", reference),
            };
            (tenant_id.as_ref(), Some(client_id), Some(secret))
        }
        Auth::ExternalBrowser { client_id } | Auth::Federation { client_id, .. } | Auth::AzureMsi { client_id } => {
            (None, client_id.as_ref(), None)
        }
        Auth::AzureCli { tenant_id } => (tenant_id.as_ref(), None, None),
        Auth::AzurePerson { tenant_id, client_id, .. }
        | Auth::AzureWorkloadIdentity { tenant_id, client_id }
        | Auth::AzureDefault { tenant_id, client_id } => (tenant_id.as_ref(), client_id.as_ref(), None),
        Auth::DatabricksCli { .. } | Auth::Credential { .. } => (None, None, None),
    };
    let tenant_id = referred(tenant_id).map(|reference| ("tenant_id", reference));
    let client_id = referred(client_id).map(|reference| ("client_id", reference));
    tenant_id.into_iter().chain(client_id).chain(secret).collect()
}

/// `/subscriptions/…/providers/Microsoft.Databricks/workspaces/NAME`; it goes into a header as it is.
fn is_workspace_resource(id: &str) -> bool {
    let lower = id.to_ascii_lowercase();
    lower.starts_with("/subscriptions/")
        && lower.contains("/providers/microsoft.databricks/workspaces/")
        && id.bytes().all(|byte| byte.is_ascii_graphic())
}
