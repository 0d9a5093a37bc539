//! What people do behind lakekey's back, and admins by mistake: every one of these has happened to somebody.

use std::time::Duration;

use crate::cloud::Cloud;
use crate::databricks::{Level, Who, mint};
use crate::fleet::Cast;
use crate::history::Happened;
use crate::powerbi::{Credential, Details, Source, Use};
use crate::truth::SourceTruth;

impl Cloud {
    pub fn cast(&self) -> &Cast {
        &self.inner.cast
    }

    /// A person mints a secret by hand; gives its id and value, or `None` when no slot is free.
    pub fn person_mints(&self, application_id: &str, lifetime: Duration) -> Option<(String, String)> {
        let mut world = self.lock();
        let principal = world.account.find(application_id)?;
        if principal.used(world.now, &world.settings) >= world.settings.secret_cap {
            return None;
        }
        let id = principal.id;
        let secret = mint(&mut world, id, lifetime, Vec::new(), "ada@contoso.example");
        Some((secret.id, secret.value))
    }

    /// A secret is deleted by hand; whether it was there.
    pub fn person_deletes_secret(&self, secret_id: &str) -> bool {
        let mut world = self.lock();
        let now = world.now;
        let mut all = world.account.principals.values_mut().flat_map(|principal| &mut principal.secrets);
        let found = all.find(|secret| secret.id == secret_id && secret.deleted.is_none());
        let deleted = found.map(|secret| secret.deleted = Some(now)).is_some();
        if deleted {
            world.happened(Happened::Deleted { secret: secret_id.to_owned(), by: None });
        }
        deleted
    }

    /// A data source, and every dataset's mention of it, is pointed elsewhere.
    pub fn repoint(&self, source_id: &str, host: &str, warehouse: &str) -> bool {
        let mut world = self.lock();
        let Some(source) = world.bi.sources.get_mut(source_id) else { return false };
        let Details::Databricks { kind, .. } = &source.details else { return false };
        let http_path = format!("/sql/1.0/warehouses/{warehouse}");
        let details = Details::Databricks { kind: kind.clone(), host: host.to_owned(), http_path };
        source.details = details.clone();
        for used in world.bi.datasets.values_mut().flat_map(|dataset| &mut dataset.uses) {
            if used.source.as_deref() == Some(source_id) {
                used.details = details.clone();
            }
        }
        true
    }

    /// A person makes a copy of a dataset, with a data source of its own whose secret was entered wrongly.
    pub fn person_adds_source_like(&self, source_id: &str) -> Option<SourceTruth> {
        let mut world = self.lock();
        let like = world.bi.sources.get(source_id)?.clone();
        let mut dataset = world
            .bi
            .datasets
            .values()
            .find(|dataset| dataset.uses.iter().any(|used| used.source.as_deref() == Some(source_id)))?
            .clone();
        let id = world.rng.uuid().to_string();
        let gateway = if like.home.is_cloud() { world.rng.uuid().to_string() } else { like.gateway.clone() };
        let name = format!("{} (copy)", like.name);
        let credential = match &like.credential {
            Credential::Basic { username, .. } => {
                Credential::Basic { username: username.clone(), password: "wrongly entered".to_owned() }
            }
            other @ (Credential::Missing | Credential::Key(_) | Credential::OAuth2 | Credential::Windows) => other.clone(),
        };
        let source =
            Source { id: id.clone(), gateway, name, credential, writes: 0, written_at: None, replaces: None, ..like.clone() };
        dataset.id = world.rng.uuid().to_string();
        dataset.uses = vec![Use { details: like.details, source: Some(id.clone()) }];
        world.bi.sources.insert(id.clone(), source);
        world.bi.datasets.insert(dataset.id.clone(), dataset);
        drop(world);
        self.sources().into_iter().find(|source| source.id == id)
    }

    /// A person enters a credential in the portal, live or not.
    pub fn person_writes_credential(&self, source_id: &str, username: &str, password: &str) -> bool {
        let mut world = self.lock();
        let credential = Credential::Basic { username: username.to_owned(), password: password.to_owned() };
        let Some(source) = world.bi.sources.get_mut(source_id) else { return false };
        source.credential = credential;
        let source = source.clone();
        world.written(&source, None);
        true
    }

    pub fn delete_dataset(&self, dataset_id: &str) -> bool {
        self.lock().bi.datasets.remove(dataset_id).is_some()
    }

    pub fn delete_source(&self, source_id: &str) -> bool {
        let mut world = self.lock();
        for used in world.bi.datasets.values_mut().flat_map(|dataset| &mut dataset.uses) {
            used.source.take_if(|source| source == source_id);
        }
        world.bi.sources.remove(source_id).is_some()
    }

    /// Another owner, without the take-over's rebinding.
    pub fn set_owner(&self, dataset_id: &str, owner: &str) -> bool {
        let mut world = self.lock();
        world.bi.datasets.get_mut(dataset_id).map(|dataset| owner.clone_into(&mut dataset.owner)).is_some()
    }

    /// Takes an identity (an object id) out of a workspace of Power BI.
    pub fn leave_group(&self, group_id: &str, identity: &str) -> bool {
        let mut world = self.lock();
        world.bi.groups.get_mut(group_id).and_then(|group| group.members.remove(identity)).is_some()
    }

    /// Gives an identity a role in a workspace of Power BI.
    pub fn join_group(&self, group_id: &str, identity: &str, role: crate::Role) -> bool {
        let mut world = self.lock();
        world.bi.groups.get_mut(group_id).map(|group| group.members.insert(identity.to_owned(), role)).is_some()
    }

    pub fn set_gateway_admin(&self, gateway_id: &str, identity: &str, admin: bool) -> bool {
        let mut world = self.lock();
        let Some(gateway) = world.bi.gateways.get_mut(gateway_id) else { return false };
        if admin { gateway.admins.insert(identity.to_owned()) } else { gateway.admins.remove(identity) }
    }

    /// A member of an on-premises gateway is switched off or on; the first is 0.
    pub fn set_member_online(&self, gateway_id: &str, member: usize, online: bool) -> bool {
        let mut world = self.lock();
        let member = world.bi.gateways.get_mut(gateway_id).and_then(|gateway| gateway.members.get_mut(member));
        member.map(|member| member.online = online).is_some()
    }

    /// A member of an on-premises gateway is taken out of its cluster's work, or put back.
    pub fn set_member_enabled(&self, gateway_id: &str, member: usize, enabled: bool) -> bool {
        let mut world = self.lock();
        let member = world.bi.gateways.get_mut(gateway_id).and_then(|gateway| gateway.members.get_mut(member));
        member.map(|member| member.enabled = enabled).is_some()
    }

    /// The tenant lets an identity (an object id) call Fabric, or no longer.
    pub fn set_fabric_allowed(&self, identity: &str, allowed: bool) {
        let kept = &mut self.lock().bi.kept_from_fabric;
        if allowed {
            kept.remove(identity)
        } else {
            kept.insert(identity.to_owned())
        };
    }

    /// Fabric shows a word that is newer than its spec, or another one, for a property of a connection: `connectivityType`,
    /// `singleSignOnType`, `connectionEncryption`, `credentialType`, `privacyLevel`, or the `status` of its tests.
    pub fn show_connection_as(&self, source_id: &str, property: &str, word: &str) -> bool {
        let mut world = self.lock();
        let source = world.bi.sources.get_mut(source_id);
        source.map(|source| source.shown_as.insert(property.to_owned(), word.to_owned())).is_some()
    }

    /// Sets a principal's direct permission on a warehouse, or takes it away.
    pub fn set_warehouse_level(&self, warehouse: &str, application_id: &str, level: Option<Level>) -> bool {
        let mut world = self.lock();
        let mut all = world.account.workspaces.iter_mut().flat_map(|workspace| workspace.warehouses.values_mut());
        let Some(found) = all.find(|found| found.id == warehouse) else { return false };
        let who = Who::Principal(application_id.to_owned());
        match level {
            Some(level) => found.acl.insert(who, level),
            None => found.acl.remove(&who),
        };
        true
    }

    /// Stops a warehouse, as its auto-stop does.
    pub fn stop_warehouse(&self, warehouse: &str) -> bool {
        let mut world = self.lock();
        let mut all = world.account.workspaces.iter_mut().flat_map(|workspace| workspace.warehouses.values_mut());
        all.find(|found| found.id == warehouse).map(|found| found.ready = None).is_some()
    }

    /// Makes a principal admin of every workspace, or no longer.
    pub fn set_admin(&self, application_id: &str, admin: bool) {
        for workspace in &mut self.lock().account.workspaces {
            if admin {
                workspace.admins.insert(application_id.to_owned());
            } else {
                workspace.admins.remove(application_id);
            }
        }
    }

    /// Makes a principal an admin of the account, or no longer.
    pub fn set_account_admin(&self, application_id: &str, admin: bool) {
        let admins = &mut self.lock().account.admins;
        if admin {
            admins.insert(application_id.to_owned())
        } else {
            admins.remove(application_id)
        };
    }

    /// Deletes a warehouse; it goes on being shown as deleted for a while.
    pub fn delete_warehouse(&self, warehouse: &str) -> bool {
        let mut world = self.lock();
        let mut all = world.account.workspaces.iter_mut().flat_map(|workspace| workspace.warehouses.values_mut());
        all.find(|found| found.id == warehouse).map(|found| found.deleted = true).is_some()
    }

    /// A person mints a secret that is bound to API scopes.
    pub fn person_mints_scoped(&self, application_id: &str, lifetime: Duration, scopes: &[&str]) -> Option<(String, String)> {
        let mut world = self.lock();
        let id = world.account.find(application_id)?.id;
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let secret = mint(&mut world, id, lifetime, scopes, "ada@contoso.example");
        Some((secret.id, secret.value))
    }

    /// Takes a principal out of a workspace of Databricks.
    pub fn leave_workspace(&self, index: usize, application_id: &str) -> bool {
        let mut world = self.lock();
        world.account.find_mut(application_id).is_some_and(|principal| principal.workspaces.remove(&index))
    }

    /// Gives another secret to an Entra app; the old one is refused from now on.
    pub fn set_app_secret(&self, client_id: &str, secret: &str) -> bool {
        let mut world = self.lock();
        world.entra.apps.get_mut(client_id).map(|app| secret.clone_into(&mut app.secret)).is_some()
    }
}
