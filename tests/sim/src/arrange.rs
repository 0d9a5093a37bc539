//! What customers have that no fleet makes by itself: odd names, other kinds of credentials, further principals, scopes.

use std::collections::{BTreeMap, BTreeSet};

use crate::cloud::Cloud;
use crate::databricks::Principal;
use crate::powerbi::{Credential, Group, Use};

impl Cloud {
    pub fn rename_dataset(&self, dataset_id: &str, name: &str) -> bool {
        self.lock().bi.datasets.get_mut(dataset_id).map(|dataset| name.clone_into(&mut dataset.name)).is_some()
    }

    pub fn rename_group(&self, group_id: &str, name: &str) -> bool {
        self.lock().bi.groups.get_mut(group_id).map(|group| name.clone_into(&mut group.name)).is_some()
    }

    /// The name of a workspace of Power BI.
    pub fn group_name(&self, group_id: &str) -> Option<String> {
        self.lock().bi.groups.get(group_id).map(|group| group.name.clone())
    }

    pub fn rename_source(&self, source_id: &str, name: &str) -> bool {
        self.lock().bi.sources.get_mut(source_id).map(|source| name.clone_into(&mut source.name)).is_some()
    }

    /// The name of a gateway.
    pub fn gateway_name(&self, gateway_id: &str) -> Option<String> {
        self.lock().bi.gateways.get(gateway_id).map(|gateway| gateway.name.clone())
    }

    /// So many further workspaces of Power BI, in which nobody has anything.
    pub fn add_groups(&self, count: usize) {
        let mut world = self.lock();
        for number in 0..count {
            let (id, name) = (world.rng.uuid().to_string(), format!("Empty {number}"));
            let group = Group { id: id.clone(), name, personal: false, members: BTreeMap::new() };
            world.bi.groups.insert(id, group);
        }
    }

    pub fn rename_gateway(&self, gateway_id: &str, name: &str) -> bool {
        self.lock().bi.gateways.get_mut(gateway_id).map(|gateway| name.clone_into(&mut gateway.name)).is_some()
    }

    /// Gives an identity the owner's role on a connection.
    pub fn share_source(&self, source_id: &str, identity: &str) -> bool {
        let mut world = self.lock();
        world.bi.sources.get_mut(source_id).map(|source| source.shared_with.insert(identity.to_owned(), true)).is_some()
    }

    /// A person signs a data source in with their own account.
    pub fn person_signs_source_in(&self, source_id: &str) -> bool {
        self.lock().bi.sources.get_mut(source_id).map(|source| source.credential = Credential::OAuth2).is_some()
    }

    /// A person enters their token at a data source.
    pub fn person_enters_token(&self, source_id: &str) -> bool {
        let token = self.cast().personal_token.clone();
        self.lock().bi.sources.get_mut(source_id).map(|source| source.credential = Credential::Key(token)).is_some()
    }

    /// One more dataset uses a data source.
    pub fn bind(&self, dataset_id: &str, source_id: &str) -> bool {
        let mut world = self.lock();
        let Some(details) = world.bi.sources.get(source_id).map(|source| source.details.clone()) else { return false };
        let used = Use { details, source: Some(source_id.to_owned()) };
        world.bi.datasets.get_mut(dataset_id).map(|dataset| dataset.uses.push(used)).is_some()
    }

    /// No dataset uses a data source any more.
    pub fn unbind(&self, source_id: &str) {
        for dataset in self.lock().bi.datasets.values_mut() {
            dataset.uses.retain(|used| used.source.as_deref() != Some(source_id));
        }
    }

    /// Gives an identity the user's role on a connection, which writes nothing.
    pub fn lower_role(&self, source_id: &str, identity: &str) -> bool {
        let mut world = self.lock();
        world.bi.sources.get_mut(source_id).map(|source| source.shared_with.insert(identity.to_owned(), false)).is_some()
    }

    /// A further service principal of every workspace; gives its application id.
    pub fn add_principal(&self, display_name: &str) -> String {
        let mut world = self.lock();
        let id = world.account.principals.keys().max().map_or(1, |last| last + 1);
        let application_id = world.rng.uuid().to_string();
        let workspaces: BTreeSet<usize> = (0..world.account.workspaces.len()).collect();
        let principal = Principal {
            id,
            application_id: application_id.clone(),
            display_name: display_name.to_owned(),
            entra_managed: false,
            active: true,
            entitlements: BTreeSet::from(["databricks-sql-access".to_owned()]),
            workspaces,
            secrets: Vec::new(),
        };
        world.account.principals.insert(id, principal);
        application_id
    }

    /// A principal is deactivated by its admins, or activated again.
    pub fn set_active(&self, application_id: &str, active: bool) -> bool {
        self.lock().account.find_mut(application_id).map(|principal| principal.active = active).is_some()
    }

    /// An admin grants privileges in Unity Catalog.
    pub fn grant(&self, securable: &str, name: &str, principal: &str, privileges: &[&str]) {
        let mut world = self.lock();
        let grants = world.account.grants.entry((securable.to_owned(), name.to_owned())).or_default();
        grants.entry(principal.to_owned()).or_default().extend(privileges.iter().map(|&privilege| privilege.to_owned()));
    }

    pub fn add_scope(&self, workspace: usize, scope: &str) {
        self.lock().account.workspaces[workspace].scopes.insert(scope.to_owned(), BTreeMap::new());
    }

    /// A person puts a value into a secret scope; whether there is such a scope.
    pub fn put_scope_value(&self, workspace: usize, scope: &str, key: &str, value: &[u8]) -> bool {
        let mut world = self.lock();
        let now = world.now;
        let found = world.account.workspaces[workspace].scopes.get_mut(scope);
        found.map(|entries| entries.insert(key.to_owned(), (value.to_owned(), now))).is_some()
    }

    pub fn scope_value(&self, workspace: usize, scope: &str, key: &str) -> Option<Vec<u8>> {
        let world = self.lock();
        world.account.workspaces[workspace].scopes.get(scope)?.get(key).map(|(value, _)| value.clone())
    }
}
