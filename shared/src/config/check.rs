//! Makes the resolved config from the document: parses every value, resolves every name, checks values against each
//! other. Invariant: a value that is wrong is noted as a problem and replaced by something harmless, so that the checks
//! go on; a config comes out only if no problem was noted.

mod credential;
mod identities;
mod notify;
mod targets;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use url::Url;

use super::document::{ApiPart, DurationText, EndpointsPart, PlainText, ReferenceText, StatePart, StateSettings};
use super::document::{BrokerPart, Document};
use super::duration;
use super::hosts::{Cloud, ForbiddenHost, HostPolicy};
use super::model::{Api, BrokerRow, Config, Endpoints, PlainOrReference, ServiceAddress, StateConfig, StateLocation};
use super::place::ObjectPlace;
use super::problem::{Position, Problems, nearest, shown};
use super::reference::{self, Reference, ReferenceError};
use super::tree::{Node, Place};
use crate::ids::{IdentityName, Workspace};
use credential::Claims;
use identities::SignIn;

/// The only format of the document so far.
const VERSION: u64 = 1;

/// Resolves a document whose tree fits the schema.
pub(super) fn resolve(document: &Document, tree: &Node, context: Context<'_>, problems: &mut Problems) -> Option<Config> {
    let place = Place::root(tree);
    let mut checker = Checker {
        problems,
        hosts: context.hosts,
        base: context.base,
        sign_ins: identities::sign_ins(document, place),
        state: None,
        remote_state: false,
        claims: Claims::default(),
        variables: BTreeSet::new(),
    };
    checker.version(document, place.key("version"));
    let endpoints = checker.endpoints(document.cloud, document.endpoints.as_ref(), place.key("endpoints"));
    let state = checker.state(document.state.as_ref(), place.key("state"));
    checker.state.clone_from(&state);
    let identities = checker.identities(document, place.key("identities"));
    let credentials = checker.credentials(document, place);
    let notify = checker.notify(document, place.key("notify"));
    let api = checker.api(document.api.as_ref(), place.key("api"));
    let broker = checker.broker(document, place.key("broker"));
    Some(Config {
        endpoints: endpoints?,
        hosts: context.hosts.clone(),
        state: state?,
        identities,
        credentials,
        notify,
        api,
        broker,
        variables: checker.variables,
        digest: context.digest,
    })
}

/// What a document is resolved against.
pub(super) struct Context<'a> {
    pub(super) hosts: &'a HostPolicy,
    /// Relative paths start here.
    pub(super) base: &'a Path,
    pub(super) digest: String,
}

struct Checker<'a> {
    problems: &'a mut Problems,
    hosts: &'a HostPolicy,
    base: &'a Path,
    /// Every identity of the document; `None` if the document has none at all, which is a problem of its own.
    sign_ins: Option<BTreeMap<String, SignIn>>,
    state: Option<StateConfig>,
    /// The state is meant to be in the cloud, where other runners could not read a local store.
    remote_state: bool,
    claims: Claims,
    /// Those of every `env:` that was seen.
    variables: BTreeSet<String>,
}

impl Checker<'_> {
    fn version(&mut self, document: &Document, place: Place<'_>) {
        if let Some(version) = document.version.filter(|version| *version != VERSION) {
            let message = format!("version {version} of the config is not known");
            self.problems.add(place.at(), "unknown-version", message, format!("write `version: {VERSION}`"));
        }
    }

    fn endpoints(&mut self, cloud: Cloud, part: Option<&EndpointsPart>, place: Place<'_>) -> Option<Endpoints> {
        let mut endpoints = Endpoints::of(cloud);
        let hosts = cloud.hosts();
        let override_of = |pick: fn(&EndpointsPart) -> Option<&String>| part.and_then(pick).map(String::as_str);
        let mut whole = true;
        if let Some(text) = override_of(|part| part.arm.as_ref()) {
            self.address(text, place.key("arm"));
        }
        for (key, text, url) in [
            ("entra", override_of(|part| part.entra.as_ref()), &mut endpoints.entra),
            ("powerbi", override_of(|part| part.powerbi.as_ref()), &mut endpoints.powerbi),
            ("fabric", override_of(|part| part.fabric.as_ref()), &mut endpoints.fabric),
        ] {
            match text.map(|text| self.address(text, place.key(key))) {
                Some(Some(given)) => *url = given,
                Some(None) => whole = false,
                None => {}
            }
        }
        for (key, text, suffix, service) in [
            ("keyvault", override_of(|part| part.keyvault.as_ref()), hosts.keyvault, &mut endpoints.keyvault),
            ("blob", override_of(|part| part.blob.as_ref()), hosts.blob, &mut endpoints.blob),
            ("queue", override_of(|part| part.queue.as_ref()), hosts.queue, &mut endpoints.queue),
        ] {
            match text.map(|text| self.address_below(text, Some(suffix), place.key(key))) {
                Some(Some(given)) => *service = ServiceAddress::Override(given),
                Some(None) => whole = false,
                None => {}
            }
        }
        whole.then_some(endpoints)
    }

    fn state(&mut self, part: Option<&StatePart>, place: Place<'_>) -> Option<StateConfig> {
        let bare = |url: &str| StateSettings { url: Some(url.to_owned()), key: None, lease: None, skew: None };
        let built;
        let (settings, url_place) = match part? {
            StatePart::Url(url) => {
                built = bare(url);
                (&built, place)
            }
            StatePart::Full(settings) => (settings, place.key("url")),
        };
        let location = settings.url.as_deref().and_then(|url| self.state_location(url, url_place));
        let key = settings.key.as_ref().and_then(|key| self.reference(key, place.key("key")));
        let timing = self.lease_timing(settings, place);
        Some(StateConfig {
            location: location?,
            key,
            lease: timing.lease,
            skew: timing.skew,
            request_timeout: timing.request_timeout,
        })
    }

    fn state_location(&mut self, url: &str, place: Place<'_>) -> Option<StateLocation> {
        if url.starts_with("s3:") || url.starts_with("az:") {
            self.remote_state = true;
            let found = ObjectPlace::parse(url);
            if found.is_none() {
                let hint =
                    "write `s3://bucket/prefix` or `az://account/container/prefix`, in the letters that the service allows";
                self.problems.add(place.at(), "bad-state", format!("{} is not a place for the state", shown(url)), hint);
            }
            return found.map(StateLocation::Objects);
        }
        let path = url.strip_prefix("file:").and_then(|path| reference::absolute(path, self.base));
        if path.is_none() {
            let hint = "write `file:PATH`, `s3://bucket/prefix` or `az://account/container/prefix`";
            self.problems.add(place.at(), "bad-state", format!("{} is not a place for the state", shown(url)), hint);
        }
        path.map(StateLocation::File)
    }

    /// One host has one identity, so that a program is always the same person there.
    fn broker(&mut self, document: &Document, place: Place<'_>) -> Vec<BrokerRow> {
        let mut rows: Vec<BrokerRow> = Vec::new();
        for (index, BrokerPart { host, identity }) in document.broker.iter().flatten().enumerate() {
            let place = place.item(index);
            let workspace = host.as_deref().and_then(|host| self.workspace(host, place.key("host")));
            let identity = identity.as_deref().and_then(|identity| self.identity_name(identity, place.key("identity")));
            let (Some(workspace), Some(identity)) = (workspace, identity) else { continue };
            if rows.iter().any(|row| row.workspace == workspace) {
                let message = format!("{} stands in `broker` twice", shown(workspace.host()));
                self.problem(place.key("host").at(), "duplicate-host", message, "keep one of the two rows");
                continue;
            }
            rows.push(BrokerRow { workspace, identity });
        }
        rows
    }

    fn api(&mut self, part: Option<&ApiPart>, place: Place<'_>) -> Api {
        let Some(ApiPart { keys, webhook_secret }) = part else { return Api::default() };
        let mut reference = |text: Option<&ReferenceText>, place| text.and_then(|text| self.reference(text, place));
        let keys_place = place.key("keys");
        let keys = keys.as_ref();
        Api {
            reader: reference(keys.and_then(|keys| keys.reader.as_ref()), keys_place.key("reader")),
            operator: reference(keys.and_then(|keys| keys.operator.as_ref()), keys_place.key("operator")),
            breakglass: reference(keys.and_then(|keys| keys.breakglass.as_ref()), keys_place.key("breakglass")),
            webhook_secret: reference(webhook_secret.as_ref(), place.key("webhook_secret")),
        }
    }

    fn problem(&mut self, at: Position, code: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.add(at, code, message, hint);
    }

    fn duration(&mut self, text: &str, place: Place<'_>) -> Option<std::time::Duration> {
        duration::parse(text)
            .map_err(|why| {
                let message = format!("{} is not a duration: {why}", shown(text));
                self.problem(place.at(), "bad-duration", message, "write it like `90s`, `15m`, `24h` or `14d`");
            })
            .ok()
    }

    fn duration_text(&mut self, text: Option<&DurationText>, place: Place<'_>) -> Option<std::time::Duration> {
        text.and_then(|DurationText(text)| self.duration(text, place))
    }

    /// A reference to a secret. Its text is never quoted: it may be the secret.
    fn reference(&mut self, ReferenceText(text): &ReferenceText, place: Place<'_>) -> Option<Reference> {
        match Reference::parse(text, self.base) {
            Ok(found) => {
                match &found {
                    Reference::Databricks { workspace, identity, .. } => {
                        self.allowed_host(workspace, place);
                        self.identity_name(identity.as_str(), place);
                    }
                    Reference::Env(name) => drop(self.variables.insert(name.clone())),
                    Reference::File(_) | Reference::Vault(_) => {}
                }
                Some(found)
            }
            Err(ReferenceError::Inline) => {
                let hint = format!(
                    "write where the value is, as {}; what stood in this file should be replaced at its service",
                    reference::FORMS
                );
                self.problem(place.at(), "inline-secret", "a value stands here where only a reference may", hint);
                None
            }
            Err(ReferenceError::Malformed(form)) => {
                self.problem(place.at(), "bad-reference", "the reference is not complete", format!("write it as `{form}`"));
                None
            }
        }
    }

    fn plain_or_reference(&mut self, PlainText(text): &PlainText, place: Place<'_>) -> Option<PlainOrReference> {
        if reference::has_scheme(text) {
            return self.reference(&ReferenceText(text.clone()), place).map(PlainOrReference::Reference);
        }
        if text.trim().is_empty() {
            self.problem(place.at(), "no-value", "the value is empty", "give it a value");
            return None;
        }
        Some(PlainOrReference::Plain(text.clone()))
    }

    fn workspace(&mut self, text: &str, place: Place<'_>) -> Option<Workspace> {
        let Ok(workspace) = Workspace::parse(text) else {
            let message = format!("{} is not the address of a workspace", shown(text));
            self.problem(place.at(), "bad-address", message, "write `https://HOST`, as the browser shows it");
            return None;
        };
        self.allowed_host(&workspace, place);
        Some(workspace)
    }

    fn allowed_host(&mut self, workspace: &Workspace, place: Place<'_>) {
        if let Ok(url) = Url::parse(workspace.base()) {
            self.allowed(&url, place);
        }
    }

    fn allowed(&mut self, url: &Url, place: Place<'_>) {
        if let Err(forbidden) = self.hosts.allows(url) {
            let message = match &forbidden {
                ForbiddenHost::Unlisted(host) => format!("credentials may not go to {}", shown(host)),
                ForbiddenHost::Insecure(host) => format!("credentials go to {} by https only", shown(host)),
                ForbiddenHost::UserInfo | ForbiddenHost::NoHost => forbidden.to_string(),
            };
            self.problem(place.at(), "forbidden-host", message, forbidden.hint());
        }
    }

    fn address(&mut self, text: &str, place: Place<'_>) -> Option<Url> {
        self.address_below(text, None, place)
    }

    /// The same, where hosts below `suffix` are built in besides.
    fn address_below(&mut self, text: &str, suffix: Option<&str>, place: Place<'_>) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|url| url.has_host() && url.query().is_none() && url.fragment().is_none());
        let Some(mut url) = url else {
            let message = format!("{} is not an address", shown(text));
            self.problem(place.at(), "bad-address", message, "write `https://HOST`, without `?` and `#`");
            return None;
        };
        let below = |host: &str| suffix.is_some_and(|suffix| host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')));
        if url.scheme() != "https" || !url.host_str().is_some_and(below) {
            self.allowed(&url, place);
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Some(url)
    }

    fn identity_name(&mut self, name: &str, place: Place<'_>) -> Option<IdentityName> {
        let Some(known) = &self.sign_ins else { return Some(IdentityName::new(name)) };
        if known.contains_key(name) {
            return Some(IdentityName::new(name));
        }
        let hint = nearest(name, known.keys().map(String::as_str))
            .map_or_else(|| "define it under `identities`".to_owned(), |name| format!("did you mean `{name}`?"));
        self.problems.add(place.at(), "unknown-identity", format!("no identity is called {}", shown(name)), hint);
        None
    }

    /// Names end up in paths, keys and addresses.
    fn own_name(&mut self, name: &str, at: Position) {
        if !reference::is_name(name) || name.len() > 64 || !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            let hint = "use letters, digits, `-`, `_` and `.`, at most 64, and begin with a letter or digit";
            self.problem(at, "bad-name", format!("{} can't be a name", shown(name)), hint);
        }
    }
}
