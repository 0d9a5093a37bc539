//! Credentials: principal, workspaces, stores and permissions of each, and that no two claim the same thing.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use super::timing::Defaults;
use crate::config::document::{AccountPart, CredentialPart, Document, GrantPart, IdText, PrincipalPart, SecurableName};
use crate::config::model::{Account, Credential, Grant, PrincipalSelector, Securable, StoreLocation};
use crate::config::place::{AwsSecretName, KeyVaultName, STAGED_SUFFIX};
use crate::config::problem::{Position, shown};
use crate::config::reference::{absolute, is_name};
use crate::config::tree::Place;
use crate::ids::{AccountId, ApplicationId, CredentialName, WarehouseId, Workspace};

/// What credentials claim for themselves, with the line of the claim.
#[derive(Default)]
pub(super) struct Claims {
    application_ids: BTreeMap<ApplicationId, u32>,
    /// A display name stands for one principal in each workspace.
    display_names: BTreeMap<(String, Workspace), u32>,
    places: BTreeMap<String, u32>,
}

impl Checker<'_> {
    pub(super) fn credentials(&mut self, document: &Document, root: Place<'_>) -> Vec<Credential> {
        let place = root.key("credentials");
        let parts = document.credentials.as_ref();
        if parts.is_some_and(BTreeMap::is_empty) && place.keys().next().is_none() {
            self.problem(place.at(), "no-credentials", "the config has no credentials", "add one under `credentials`");
        }
        let defaults = Defaults { part: document.defaults.as_ref(), place: root.key("defaults") };
        self.defaults(defaults);
        let mut credentials = Vec::new();
        for name in place.keys() {
            self.own_name(name, place.key(name).label_at());
            let Some(part) = parts.and_then(|parts| parts.get(name)) else { continue };
            credentials.extend(self.credential(name, part, place.key(name), defaults));
        }
        credentials
    }

    fn credential(&mut self, name: &str, part: &CredentialPart, place: Place<'_>, defaults: Defaults<'_>) -> Option<Credential> {
        let workspace = part.workspace.as_deref().and_then(|text| self.workspace(text, place.key("workspace")));
        let also = part.also_workspaces.iter().flatten().enumerate();
        let also_workspaces: Vec<Workspace> =
            also.filter_map(|(index, text)| self.workspace(text, place.key("also_workspaces").item(index))).collect();
        let identity = part.identity.as_deref().and_then(|name| self.identity_name(name, place.key("identity")));
        let service_principal =
            part.service_principal.as_ref().and_then(|part| self.principal(part, place.key("service_principal")));
        if let Some(selector) = &service_principal {
            let workspaces = workspace.iter().chain(&also_workspaces);
            self.claim_principal(selector, workspaces, place.key("service_principal").at());
        }
        let timing = self.timing(part, place, defaults);
        let store = part.store.as_deref().and_then(|text| self.store(text, place.key("store")));
        let copies = part.copies.iter().flatten().enumerate();
        let copies: Vec<StoreLocation> =
            copies.filter_map(|(index, text)| self.copy(text, workspace.as_ref(), place.key("copies").item(index))).collect();
        let warehouses = part.warehouses.iter().flatten().enumerate();
        let warehouses: BTreeSet<WarehouseId> =
            warehouses.filter_map(|(index, id)| self.warehouse(id, place.key("warehouses").item(index))).collect();
        let grants = part.grants.iter().flatten().enumerate();
        let grants = grants.filter_map(|(index, grant)| self.grant(grant, place.key("grants").item(index))).collect();
        let verify = part.verify.as_ref().and_then(|verify| verify.warehouse.as_ref());
        let verify_warehouse = verify.and_then(|id| self.warehouse(id, place.key("verify").key("warehouse")));
        let account = part.account.as_ref().and_then(|account| self.account(account, place.key("account")));
        if account.is_some() && part.identity.as_deref().is_some_and(|name| self.is_token(name)) {
            let hint = "use an identity with `auth: oauth-m2m` or of Entra, or remove `account`";
            let message = "the identity signs in with a personal access token, which an account does not take";
            self.problem(place.key("account").at(), "wrong-identity", message, hint);
        }
        let targets = part.targets.as_ref().and_then(|targets| self.targets(targets, place.key("targets")));
        Some(Credential {
            name: CredentialName::new(name),
            workspace: workspace?,
            also_workspaces,
            identity: identity?,
            service_principal: service_principal?,
            create_service_principal: part.create_service_principal.unwrap_or(false),
            lifetime: timing.lifetime,
            rotate_every: timing.rotate_every,
            grace: timing.grace,
            window: timing.window,
            freeze: timing.freeze,
            store: store?,
            copies,
            warehouses,
            grants,
            verify_warehouse,
            account,
            targets,
        })
    }

    fn principal(&mut self, part: &PrincipalPart, place: Place<'_>) -> Option<PrincipalSelector> {
        match part {
            PrincipalPart::DisplayName(name) if !name.trim().is_empty() => Some(PrincipalSelector::DisplayName(name.clone())),
            PrincipalPart::DisplayName(_) => {
                self.problem(place.at(), "no-value", "the display name is empty", "write the principal's display name");
                None
            }
            PrincipalPart::ApplicationId(part) => {
                let id = self.uuid(part.application_id.as_deref()?, place.key("application_id"))?;
                Some(PrincipalSelector::ApplicationId(ApplicationId::new(id)))
            }
        }
    }

    fn claim_principal<'w>(
        &mut self,
        selector: &PrincipalSelector,
        workspaces: impl Iterator<Item = &'w Workspace>,
        at: Position,
    ) {
        let taken = match selector {
            PrincipalSelector::ApplicationId(id) => self.claims.application_ids.insert(id.clone(), at.line),
            PrincipalSelector::DisplayName(name) => {
                // One credential may name a workspace twice without harm.
                let workspaces: BTreeSet<&Workspace> = workspaces.collect();
                let names = &mut self.claims.display_names;
                let claims = workspaces.into_iter().map(|workspace| names.insert((name.clone(), workspace.clone()), at.line));
                claims.fold(None, Option::or)
            }
        };
        if let Some(line) = taken {
            let hint =
                format!("line {line} names it first; one principal belongs to one credential, which can have many targets");
            self.problem(at, "duplicate-principal", "another credential keeps this principal already", hint);
        }
    }

    fn store(&mut self, text: &str, place: Place<'_>) -> Option<StoreLocation> {
        if text.starts_with("databricks:") {
            let hint = "use it under `copies`; a store must be readable at any time";
            self.problem(place.at(), "bad-store", "a Databricks scope can't be the store", hint);
            return None;
        }
        self.file_or_vault(text, "`file:PATH`, `akv:VAULT/NAME` or `awssm:NAME`", place)
    }

    fn copy(&mut self, text: &str, workspace: Option<&Workspace>, place: Place<'_>) -> Option<StoreLocation> {
        let Some(body) = text.strip_prefix("databricks:") else {
            return self.file_or_vault(text, "`file:PATH`, `akv:VAULT/NAME`, `awssm:NAME` or `databricks:SCOPE/KEY`", place);
        };
        match body.split_once('/').filter(|(scope, key)| is_name(scope) && is_name(key)) {
            Some((scope, key)) => {
                if let Some(workspace) = workspace {
                    self.claim_place(format!("databricks:{workspace}/{scope}/{key}"), place);
                }
                Some(StoreLocation::DatabricksScope { scope: scope.to_owned(), key: key.to_owned() })
            }
            None => {
                let hint = "write `databricks:SCOPE/KEY`; the workspace is the credential's";
                self.problem(place.at(), "bad-store", format!("{} names no scope and key", shown(text)), hint);
                None
            }
        }
    }

    fn file_or_vault(&mut self, text: &str, forms: &str, place: Place<'_>) -> Option<StoreLocation> {
        if text.starts_with("akv:") || text.starts_with("awssm:") {
            let found = vault(text);
            match &found {
                Some(store) => self.claim_vault(store, place),
                None => {
                    self.problem(place.at(), "bad-store", format!("{} names no secret", shown(text)), format!("write {forms}"));
                }
            }
            return found;
        }
        let Some(path) = text.strip_prefix("file:").and_then(|path| absolute(path, self.base)) else {
            self.problem(place.at(), "bad-store", format!("{} is not a store", shown(text)), format!("write {forms}"));
            return None;
        };
        if self.remote_state {
            let hint = "keep the value in the cloud as well: `akv:VAULT/NAME` or `awssm:NAME`";
            self.problem(place.at(), "bad-store", "a file can keep the value only beside a `file:` state", hint);
        }
        let store = StoreLocation::File(path);
        self.claim_place(store.to_string(), place);
        Some(store)
    }

    /// Key Vault does not tell letters by their case, and staged values have a name of their own there.
    fn claim_vault(&mut self, store: &StoreLocation, place: Place<'_>) {
        let text = store.to_string();
        if matches!(store, StoreLocation::KeyVault(_)) {
            let text = text.to_ascii_lowercase();
            self.claim_place(format!("{text}{STAGED_SUFFIX}"), place);
            self.claim_place(text, place);
        } else {
            self.claim_place(text, place);
        }
    }

    fn claim_place(&mut self, store: String, place: Place<'_>) {
        if let Some(line) = self.claims.places.insert(store, place.at().line) {
            let hint = format!("line {line} names it first; give each its own");
            self.problem(place.at(), "duplicate-store", "this place keeps another value already", hint);
        }
    }

    pub(super) fn warehouse(&mut self, IdText(id): &IdText, place: Place<'_>) -> Option<WarehouseId> {
        if is_name(id) {
            return Some(WarehouseId::new(id));
        }
        let hint = "write the id alone, such as `1234567890abcdef`: the last part of the warehouse's HTTP path";
        self.problem(place.at(), "bad-warehouse", format!("{} is not the id of a warehouse", shown(id)), hint);
        None
    }

    fn grant(&mut self, part: &GrantPart, place: Place<'_>) -> Option<Grant> {
        let securable = match part.securable? {
            SecurableName::Catalog => Securable::Catalog,
            SecurableName::Schema => Securable::Schema,
            SecurableName::Table => Securable::Table,
        };
        let form = match securable {
            Securable::Catalog => "catalog",
            Securable::Schema => "catalog.schema",
            Securable::Table => "catalog.schema.table",
        };
        let name = part.name.as_deref()?;
        if name.split('.').any(str::is_empty) || name.split('.').count() != form.split('.').count() {
            let message = format!("{} is not the full name of such an object", shown(name));
            self.problem(place.key("name").at(), "bad-grant", message, format!("write it as `{form}`"));
        }
        let mut privileges = Vec::new();
        for (index, text) in part.privileges.iter().flatten().enumerate() {
            let privilege = text.trim().to_ascii_uppercase().replace([' ', '-'], "_");
            if privilege.is_empty() || !privilege.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
                let message = format!("{} is not a privilege", shown(text));
                self.problem(
                    place.key("privileges").item(index).at(),
                    "bad-grant",
                    message,
                    "write for example `SELECT` or `USE_SCHEMA`",
                );
            }
            privileges.push(privilege);
        }
        if part.privileges.as_ref().is_some_and(Vec::is_empty) {
            let hint = "add a privilege, or remove the row";
            self.problem(place.key("privileges").at(), "bad-grant", "the row grants nothing", hint);
        }
        Some(Grant { securable, name: name.to_owned(), privileges })
    }

    fn account(&mut self, part: &AccountPart, place: Place<'_>) -> Option<Account> {
        let host = part.host.as_deref().and_then(|host| self.workspace(host, place.key("host")));
        let id = part.id.as_deref().and_then(|id| self.uuid(id, place.key("id")));
        Some(Account { host: host?, id: AccountId::new(id?) })
    }

    /// Whether this identity is a personal access token.
    fn is_token(&self, identity: &str) -> bool {
        let known = self.sign_ins.as_ref().and_then(|known| known.get(identity));
        known.is_some_and(|sign_in| sign_in.is_token())
    }

    fn uuid(&mut self, text: &str, place: Place<'_>) -> Option<String> {
        let id = uuid::Uuid::try_parse(text).ok();
        if id.is_none() {
            let hint = "write it like `2c8e1f60-0000-4000-8000-000000000000`";
            self.problem(place.at(), "bad-id", format!("{} is not a UUID", shown(text)), hint);
        }
        id.map(|id| id.to_string())
    }
}

/// A store in a vault. A Key Vault name leaves room for that of the staged values.
fn vault(text: &str) -> Option<StoreLocation> {
    if let Some(name) = text.strip_prefix("awssm:") {
        return AwsSecretName::parse(name).map(StoreLocation::SecretsManager);
    }
    let name = text.strip_prefix("akv:")?;
    KeyVaultName::parse(&format!("{name}{STAGED_SUFFIX}"))?;
    KeyVaultName::parse(name).map(StoreLocation::KeyVault)
}
