//! What is really so, for checkers: read from the cloud's own state, not through its services.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::cloud::Cloud;
use crate::connect::{check, warehouse_of};
use crate::databricks::{Level, Minted, Who};
use crate::powerbi::{Credential, Details, Source};
use crate::world::{Seen, World};

#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    pub now: Timestamp,
    pub sources: Vec<SourceTruth>,
    pub datasets: Vec<DatasetTruth>,
    pub principals: Vec<PrincipalTruth>,
    pub warehouses: Vec<WarehouseTruth>,
    /// Grants by `type name`, then by principal.
    pub grants: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Secret scopes by `host/scope/key`, with the time of the last write.
    pub scopes: BTreeMap<String, Timestamp>,
    /// Entra tokens issued, by `client id audience`.
    pub tokens: BTreeMap<String, u64>,
    /// Requests answered, by `service method status`.
    pub counters: BTreeMap<String, u64>,
    /// Requests that showed a minted value where none belongs.
    pub leaks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceTruth {
    pub id: String,
    pub gateway: String,
    /// As lakekey writes a target's id.
    pub target_id: String,
    pub name: String,
    /// Bound, and meant to be moved by a rotation of everything.
    pub target: bool,
    /// `Databricks`, `DatabricksMultiCloud`, or the type of another source.
    pub kind: String,
    pub host: String,
    pub warehouse: String,
    /// `PersonalCloud`, `ShareableCloud`, `OnPremisesGateway`, `VirtualNetworkGateway`
    pub connectivity: String,
    pub privacy: String,
    pub sso: bool,
    pub encryption: String,
    pub credential: Option<String>,
    pub username: Option<String>,
    /// The secret that it holds, deleted or not; `None` also for a value that nobody minted.
    pub secret_id: Option<String>,
    /// Whether that secret is neither deleted nor expired.
    pub alive: bool,
    /// Whether a connection made now would succeed.
    pub connects: bool,
    pub datasets: Vec<String>,
    pub writes: u32,
    pub written_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize)]
pub struct DatasetTruth {
    pub id: String,
    pub name: String,
    pub group: String,
    pub owner: String,
    /// Bound data sources; `None` for an unbound one.
    pub sources: Vec<Option<String>>,
    /// `Unknown`, `Completed` or `Failed`, oldest first.
    pub refreshes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PrincipalTruth {
    pub id: u64,
    pub application_id: String,
    pub display_name: String,
    pub entra_managed: bool,
    pub entitlements: Vec<String>,
    /// Indices of the workspaces that it belongs to.
    pub workspaces: Vec<usize>,
    pub secrets: Vec<SecretTruth>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SecretTruth {
    pub id: String,
    pub created: Timestamp,
    pub expires: Timestamp,
    pub deleted: Option<Timestamp>,
    pub scopes: Vec<String>,
    /// The application id or name of who made it.
    pub made_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WarehouseTruth {
    pub host: String,
    pub id: String,
    pub name: String,
    pub state: String,
    /// Direct permissions, by `user …`, `group …` or `principal …`.
    pub permissions: BTreeMap<String, Level>,
}

impl Cloud {
    /// The state without any secret value.
    pub fn truth(&self) -> Truth {
        truth(&self.lock(), false)
    }

    pub fn truth_with_values(&self) -> Truth {
        truth(&self.lock(), true)
    }

    /// The data sources alone, for a check after every step.
    pub fn sources(&self) -> Vec<SourceTruth> {
        let world = self.lock();
        world.bi.sources.values().map(|source| of_source(&world, source)).collect()
    }

    /// The secrets of one principal, deleted ones included.
    pub fn secrets(&self, application_id: &str) -> Vec<SecretTruth> {
        let world = self.lock();
        world
            .account
            .find(application_id)
            .into_iter()
            .flat_map(|found| &found.secrets)
            .map(|secret| of_secret(secret, false))
            .collect()
    }

    /// Every value ever minted, by secret id: none of them may be seen where it does not belong.
    pub fn minted_values(&self) -> BTreeMap<String, String> {
        let world = self.lock();
        let all = world.account.principals.values().flat_map(|principal| &principal.secrets);
        all.map(|secret| (secret.id.clone(), secret.value.clone())).collect()
    }

    /// Warehouses with their direct permissions.
    pub fn warehouses(&self) -> Vec<WarehouseTruth> {
        warehouses(&self.lock())
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.lock().log.clone()
    }

    pub fn leaks(&self) -> Vec<String> {
        self.lock().leaks.clone()
    }
}

fn truth(world: &World, with_values: bool) -> Truth {
    let mut counters = BTreeMap::new();
    for seen in &world.log {
        *counters.entry(format!("{} {} {}", seen.service, seen.method, seen.status)).or_default() += 1;
    }
    let listed = |grants: &BTreeMap<String, std::collections::BTreeSet<String>>| {
        grants.iter().map(|(principal, held)| (principal.clone(), held.iter().cloned().collect())).collect()
    };
    Truth {
        now: world.now,
        sources: world.bi.sources.values().map(|source| of_source(world, source)).collect(),
        datasets: world.bi.datasets.values().map(of_dataset).collect(),
        principals: world
            .account
            .principals
            .values()
            .map(|principal| PrincipalTruth {
                id: principal.id,
                application_id: principal.application_id.clone(),
                display_name: principal.display_name.clone(),
                entra_managed: principal.entra_managed,
                entitlements: principal.entitlements.iter().cloned().collect(),
                workspaces: principal.workspaces.iter().copied().collect(),
                secrets: principal.secrets.iter().map(|secret| of_secret(secret, with_values)).collect(),
            })
            .collect(),
        warehouses: warehouses(world),
        grants: world.account.grants.iter().map(|((kind, name), grants)| (format!("{kind} {name}"), listed(grants))).collect(),
        scopes: scopes(world),
        tokens: world.entra.issued.iter().map(|((client, audience), count)| (format!("{client} {audience}"), *count)).collect(),
        counters,
        leaks: world.leaks.clone(),
    }
}

fn of_source(world: &World, source: &Source) -> SourceTruth {
    let (kind, host, warehouse) = match &source.details {
        Details::Databricks { kind, host, http_path } => (kind.clone(), host.clone(), warehouse_of(http_path).to_owned()),
        other @ (Details::Sql { .. } | Details::Web { .. } | Details::Unknown) => {
            (other.type_name().to_owned(), String::new(), String::new())
        }
    };
    let username = match &source.credential {
        Credential::Basic { username, .. } => Some(username.clone()),
        Credential::Missing | Credential::Key(_) | Credential::OAuth2 | Credential::Windows => None,
    };
    let secret = held(world, source);
    let datasets: Vec<String> = world.bi.users_of(&source.id).map(|dataset| dataset.id.clone()).collect();
    SourceTruth {
        id: source.id.clone(),
        gateway: source.gateway.clone(),
        target_id: format!("powerbi:{}/{}", source.gateway, source.id),
        name: source.name.clone(),
        target: source.target && !datasets.is_empty(),
        kind,
        host,
        warehouse,
        connectivity: source.home.connectivity().to_owned(),
        privacy: source.privacy.clone(),
        sso: source.sso,
        encryption: source.encryption.clone(),
        credential: source.credential.type_name().map(str::to_owned),
        username,
        secret_id: secret.map(|secret| secret.id.clone()),
        alive: secret.is_some_and(|secret| secret.alive(world.now)),
        connects: check(world, &source.details, &source.credential, world.now).is_ok(),
        datasets,
        writes: source.writes,
        written_at: source.written_at,
    }
}

fn held<'a>(world: &'a World, source: &Source) -> Option<&'a Minted> {
    let Credential::Basic { username, password } = &source.credential else { return None };
    world.account.secret(username, password)
}

fn of_dataset(dataset: &crate::powerbi::Dataset) -> DatasetTruth {
    let status = |refresh: &crate::powerbi::Refresh| match &refresh.outcome {
        None => "Unknown".to_owned(),
        Some(Ok(())) => "Completed".to_owned(),
        Some(Err(_)) => "Failed".to_owned(),
    };
    DatasetTruth {
        id: dataset.id.clone(),
        name: dataset.name.clone(),
        group: dataset.group.clone(),
        owner: dataset.owner.clone(),
        sources: dataset.uses.iter().map(|used| used.source.clone()).collect(),
        refreshes: dataset.refreshes.iter().map(status).collect(),
    }
}

fn of_secret(secret: &Minted, with_value: bool) -> SecretTruth {
    SecretTruth {
        id: secret.id.clone(),
        created: secret.created,
        expires: secret.expires,
        deleted: secret.deleted,
        scopes: secret.scopes.clone(),
        made_by: secret.made_by.clone(),
        value: with_value.then(|| secret.value.clone()),
    }
}

fn warehouses(world: &World) -> Vec<WarehouseTruth> {
    let all = world
        .account
        .workspaces
        .iter()
        .flat_map(|workspace| workspace.warehouses.values().map(move |warehouse| (workspace, warehouse)));
    let name = |who: &Who| match who {
        Who::User(name) => format!("user {name}"),
        Who::Group(name) => format!("group {name}"),
        Who::Principal(name) => format!("principal {name}"),
    };
    all.map(|(workspace, warehouse)| WarehouseTruth {
        host: workspace.host.clone(),
        id: warehouse.id.clone(),
        name: warehouse.name.clone(),
        state: warehouse.state(world.now).to_owned(),
        permissions: warehouse.acl.iter().map(|(who, &level)| (name(who), level)).collect(),
    })
    .collect()
}

fn scopes(world: &World) -> BTreeMap<String, Timestamp> {
    let mut all = BTreeMap::new();
    for workspace in &world.account.workspaces {
        for (scope, entries) in &workspace.scopes {
            all.extend(entries.iter().map(|(key, (_, at))| (format!("{}/{scope}/{key}", workspace.host), *at)));
        }
    }
    all
}
