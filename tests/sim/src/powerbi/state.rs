//! What Power BI and Fabric keep. A data source lives on a gateway, on a virtual network, or in the cloud, where it
//! belongs to one user; datasets are bound to data sources, several of them maybe to one.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{GatewayKey, Refresh, Scans};

/// Everything by its id.
#[derive(Default)]
pub(crate) struct PowerBi {
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) datasets: Datasets,
    pub(crate) sources: BTreeMap<String, Source>,
    pub(crate) gateways: BTreeMap<String, Gateway>,
    /// Datasets with a refresh under way.
    pub(crate) refreshing: BTreeSet<String>,
    /// Dataflows and reports, by id.
    pub(crate) items: BTreeMap<String, Item>,
    pub(crate) scans: Scans,
    /// Fabric's operations under way and done.
    pub(crate) operations: BTreeMap<String, Operation>,
    /// Object ids whose tenant setting for Fabric APIs is off.
    pub(crate) kept_from_fabric: BTreeSet<String>,
}

/// A dataflow or a report.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) kind: ItemKind,
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) owner: String,
    pub(crate) uses: Vec<Use>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Dataflow,
    PaginatedReport,
    Report,
}

/// A test of a connection that takes its time.
pub(crate) struct Operation {
    pub(crate) caller: String,
    pub(crate) source: String,
    pub(crate) started: Timestamp,
    pub(crate) done: Timestamp,
}

impl PowerBi {
    pub(crate) fn users_of(&self, source: &str) -> impl Iterator<Item = &Dataset> {
        let users = self.datasets.users.get_or_init(|| self.datasets.index());
        users.get(source).into_iter().flatten().filter_map(|id| self.datasets.get(id))
    }
}

/// Datasets by id; which of them use a data source, asked at every write, and which are in a workspace: a large customer needs
/// indexes. Any change to the datasets makes them anew, but for a change of one dataset's uses.
#[derive(Default)]
pub(crate) struct Datasets {
    known: BTreeMap<String, Dataset>,
    users: OnceCell<HashMap<String, Vec<String>>>,
    groups: OnceCell<HashMap<String, Vec<String>>>,
}

impl Datasets {
    fn index(&self) -> HashMap<String, Vec<String>> {
        let mut users: HashMap<String, Vec<String>> = HashMap::new();
        for dataset in self.known.values() {
            let used: BTreeSet<&String> = dataset.uses.iter().filter_map(|used| used.source.as_ref()).collect();
            for source in used {
                users.entry(source.clone()).or_default().push(dataset.id.clone());
            }
        }
        users
    }

    /// Those of a workspace, by id.
    pub(crate) fn in_group(&self, group: &str) -> impl Iterator<Item = &Dataset> {
        let groups = self.groups.get_or_init(|| {
            let mut groups: HashMap<String, Vec<String>> = HashMap::new();
            for dataset in self.known.values() {
                groups.entry(dataset.group.clone()).or_default().push(dataset.id.clone());
            }
            groups
        });
        groups.get(group).into_iter().flatten().filter_map(|id| self.known.get(id))
    }

    /// Gives a dataset to another owner, bound to these.
    pub(crate) fn rebind(&mut self, id: &str, owner: &str, uses: Vec<Use>) {
        let Some(dataset) = self.known.get_mut(id) else { return };
        owner.clone_into(&mut dataset.owner);
        let before = std::mem::replace(&mut dataset.uses, uses);
        let Some(users) = self.users.get_mut() else { return };
        for source in before.iter().filter_map(|used| used.source.as_ref()) {
            if let Some(users) = users.get_mut(source) {
                users.retain(|user| user != id);
            }
        }
        let used: BTreeSet<&String> = dataset.uses.iter().filter_map(|used| used.source.as_ref()).collect();
        for source in used {
            let users = users.entry(source.clone()).or_default();
            // As the whole index has them, for every run must be the same.
            let place = users.partition_point(|user| user.as_str() < id);
            users.insert(place, id.to_owned());
        }
    }
}

impl Deref for Datasets {
    type Target = BTreeMap<String, Dataset>;

    fn deref(&self) -> &Self::Target {
        &self.known
    }
}

impl DerefMut for Datasets {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.users.take();
        self.groups.take();
        &mut self.known
    }
}

#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Somebody's own, "My workspace".
    pub(crate) personal: bool,
    /// By object id, or by a person's name.
    pub(crate) members: BTreeMap<String, Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Role {
    Viewer,
    Contributor,
    Member,
    Admin,
}

#[derive(Clone)]
pub(crate) struct Dataset {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) owner: String,
    pub(crate) uses: Vec<Use>,
    pub(crate) refreshes: Vec<Refresh>,
}

/// A source as a dataset names it, and the data source that it is bound to.
#[derive(Clone)]
pub(crate) struct Use {
    pub(crate) details: Details,
    pub(crate) source: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Details {
    Databricks {
        kind: String,
        host: String,
        http_path: String,
    },
    Sql {
        server: String,
        database: String,
    },
    Web {
        url: String,
    },
    /// Some sources tell nothing of themselves.
    Unknown,
}

impl Details {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Databricks { .. } => "Extension",
            Self::Sql { .. } => "Sql",
            Self::Web { .. } => "Web",
            Self::Unknown => "PowerQueryMashup",
        }
    }

    /// As `datasets/{id}/datasources` shows them.
    pub(crate) fn of_dataset(&self) -> Value {
        match self {
            Self::Databricks { kind, host, http_path } => {
                json!({ "kind": kind, "path": json!({ "host": host, "httpPath": http_path }).to_string() })
            }
            Self::Sql { server, database } => json!({ "server": server, "database": database }),
            Self::Web { url } => json!({ "url": url }),
            Self::Unknown => json!({}),
        }
    }

    /// As `gateways/{id}/datasources` shows them: JSON text, with other names and escaped slashes inside.
    pub(crate) fn of_gateway(&self) -> String {
        match self {
            Self::Databricks { kind, host, http_path } => {
                let path = json!({ "host": host, "httpPath": http_path }).to_string().replace('/', r"\/");
                json!({ "extensionDataSourceKind": kind, "extensionDataSourcePath": path }).to_string()
            }
            Self::Sql { .. } | Self::Web { .. } | Self::Unknown => self.of_dataset().to_string(),
        }
    }

    /// Type and path as Fabric's connections show them.
    pub(crate) fn of_connection(&self) -> (String, String) {
        match self {
            Self::Databricks { kind, host, http_path } => {
                (kind.clone(), json!({ "host": host, "httpPath": http_path }).to_string())
            }
            Self::Sql { server, database } => ("SQL".to_owned(), format!("{server};{database}")),
            Self::Web { url } => ("Web".to_owned(), url.clone()),
            Self::Unknown => ("Unknown".to_owned(), String::new()),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) id: String,
    pub(crate) gateway: String,
    pub(crate) name: String,
    pub(crate) details: Details,
    pub(crate) home: Home,
    /// Whose cloud source it is.
    pub(crate) owner: String,
    /// Who sees it as a Fabric connection; `true` for an owner's role.
    pub(crate) shared_with: BTreeMap<String, bool>,
    pub(crate) credential: Credential,
    pub(crate) privacy: String,
    pub(crate) sso: bool,
    pub(crate) encryption: String,
    /// How often its credential was written, and when last.
    pub(crate) writes: u32,
    pub(crate) written_at: Option<Timestamp>,
    /// Meant to be moved by a rotation of everything; what else there is are decoys.
    pub(crate) target: bool,
    /// The data source in whose place a take-over put this one.
    pub(crate) replaces: Option<String>,
    /// What Fabric shows in place of its own words for some properties: values that came after the spec.
    pub(crate) shown_as: BTreeMap<String, String>,
}

impl Source {
    /// As Fabric words it.
    pub(crate) fn connectivity(&self) -> &str {
        self.shown_as.get("connectivityType").map_or_else(|| self.home.connectivity(), String::as_str)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Home {
    PersonalCloud,
    ShareableCloud,
    OnPremises,
    VirtualNetwork,
}

impl Home {
    pub(crate) fn is_cloud(self) -> bool {
        matches!(self, Self::PersonalCloud | Self::ShareableCloud)
    }

    pub(crate) fn connectivity(self) -> &'static str {
        match self {
            Self::PersonalCloud => "PersonalCloud",
            Self::ShareableCloud => "ShareableCloud",
            Self::OnPremises => "OnPremisesGateway",
            Self::VirtualNetwork => "VirtualNetworkGateway",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    Missing,
    Basic {
        username: String,
        password: String,
    },
    Key(String),
    /// Signed in by a person; whether it works is no matter of lakekey's.
    OAuth2,
    Windows,
}

impl Credential {
    pub(crate) fn type_name(&self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            Self::Basic { .. } => Some("Basic"),
            Self::Key(_) => Some("Key"),
            Self::OAuth2 => Some("OAuth2"),
            Self::Windows => Some("Windows"),
        }
    }
}

pub(crate) struct Gateway {
    pub(crate) id: String,
    pub(crate) name: String,
    /// None on a virtual network; the first one's id is the gateway's.
    pub(crate) members: Vec<Member>,
    pub(crate) admins: BTreeSet<String>,
}

impl Gateway {
    pub(crate) fn is_virtual_network(&self) -> bool {
        self.members.is_empty()
    }
}

pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) key: GatewayKey,
    pub(crate) enabled: bool,
    pub(crate) online: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_that_is_bound_anew_is_found_by_its_new_source() {
        let uses = |sources: &[&str]| {
            let bound = |source: &&str| Use { details: Details::Unknown, source: Some((*source).to_owned()) };
            sources.iter().map(bound).collect::<Vec<_>>()
        };
        let dataset = |id: &str, sources: &[&str]| Dataset {
            id: id.to_owned(),
            name: id.to_owned(),
            group: "group".to_owned(),
            owner: "ann".to_owned(),
            uses: uses(sources),
            refreshes: Vec::new(),
        };
        let mut bi = PowerBi::default();
        for (id, sources) in [("a", &["x", "y"][..]), ("b", &["x"]), ("c", &["y"])] {
            bi.datasets.insert(id.to_owned(), dataset(id, sources));
        }
        assert_eq!(bi.users_of("x").count(), 2);
        bi.datasets.rebind("b", "bob", uses(&["y", "z", "z"]));
        let users = |source: &str| bi.users_of(source).map(|user| user.id.as_str()).collect::<Vec<_>>();
        assert_eq!([users("x"), users("y"), users("z")], [vec!["a"], vec!["a", "b", "c"], vec!["b"]]);
        assert_eq!(bi.datasets["b"].owner, "bob");
    }

    #[test]
    fn a_dataset_is_found_in_its_workspace_and_one_that_is_gone_is_not() {
        let of = |id: &str, group: &str| Dataset {
            id: id.to_owned(),
            name: id.to_owned(),
            group: group.to_owned(),
            owner: "ann".to_owned(),
            uses: Vec::new(),
            refreshes: Vec::new(),
        };
        let mut datasets = Datasets::default();
        for (id, group) in [("b", "one"), ("a", "one"), ("c", "two")] {
            datasets.insert(id.to_owned(), of(id, group));
        }
        let listed =
            |datasets: &Datasets, group: &str| datasets.in_group(group).map(|dataset| dataset.id.clone()).collect::<Vec<_>>();
        assert_eq!(listed(&datasets, "one"), ["a", "b"]);
        datasets.remove("a");
        datasets.insert("d".to_owned(), of("d", "one"));
        assert_eq!((listed(&datasets, "one"), listed(&datasets, "three").len()), (vec!["b".to_owned(), "d".to_owned()], 0));
    }
}
