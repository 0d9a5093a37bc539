//! The Power BI side of a fleet: workspaces, gateways, datasets and their data sources.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cast, Fleet, id, names};
use crate::databricks::{Level, Minted, Who};
use crate::powerbi::{Credential, Dataset, Details, Gateway, GatewayKey, Group, Home, Item, ItemKind, Member, Role, Source, Use};
use crate::rng::Rng;
use crate::world::World;

pub(super) fn fill(world: &mut World, fleet: &Fleet, cast: &Cast, held: &Minted) {
    let mut maker = Maker { world, cast, held, groups: Vec::new(), datasets: 0, sources: 0 };
    maker.workspaces(fleet.targets);
    let gateways = maker.gateways();
    for at in 0..fleet.targets {
        let at = match at < SHAPES.len() {
            true => (fleet.first_shape + at) % SHAPES.len(),
            false => maker.world.rng.below(SHAPES.len()),
        };
        let shape = SHAPES[at];
        let in_cloud = matches!(shape, Shape::Own | Shape::Persons | Shape::Shared | Shape::Several);
        maker.target(if fleet.gateways || in_cloud { shape } else { Shape::Own }, &gateways, fleet.datasets_each);
    }
    if fleet.decoys {
        maker.decoys(&gateways);
        maker.beyond_reach(fleet.seed);
    }
    if fleet.hard_cases {
        maker.hard_cases(&gateways);
    }
}

/// What a target looks like.
#[derive(Clone, Copy)]
enum Shape {
    /// A cloud source of a dataset that lakekey's identity owns.
    Own,
    /// One of a person's dataset: it must be taken over.
    Persons,
    OnPremises,
    VirtualNetwork,
    /// A connection that is shared with lakekey's identity.
    Shared,
    /// One data source of several datasets of a person.
    Several,
    /// On a gateway of two members.
    Cluster,
}

const SHAPES: [Shape; 8] = [
    Shape::Own,
    Shape::Persons,
    Shape::OnPremises,
    Shape::VirtualNetwork,
    Shape::Shared,
    Shape::Several,
    Shape::Cluster,
    Shape::Persons,
];

struct Gateways {
    plain: String,
    cluster: String,
    old: String,
    network: String,
    /// Of which lakekey's identity is no admin.
    foreign: String,
}

struct Maker<'a> {
    world: &'a mut World,
    cast: &'a Cast,
    held: &'a Minted,
    groups: Vec<String>,
    datasets: usize,
    sources: usize,
}

impl Maker<'_> {
    fn me(&self) -> String {
        self.cast.powerbi.object_id.clone()
    }

    fn workspaces(&mut self, targets: usize) {
        let names = (0..(targets / 8).clamp(3, 40)).map(|at| {
            let name = names::WORKSPACES[at % names::WORKSPACES.len()];
            if at < names::WORKSPACES.len() { name.to_owned() } else { format!("{name} {at}") }
        });
        for name in names {
            let members = BTreeMap::from([(self.me(), Role::Admin), (names::PERSON.to_owned(), Role::Admin)]);
            let group = self.group(name, members);
            self.groups.push(group);
        }
    }

    fn group(&mut self, name: String, members: BTreeMap<String, Role>) -> String {
        let id = id(&mut self.world.rng);
        self.world.bi.groups.insert(id.clone(), Group { id: id.clone(), name, personal: false, members });
        id
    }

    fn gateways(&mut self) -> Gateways {
        let me = self.me();
        Gateways {
            plain: self.gateway("Contoso-GW", &[GatewayKey::Bits2048], &me),
            cluster: self.gateway("Cluster \"Nord\" 1", &[GatewayKey::Bits4096, GatewayKey::Bits3072], &me),
            old: self.gateway("Old cellar", &[GatewayKey::Bits1024], &me),
            network: self.gateway("vnet-gw", &[], &me),
            foreign: self.gateway("Someone else's", &[GatewayKey::Bits2048], names::PERSON),
        }
    }

    fn gateway(&mut self, name: &str, keys: &[GatewayKey], admin: &str) -> String {
        let gateway = id(&mut self.world.rng);
        let mut members = Vec::new();
        for (at, &key) in keys.iter().enumerate() {
            let id = if at == 0 { gateway.clone() } else { id(&mut self.world.rng) };
            members.push(Member { id, name: format!("{name}-{at}"), key, enabled: at == 0, online: true });
        }
        let admins = BTreeSet::from([admin.to_owned(), names::PERSON.to_owned()]);
        self.world.bi.gateways.insert(gateway.clone(), Gateway { id: gateway.clone(), name: name.to_owned(), members, admins });
        gateway
    }

    fn target(&mut self, shape: Shape, gateways: &Gateways, datasets_min: usize) {
        let (me, person) = (self.me(), self.person());
        let details = self.databricks();
        let (home, gateway, owner, datasets) = match shape {
            Shape::Own => (Home::PersonalCloud, None, me, 1),
            Shape::Persons => (Home::PersonalCloud, None, person, 1),
            Shape::Several => (Home::PersonalCloud, None, person, 3),
            Shape::Shared => (Home::ShareableCloud, None, me, 1),
            Shape::OnPremises => (Home::OnPremises, Some(&gateways.plain), person, 2),
            Shape::Cluster => (Home::OnPremises, Some(&gateways.cluster), person, 1),
            Shape::VirtualNetwork => (Home::VirtualNetwork, Some(&gateways.network), person, 1),
        };
        let credential = self.held();
        let source = self.source(details, home, gateway, &owner, credential, true);
        for _ in 0..datasets.max(datasets_min) {
            self.dataset(&owner, &[&source]);
        }
    }

    fn decoys(&mut self, gateways: &Gateways) {
        let (me, person) = (self.me(), self.person());
        let sql = Details::Sql { server: "sql01.contoso.example".to_owned(), database: "sales".to_owned() };
        let far = Details::Databricks {
            kind: "Databricks".to_owned(),
            host: "adb-999.9.azuredatabricks.net".to_owned(),
            http_path: "/sql/1.0/warehouses/0123456789abcdef".to_owned(),
        };
        let other = Credential::Basic { username: "someone".to_owned(), password: "else's secret".to_owned() };

        let far = self.source(far, Home::PersonalCloud, None, &me, other, false);
        self.dataset(&me, &[&far]);
        let plain_sql = self.source(sql.clone(), Home::PersonalCloud, None, &person, Credential::OAuth2, false);
        self.dataset(&person, &[&plain_sql]);
        for gateway in [&gateways.plain, &gateways.old] {
            let source = self.source(sql.clone(), Home::OnPremises, Some(gateway), &person, Credential::Windows, false);
            self.dataset(&person, &[&source]);
        }
        let web = Details::Web { url: "https://prices.example/feed?x=1".to_owned() };
        let web = self.source(web, Home::PersonalCloud, None, &me, Credential::OAuth2, false);
        let nameless = self.source(Details::Unknown, Home::PersonalCloud, None, &me, Credential::OAuth2, false);
        self.dataset(&me, &[&web, &nameless]);

        // On the very workspaces, but with another kind of credential.
        let details = self.databricks();
        let signed_in = self.source(details, Home::ShareableCloud, None, &me, Credential::OAuth2, false);
        self.dataset(&me, &[&signed_in]);
        let (details, token) = (self.databricks(), Credential::Key(self.cast.personal_token.clone()));
        let by_token = self.source(details, Home::OnPremises, Some(&gateways.plain), &person, token, false);
        self.dataset(&person, &[&by_token]);

        // Named by a dataset, bound to nothing.
        let details = self.databricks();
        let unbound = self.dataset(&me, &[]);
        if let Some(dataset) = self.world.bi.datasets.get_mut(&unbound) {
            dataset.uses.push(Use { details, source: None });
        }
        self.hidden(gateways);
    }

    /// Another principal's data sources, on a warehouse of its own, where lakekey's identity is no member.
    fn hidden(&mut self, gateways: &Gateways) {
        let person = self.person();
        let group = self.group("Hidden HR".to_owned(), BTreeMap::from([(person.clone(), Role::Admin)]));
        let account = &mut self.world.account;
        let finance =
            account.principals.values().find(|principal| principal.display_name == "pbi-finance").expect("it is in every fleet");
        let username = finance.application_id.clone();
        let password = finance.secrets.first().expect("it has a secret").value.clone();
        let workspace = &mut account.workspaces[0];
        let warehouse =
            workspace.warehouses.values_mut().find(|warehouse| warehouse.name == "Finance").expect("it is in every fleet");
        warehouse.acl.insert(Who::Principal(username.clone()), Level::CanUse);
        let details = Details::Databricks {
            kind: "Databricks".to_owned(),
            host: workspace.host.clone(),
            http_path: format!("/sql/1.0/warehouses/{}", warehouse.id),
        };
        let credential = Credential::Basic { username, password };
        for (home, gateway) in [(Home::PersonalCloud, None), (Home::OnPremises, Some(&gateways.foreign))] {
            let source = self.source(details.clone(), home, gateway, &person, credential.clone(), false);
            let dataset = self.dataset(&person, &[&source]);
            if let Some(dataset) = self.world.bi.datasets.get_mut(&dataset) {
                dataset.group.clone_from(&group);
            }
        }
    }

    /// What uses the very workspaces and cannot be covered: a dataflow, a paginated report, a dataset in a personal workspace.
    /// Chance of its own makes it, so that a fleet is otherwise what it is without.
    fn beyond_reach(&mut self, seed: u64) {
        let main = std::mem::replace(&mut self.world.rng, Rng::new(!seed));
        let person = names::PEOPLE[0].to_owned();
        let (details, source) = {
            let sources = self.world.bi.sources.values();
            let mut targets = sources.filter(|source| source.target && source.home.is_cloud());
            match targets.next() {
                Some(source) => (source.details.clone(), Some(source.id.clone())),
                None => (self.databricks(), None),
            }
        };
        let group = self.groups[0].clone();
        for (kind, name, uses) in [
            (ItemKind::Dataflow, "Staging", vec![Use { details: details.clone(), source }]),
            (ItemKind::PaginatedReport, "Invoices", vec![Use { details: details.clone(), source: None }]),
            (ItemKind::Report, "Orders at a glance", Vec::new()),
        ] {
            let (id, name, group, owner) = (id(&mut self.world.rng), name.to_owned(), group.clone(), person.clone());
            self.world.bi.items.insert(id, Item { kind, name, group, owner, uses });
        }
        let own = self.group(format!("My workspace of {person}"), BTreeMap::from([(person.clone(), Role::Admin)]));
        if let Some(group) = self.world.bi.groups.get_mut(&own) {
            group.personal = true;
        }
        let credential = Credential::OAuth2;
        let (datasets, sources) = (self.datasets, self.sources);
        let source = self.source(details, Home::PersonalCloud, None, &person, credential, false);
        let dataset = self.dataset(&person, &[&source]);
        if let Some(dataset) = self.world.bi.datasets.get_mut(&dataset) {
            dataset.group = own;
        }
        (self.datasets, self.sources) = (datasets, sources);
        self.world.rng = main;
    }

    fn hard_cases(&mut self, gateways: &Gateways) {
        let person = self.person();
        let (details, credential) = (self.databricks(), self.held());
        let old = self.source(details, Home::OnPremises, Some(&gateways.old), &person, credential.clone(), true);
        self.dataset(&person, &[&old]);
        let sql = Details::Sql { server: "sql02.contoso.example".to_owned(), database: "hr".to_owned() };
        let beside = self.source(sql, Home::PersonalCloud, None, &person, Credential::OAuth2, false);
        let details = self.databricks();
        let mixed = self.source(details, Home::PersonalCloud, None, &person, credential, true);
        self.dataset(&person, &[&mixed, &beside]);
    }

    fn person(&mut self) -> String {
        names::PEOPLE[self.world.rng.below(names::PEOPLE.len())].to_owned()
    }

    fn held(&self) -> Credential {
        Credential::Basic { username: self.cast.principal.application_id.clone(), password: self.held.value.clone() }
    }

    /// A place on one of the workspaces where the principal may use the warehouse.
    fn databricks(&mut self) -> Details {
        let index = usize::from(self.world.rng.chance(0.3));
        let ids = &self.cast.warehouses[index];
        let warehouse = &ids[self.world.rng.below(ids.len())];
        let kind = if self.world.rng.chance(0.25) { "DatabricksMultiCloud" } else { "Databricks" };
        Details::Databricks {
            kind: kind.to_owned(),
            host: self.world.account.workspaces[index].host.clone(),
            http_path: format!("/sql/1.0/warehouses/{warehouse}"),
        }
    }

    fn source(
        &mut self,
        details: Details,
        home: Home,
        gateway: Option<&String>,
        owner: &str,
        credential: Credential,
        target: bool,
    ) -> String {
        self.sources += 1;
        let rng = &mut self.world.rng;
        let source_id = id(rng);
        let own_gateway = id(rng);
        let privacy = ["Organizational", "Private", "None", "Public"][rng.below(4)];
        let sso = matches!(details, Details::Databricks { .. }) && rng.chance(0.2);
        let mut shared_with = BTreeMap::from([(owner.to_owned(), true)]);
        if home == Home::VirtualNetwork {
            shared_with.insert(self.cast.powerbi.object_id.clone(), true);
        }
        let source = Source {
            id: source_id.clone(),
            gateway: gateway.cloned().unwrap_or(own_gateway),
            name: format!("{} {}", details.type_name(), self.sources),
            details,
            home,
            owner: owner.to_owned(),
            shared_with,
            credential,
            privacy: privacy.to_owned(),
            sso,
            encryption: "Encrypted".to_owned(),
            writes: 0,
            written_at: None,
            target,
            replaces: None,
            shown_as: BTreeMap::new(),
        };
        self.world.bi.sources.insert(source_id.clone(), source);
        source_id
    }

    fn dataset(&mut self, owner: &str, sources: &[&String]) -> String {
        let name = names::DATASETS[self.datasets % names::DATASETS.len()];
        let name = if self.datasets < names::DATASETS.len() { name.to_owned() } else { format!("{name} {}", self.datasets) };
        self.datasets += 1;
        let id = id(&mut self.world.rng);
        let group = self.groups[self.world.rng.below(self.groups.len())].clone();
        let of = |source: &&String| {
            Some(Use { details: self.world.bi.sources.get(*source)?.details.clone(), source: Some((*source).clone()) })
        };
        let uses = sources.iter().filter_map(of).collect();
        self.world
            .bi
            .datasets
            .insert(id.clone(), Dataset { id: id.clone(), name, group, owner: owner.to_owned(), uses, refreshes: Vec::new() });
        id
    }
}
