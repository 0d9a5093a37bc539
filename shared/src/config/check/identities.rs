//! Identities: which keys each kind of sign-in takes, and that none needs itself to be read.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::config::document::{AuthName, Document, IdentityPart, PlainText, ReferenceText};
use crate::config::model::{Auth, Identity, PlainOrReference};
use crate::config::problem::Position;
use crate::config::reference::Reference;
use crate::config::tree::Place;
use crate::ids::IdentityName;

/// What other parts of the document need to know of an identity.
#[derive(Clone, Copy)]
pub(super) struct SignIn {
    /// Its kind, if it could be read.
    pub(super) auth: Option<AuthName>,
    pub(super) has_tenant: bool,
}

/// A secret of one identity that another one reads.
struct Edge {
    from: String,
    to: String,
    at: Position,
}

/// Keys of an identity, of which each kind takes some.
const KEYS: [&str; 4] = ["token", "client_id", "client_secret", "tenant_id"];

/// Kinds of sign-in that this version has; aliases are folded.
#[derive(Clone, Copy)]
enum Supported {
    Pat,
    OauthM2m,
    AzureClientSecret,
}

impl Supported {
    /// The keys it needs, and those that it can do without.
    fn keys(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Pat => (&["token"], &[]),
            Self::OauthM2m => (&["client_id", "client_secret"], &[]),
            Self::AzureClientSecret => (&["client_id", "client_secret"], &["tenant_id"]),
        }
    }
}

fn supported(auth: AuthName) -> Option<Supported> {
    match auth {
        AuthName::Pat => Some(Supported::Pat),
        AuthName::OauthM2m => Some(Supported::OauthM2m),
        AuthName::AzureClientSecret | AuthName::AzureSpM2m => Some(Supported::AzureClientSecret),
        AuthName::ExternalBrowser
        | AuthName::DatabricksOauth
        | AuthName::DatabricksCli
        | AuthName::AzureClientCertificate
        | AuthName::AzureBrowser
        | AuthName::AzureOauth
        | AuthName::AzureDeviceCode
        | AuthName::AzureCli
        | AuthName::AzureMsi
        | AuthName::AzureWorkloadIdentity
        | AuthName::AzureDefault
        | AuthName::EnvOidc
        | AuthName::FileOidc
        | AuthName::AwsWebIdentity => None,
    }
}

/// Every identity that the document names, however broken; `None` if it has no such section.
pub(super) fn sign_ins(document: &Document, place: Place<'_>) -> Option<BTreeMap<String, SignIn>> {
    let parts = document.identities.as_ref()?;
    let place = place.key("identities");
    let read =
        |name: &str| SignIn { auth: parts.get(name).and_then(|part| part.auth), has_tenant: place.key(name).has("tenant_id") };
    Some(place.keys().map(|name| (name.to_owned(), read(name))).collect())
}

impl Checker<'_> {
    pub(super) fn identities(&mut self, document: &Document, place: Place<'_>) -> BTreeMap<IdentityName, Identity> {
        let mut identities = BTreeMap::new();
        let mut edges = Vec::new();
        for (name, part) in document.identities.iter().flatten() {
            let place = place.key(name);
            self.own_name(name, place.label_at());
            let Some(auth) = self.auth(part, place) else { continue };
            edges.extend(references(&auth).into_iter().filter_map(|(key, reference)| match reference {
                Reference::Databricks { identity, .. } => {
                    Some(Edge { from: name.clone(), to: identity.as_str().to_owned(), at: place.key(key).at() })
                }
                Reference::Env(_) | Reference::File(_) | Reference::Vault(_) => None,
            }));
            let name = IdentityName::new(name);
            identities.insert(name.clone(), Identity { name, auth });
        }
        self.no_cycle(&edges);
        identities
    }

    fn auth(&mut self, part: &IdentityPart, place: Place<'_>) -> Option<Auth> {
        let Some(auth) = part.auth else {
            if !place.has("auth") && !place.has("credential") {
                let hint = "add `auth: oauth-m2m`, or another kind of sign-in";
                self.problem(place.label_at(), "missing-key", "the identity needs the key `auth`", hint);
            }
            return None;
        };
        let kind = supported(auth);
        if let Some(kind) = kind {
            let (needed, optional) = kind.keys();
            self.keys(needed, optional, place);
        }
        let token = self.secret(part.token.as_ref(), place.key("token"));
        let client_secret = self.secret(part.client_secret.as_ref(), place.key("client_secret"));
        let client_id = self.plain(part.client_id.as_ref(), place.key("client_id"));
        let tenant_id = self.plain(part.tenant_id.as_ref(), place.key("tenant_id"));
        // What is not supported, `unavailable.rs` has reported.
        Some(match kind? {
            Supported::Pat => Auth::Pat { token: token? },
            Supported::OauthM2m => Auth::OauthM2m { client_id: client_id?, client_secret: client_secret? },
            Supported::AzureClientSecret => {
                Auth::AzureClientSecret { tenant_id, client_id: client_id?, client_secret: client_secret? }
            }
        })
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
        if place.has("credential") {
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
                let message = "to read this value, the identity would first have to sign in with it";
                let hint = "keep it elsewhere, or let an identity that needs nothing of this one read it";
                self.problem(edge.at, "reference-cycle", message, hint);
            }
        }
    }
}

fn references(auth: &Auth) -> Vec<(&'static str, &Reference)> {
    let referred = |value| match value {
        &PlainOrReference::Plain(_) => None,
        PlainOrReference::Reference(reference) => Some(reference),
    };
    match auth {
        Auth::Pat { token } => vec![("token", token)],
        Auth::OauthM2m { client_id, client_secret } => {
            let client_id = referred(client_id).map(|reference| ("client_id", reference));
            client_id.into_iter().chain([("client_secret", client_secret)]).collect()
        }
        Auth::AzureClientSecret { tenant_id, client_id, client_secret } => {
            let tenant_id = tenant_id.as_ref().and_then(referred).map(|reference| ("tenant_id", reference));
            let client_id = referred(client_id).map(|reference| ("client_id", reference));
            tenant_id.into_iter().chain(client_id).chain([("client_secret", client_secret)]).collect()
        }
    }
}
