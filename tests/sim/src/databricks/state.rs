//! What a Databricks account holds. Principals and Unity Catalog belong to the account; being a member of a workspace,
//! warehouses and secret scopes belong to a workspace.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::statements::Statement;
use crate::clock;
use crate::settings::Settings;

pub(crate) struct Account {
    pub(crate) id: Uuid,
    /// By numeric SCIM id, which is not the application id.
    pub(crate) principals: BTreeMap<u64, Principal>,
    pub(crate) workspaces: Vec<Workspace>,
    /// Application ids of account admins.
    pub(crate) admins: BTreeSet<String>,
    /// Grants by securable type and full name, then by principal.
    pub(crate) grants: BTreeMap<(String, String), BTreeMap<String, BTreeSet<String>>>,
}

impl Account {
    pub(crate) fn find(&self, application_id: &str) -> Option<&Principal> {
        self.principals.values().find(|principal| principal.application_id == application_id)
    }

    pub(crate) fn find_mut(&mut self, application_id: &str) -> Option<&mut Principal> {
        self.principals.values_mut().find(|principal| principal.application_id == application_id)
    }

    /// The secret that `client_id` and `value` are, deleted or expired ones included.
    pub(crate) fn secret(&self, client_id: &str, value: &str) -> Option<&Minted> {
        self.find(client_id)?.secrets.iter().find(|secret| secret.value == value)
    }
}

#[derive(Clone)]
pub(crate) struct Principal {
    pub(crate) id: u64,
    pub(crate) application_id: String,
    pub(crate) display_name: String,
    pub(crate) entra_managed: bool,
    pub(crate) active: bool,
    pub(crate) entitlements: BTreeSet<String>,
    pub(crate) workspaces: BTreeSet<usize>,
    /// Deleted ones stay here, for the checkers.
    pub(crate) secrets: Vec<Minted>,
}

impl Principal {
    /// Those that use up a slot.
    pub(crate) fn used(&self, now: Timestamp, settings: &Settings) -> usize {
        self.secrets.iter().filter(|secret| secret.deleted.is_none() && (settings.expired_count || secret.expires > now)).count()
    }
}

#[derive(Clone)]
pub(crate) struct Minted {
    pub(crate) id: String,
    pub(crate) value: String,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) deleted: Option<Timestamp>,
    pub(crate) scopes: Vec<String>,
    pub(crate) made_by: String,
}

impl Minted {
    pub(crate) fn alive(&self, at: Timestamp) -> bool {
        self.deleted.is_none_or(|deleted| deleted > at) && self.expires > at
    }

    /// Alive, and known to the token endpoint.
    pub(crate) fn accepted(&self, at: Timestamp, settings: &Settings) -> bool {
        self.alive(at) && clock::later(self.created, settings.secret_settles) <= at
    }

    pub(crate) fn listed(&self, at: Timestamp, settings: &Settings) -> bool {
        let lagged = |since| clock::later(since, settings.list_lag) <= at;
        lagged(self.created) && !self.deleted.is_some_and(lagged) && (settings.expired_count || self.expires > at)
    }
}

pub(crate) struct Workspace {
    pub(crate) base: String,
    /// `host[:port]`, as data sources name it.
    pub(crate) host: String,
    pub(crate) org_id: u64,
    /// Application ids and user names.
    pub(crate) admins: BTreeSet<String>,
    pub(crate) warehouses: BTreeMap<String, Warehouse>,
    /// Scope, then key, then value and time.
    pub(crate) scopes: BTreeMap<String, BTreeMap<String, (Vec<u8>, Timestamp)>>,
    pub(crate) statements: BTreeMap<String, Statement>,
    /// Sessions and whose they are.
    pub(crate) sessions: BTreeMap<String, String>,
    /// Personal access tokens and whose they are.
    pub(crate) tokens: BTreeMap<String, String>,
}

pub(crate) struct Warehouse {
    pub(crate) id: String,
    pub(crate) name: String,
    /// When it is, or was, ready; `None` while it is stopped.
    pub(crate) ready: Option<Timestamp>,
    pub(crate) deleted: bool,
    pub(crate) acl: BTreeMap<Who, Level>,
}

impl Warehouse {
    pub(crate) fn state(&self, now: Timestamp) -> &'static str {
        match self.ready {
            _ if self.deleted => "DELETED",
            None => "STOPPED",
            Some(ready) if ready > now => "STARTING",
            Some(_) => "RUNNING",
        }
    }

    /// Starts it if need be; gives the time when it will serve.
    pub(crate) fn start(&mut self, now: Timestamp, settings: &Settings) -> Timestamp {
        *self.ready.get_or_insert_with(|| clock::later(now, settings.warehouse_start))
    }

    pub(crate) fn level(&self, principal: &str) -> Option<Level> {
        self.acl.get(&Who::Principal(principal.to_owned())).copied()
    }
}

/// A grantee of an access control list, in the three forms that the API has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    User(String),
    Group(String),
    Principal(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    CanView,
    CanMonitor,
    CanUse,
    CanManage,
    IsOwner,
}
