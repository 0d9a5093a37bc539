//! Made-up customers: a Databricks account, an Entra tenant, and Power BI workspaces full of data sources, many of which
//! are none of lakekey's business. The same seed makes the same customer.

mod bi;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::clock::{Clock, later};
use crate::cloud::Cloud;
use crate::databricks::{Account, Level, Minted, Principal, Warehouse, Who, Workspace};
use crate::entra::{App, Entra};
use crate::faults::Faults;
use crate::powerbi::PowerBi;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::token::Tokens;
use crate::trust::Trust;
use crate::world::{Addresses, World, host_of};

/// What to make up.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub seed: u64,
    /// Data sources that a rotation of everything, allowed to take over, must move.
    pub targets: usize,
    /// Whether some of them are on on-premises gateways and on a virtual network; else all are in the cloud.
    pub gateways: bool,
    /// Whether there are data sources of other kinds, hosts and principals among them.
    pub decoys: bool,
    /// Datasets that use each target, at least.
    pub datasets_each: usize,
    /// Live secrets of people beside the one that the targets hold at first.
    pub foreign_secrets: usize,
    /// Adds a target on a gateway with a 1024-bit key, and a person's dataset with another cloud source beside the
    /// target: neither can be moved without a person's help.
    pub hard_cases: bool,
}

impl Fleet {
    pub fn new(targets: usize, seed: u64) -> Self {
        Self { seed, targets, gateways: true, decoys: true, datasets_each: 1, foreign_secrets: 0, hard_cases: false }
    }

    pub fn small(seed: u64) -> Self {
        Self::new(5, seed)
    }

    pub fn medium(seed: u64) -> Self {
        Self::new(40, seed)
    }

    /// The cloud at the public addresses, for `Cloud::handle`.
    pub fn build(&self, settings: Settings) -> Cloud {
        self.build_at(settings, Addresses::default())
    }

    /// The cloud at other addresses: data sources name the workspaces' hosts, so these come first.
    pub fn build_at(&self, settings: Settings, addresses: Addresses) -> Cloud {
        let clock = Clock::new(settings.start);
        let mut rng = Rng::new(self.seed);
        let mut cast = Cast::new(&mut rng);
        let mut world = World {
            now: clock.now(),
            settings,
            account: account(&mut rng, &addresses, &mut cast, clock.now()),
            addresses,
            tokens: Tokens::new(self.seed),
            entra: entra(&cast),
            trust: Trust::default(),
            bi: PowerBi::default(),
            faults: Faults::new(self.seed),
            log: Vec::new(),
            leaks: Vec::new(),
            caller: None,
            trouble: None,
            history: Vec::new(),
            windows: BTreeMap::new(),
            rng,
        };
        let held = held_at_first(&mut world, &cast, self.foreign_secrets);
        bi::fill(&mut world, self, &cast, &held);
        Cloud::new(clock, world, cast)
    }
}

/// Who plays a part, with the credentials that lakekey's identities need.
#[derive(Clone, Debug, Serialize)]
pub struct Cast {
    pub tenant: String,
    /// The id of the Databricks account. It has no admin at first.
    pub account: String,
    /// A Databricks-managed principal, admin of both workspaces: `oauth-m2m`.
    pub admin: Login,
    /// An Entra-managed principal, admin of both workspaces: `azure-client-secret`.
    pub entra_admin: Login,
    /// A person's token that is admin of both workspaces: `pat`.
    pub personal_token: String,
    /// The Entra app that signs in to Power BI and Fabric.
    pub powerbi: Login,
    /// The principal whose secret is rotated.
    pub principal: Rotated,
    /// By workspace; the first of all is the one to verify with.
    pub warehouses: Vec<Vec<String>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Login {
    pub client_id: String,
    pub client_secret: String,
    /// What Power BI and Fabric know an app by; empty where it is not in Entra.
    pub object_id: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Rotated {
    pub id: u64,
    pub application_id: String,
    pub display_name: String,
}

impl Cast {
    fn new(rng: &mut Rng) -> Self {
        let mut login = |object_id: bool| Login {
            client_id: rng.uuid().to_string(),
            client_secret: format!("sim~{}", rng.hex(2)),
            object_id: if object_id { rng.uuid().to_string() } else { String::new() },
        };
        let (admin, entra_admin, powerbi) = (login(false), login(true), login(true));
        let principal = Rotated { id: 7_004, application_id: rng.uuid().to_string(), display_name: "pbi-sales".to_owned() };
        let personal_token = format!("dapi{}", rng.hex(2));
        let (tenant, account) = (rng.uuid().to_string(), String::new());
        Self { tenant, account, admin, entra_admin, personal_token, powerbi, principal, warehouses: Vec::new() }
    }
}

fn account(rng: &mut Rng, addresses: &Addresses, cast: &mut Cast, now: jiff::Timestamp) -> Account {
    let everywhere: BTreeSet<usize> = (0..addresses.databricks.len()).collect();
    let mut principals = BTreeMap::new();
    let mut add = |id: u64, application_id: String, display_name: &str, entra_managed: bool| {
        let entitlements = BTreeSet::from(["databricks-sql-access".to_owned()]);
        let display_name = display_name.to_owned();
        let workspaces = everywhere.clone();
        let secrets = Vec::new();
        principals.insert(
            id,
            Principal { id, application_id, display_name, entra_managed, active: true, entitlements, workspaces, secrets },
        );
    };
    add(7_001, cast.admin.client_id.clone(), "lakekey-admin", false);
    add(7_002, cast.entra_admin.client_id.clone(), "lakekey-entra", true);
    // The same name but for its case: a filter finds both.
    add(7_003, rng.uuid().to_string(), "PBI-SALES", false);
    add(cast.principal.id, cast.principal.application_id.clone(), &cast.principal.display_name, false);
    add(7_005, rng.uuid().to_string(), "pbi-finance", false);
    add(7_006, rng.uuid().to_string(), "pbi \"quoted\" \\ name", false);
    add(7_007, rng.uuid().to_string(), "pbi-sales-test", false);
    let secret = |value: String, made_by: &str| Minted {
        id: value.chars().rev().collect(),
        value,
        created: now - Duration::from_secs(30 * DAY),
        expires: later(now, Duration::from_secs(600 * DAY)),
        deleted: None,
        scopes: Vec::new(),
        made_by: made_by.to_owned(),
    };
    for (id, value) in [(7_001, cast.admin.client_secret.clone()), (7_005, format!("dose{}", rng.hex(2)))] {
        if let Some(principal) = principals.get_mut(&id) {
            principal.secrets.push(secret(value, names::PERSON));
        }
    }
    let workspaces = addresses.databricks.iter().enumerate().map(|(index, base)| workspace(rng, index, base, cast)).collect();
    let (id, admins) = (rng.uuid(), BTreeSet::new());
    cast.account = id.to_string();
    Account { id, principals, workspaces, admins, grants: grants(&cast.admin.client_id) }
}

fn workspace(rng: &mut Rng, index: usize, base: &str, cast: &mut Cast) -> Workspace {
    let names: &[&str] = if index == 0 { &["BI main", "BI nightly", "Finance"] } else { &["Region south", "Lab"] };
    let mut warehouses = BTreeMap::new();
    let mut ids = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let id = rng.hex(1);
        let mut acl = BTreeMap::from([
            (Who::User(names::PERSON.to_owned()), Level::IsOwner),
            (Who::Group("analysts".to_owned()), Level::CanUse),
        ]);
        // The last one is not for the principal.
        if at + 1 < names.len() {
            acl.insert(Who::Principal(cast.principal.application_id.clone()), Level::CanUse);
            ids.push(id.clone());
        }
        warehouses.insert(id.clone(), Warehouse { id, name: (*name).to_owned(), ready: None, deleted: false, acl });
    }
    cast.warehouses.push(ids);
    let admins = [cast.admin.client_id.as_str(), &cast.entra_admin.client_id, names::PERSON];
    Workspace {
        base: base.to_owned(),
        host: host_of(base).to_owned(),
        org_id: 1_234_567_890_123_456 + u64::try_from(index).expect("there are few workspaces"),
        admins: admins.into_iter().map(str::to_owned).collect(),
        warehouses,
        scopes: BTreeMap::from([("powerbi".to_owned(), BTreeMap::new())]),
        statements: BTreeMap::new(),
        tokens: BTreeMap::from([(cast.personal_token.clone(), names::PERSON.to_owned())]),
    }
}

/// `main.sales.orders` and what it lies in, owned by the admin and open to nobody else.
fn grants(owner: &str) -> BTreeMap<(String, String), BTreeMap<String, BTreeSet<String>>> {
    let all = BTreeMap::from([(owner.to_owned(), BTreeSet::from(["ALL_PRIVILEGES".to_owned()]))]);
    let key = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
    BTreeMap::from([
        (key("catalog", "main"), all),
        (key("schema", "main.sales"), BTreeMap::new()),
        (key("schema", "main.default"), BTreeMap::new()),
        (key("table", "main.sales.orders"), BTreeMap::new()),
        (key("table", "main.sales.odd `name`"), BTreeMap::new()),
    ])
}

fn entra(cast: &Cast) -> Entra {
    let app = |login: &Login| {
        (login.client_id.clone(), App { object_id: login.object_id.clone(), secret: login.client_secret.clone() })
    };
    let apps = BTreeMap::from([app(&cast.entra_admin), app(&cast.powerbi)]);
    Entra { tenant: cast.tenant.clone(), apps, issued: BTreeMap::new() }
}

/// The secret that a person made and put into every target before lakekey came, and others of people's.
fn held_at_first(world: &mut World, cast: &Cast, others: usize) -> Minted {
    let lifetime = Duration::from_secs(365 * DAY);
    let mut made = Vec::new();
    for _ in 0..=others {
        let secret = crate::databricks::mint(world, cast.principal.id, lifetime, Vec::new(), names::PERSON);
        made.push(secret);
    }
    let an_hour = Duration::from_secs(3_600);
    for secret in world.account.principals.get_mut(&cast.principal.id).into_iter().flat_map(|principal| &mut principal.secrets) {
        secret.created -= an_hour;
        secret.expires -= an_hour;
    }
    made.swap_remove(0)
}

/// Ids of a fleet's Power BI side.
fn id(rng: &mut Rng) -> String {
    Uuid::to_string(&rng.uuid())
}

const DAY: u64 = 24 * 60 * 60;
