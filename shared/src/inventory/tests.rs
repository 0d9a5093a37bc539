//! What is selected, over inventories built by hand: the walk itself is exercised against the simulated cloud.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::connections::Connections;
use super::decide::Decided;
use super::rows::{Hosts, Matched};
use super::walk::Walk;
use super::*;
use crate::clients::fabric::{Connection, ConnectionType, Connectivity};
use crate::clients::powerbi::{DatabricksSource, Dataset, DatasetSource, Gateway, GatewayKey, GatewaySource, Group};
use crate::config::{Selector, TakeOver, Targets, WaveSize};
use crate::ids::{DatasetId, DatasourceId, GatewayId, GroupId, IdentityName, Text, WarehouseId};
use crate::targets::{SourceKind, TargetKind};

const US: &str = "725c0000-0000-4000-8000-000000000001";
const HOST: &str = "adb-1.7.azuredatabricks.net";
const DECOY: &str = "adb-2.7.azuredatabricks.net";

/// An inventory under construction.
#[derive(Default)]
struct World {
    walk: Walk,
    connections: Connections,
}

fn databricks(host: &str, warehouse: &str) -> DatabricksSource {
    DatabricksSource {
        kind: SourceKind::Databricks,
        host: host.into(),
        http_path: format!("/sql/1.0/warehouses/{warehouse}").into(),
        warehouse: Some(WarehouseId::new(warehouse)),
    }
}

impl World {
    fn dataset(&mut self, group: &str, name: &str, owner: &str) -> (GroupId, DatasetId) {
        let key = (GroupId::new(format!("g-{group}")), DatasetId::new(format!("d-{group}-{name}")));
        Arc::make_mut(&mut self.walk.groups)
            .insert(key.0.clone(), Group { id: key.0.clone(), name: group.into(), is_personal: false });
        let datasets = self.walk.datasets.entry(key.0.clone()).or_insert_with(|| Some(Arc::default()));
        let configured_by = Some(owner.to_owned()).filter(|owner| !owner.is_empty());
        let dataset =
            Dataset { id: key.1.clone(), name: name.into(), configured_by: configured_by.map(Text::new), needs_gateway: false };
        Arc::make_mut(datasets.get_or_insert_default()).push(dataset);
        self.walk.sources.entry(key.clone()).or_insert_with(|| Some(Vec::new()));
        key
    }

    fn bind(&mut self, key: &(GroupId, DatasetId), gateway: &str, datasource: &str, databricks: Option<DatabricksSource>) {
        let id = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let source = DatasetSource {
            gateway: id(gateway).map(GatewayId::new),
            datasource: id(datasource).map(DatasourceId::new),
            databricks,
        };
        self.walk.sources.get_mut(key).unwrap().get_or_insert_default().push(source);
    }

    fn gateway(&mut self, id: &str, name: &str, key_bytes: usize) {
        use base64::Engine;
        let modulus = [&[0x80], vec![1; key_bytes - 1].as_slice()].concat();
        let modulus = base64::engine::general_purpose::STANDARD.encode(modulus);
        let public_key = Some(GatewayKey { modulus, exponent: "AQAB".to_owned() });
        let id = GatewayId::new(id);
        self.walk.gateways.insert(id.clone(), Gateway { id: id.clone(), name: Some(name.to_owned()), public_key });
        self.walk.gateway_sources.entry(id).or_insert_with(|| Some(Arc::default()));
    }

    fn gateway_source(&mut self, gateway: &str, id: &str, databricks: Option<DatabricksSource>, credential: &str) {
        let gateway = GatewayId::new(gateway);
        let source = GatewaySource {
            gateway: gateway.clone(),
            id: DatasourceId::new(id),
            name: Some(format!("name of {id}")),
            databricks,
            credential_type: Some(credential.to_owned()),
            privacy_level: Some("Private".to_owned()),
            single_sign_on: Some(false),
        };
        Arc::make_mut(self.walk.gateway_sources.get_mut(&gateway).unwrap().get_or_insert_default()).push(source);
    }

    fn connection(&mut self, id: &str, connectivity: Connectivity, credential: &str) {
        let connection = Connection {
            id: DatasourceId::new(id),
            name: None,
            connectivity,
            gateway: None,
            databricks: None,
            privacy_level: Some("Organizational".into()),
            credential_type: Some(credential.into()),
            single_sign_on: Some("None".into()),
            encryption: None,
            skip_test: None,
        };
        self.connections.asked.insert(DatasourceId::new(id), Some(connection));
    }

    fn select(&self, config: &Targets) -> Selection {
        let workspaces = [Workspace::parse(HOST).unwrap()];
        let matched = Matched::new(&self.walk, &self.connections, Hosts::Of(&workspaces), &config.select);
        let mut decided = Decided::new(&self.walk, matched, &self.connections, config);
        let foreign = ownership::foreign(&decided.targets, &[US.to_owned()]);
        let problems = ownership::settle(&self.walk, &self.connections, &mut decided.targets, &foreign, config.take_over);
        decided.add(problems);
        decided.finish(&config.select)
    }
}

fn config(select: Vec<Selector>) -> Targets {
    Targets {
        concurrency: 4,
        refresh: Vec::new(),
        waves: vec![WaveSize::Percent(100)],
        identity: IdentityName::new("powerbi"),
        select,
        mapping: None,
        take_over: TakeOver::Never,
        convert: false,
        privacy_level: Some("Organizational".to_owned()),
    }
}

fn dataset_row(workspace: &str, dataset: &str) -> Selector {
    Selector::Dataset { workspace: workspace.to_owned(), dataset: dataset.to_owned() }
}

fn gateway_row(gateway: &str, datasource: &str) -> Selector {
    Selector::Gateway { gateway: gateway.to_owned(), datasource: datasource.to_owned() }
}

fn ids(selection: &Selection) -> Vec<&str> {
    selection.targets.iter().map(|target| target.id.as_str()).collect()
}

fn codes(selection: &Selection) -> Vec<&str> {
    selection.problems.iter().map(|problem| problem.code.as_str()).collect()
}

#[test]
fn one_source_of_several_datasets_is_one_target_and_decoys_are_ignored() {
    let mut world = World::default();
    for name in ["Orders", "Costs"] {
        let key = world.dataset("Sales", name, US);
        world.bind(&key, "v1", "s1", Some(databricks(HOST, "w1")));
        world.bind(&key, "v1", "decoy", Some(databricks(DECOY, "w1")));
        world.bind(&key, "v1", "sql", None);
    }
    for row in [
        Selector::All,
        Selector::Warehouse(WarehouseId::new("W1")),
        dataset_row("Sales", "Orders"),
        dataset_row("G-SALES", "D-SALES-COSTS"),
    ] {
        let selection = world.select(&config(vec![row.clone(), Selector::All]));
        assert_eq!((ids(&selection), codes(&selection), selection.left.len()), (vec!["powerbi:v1/s1"], vec![], 0), "{row}");
        let target = &selection.targets[0];
        assert_eq!((target.kind, target.datasets.len(), &target.take_over), (TargetKind::Cloud, 2, &None));
    }
}

#[test]
fn names_that_mean_nothing_or_several_things_are_problems_with_the_candidates() {
    let mut world = World::default();
    let key = world.dataset("Sales", "Orders", US);
    world.bind(&key, "v1", "s1", Some(databricks(HOST, "w1")));
    let twin = Group { id: GroupId::new("g-twin"), name: "Sales".into(), is_personal: false };
    Arc::make_mut(&mut world.walk.groups).insert(twin.id.clone(), twin);

    let selection = world.select(&config(vec![
        dataset_row("Nowhere", "Orders"),
        dataset_row("g-Sales", "orders"),
        dataset_row("Sales", "Orders"),
    ]));
    assert_eq!(codes(&selection), ["workspace-not-found", "dataset-not-found", "workspace-ambiguous"]);
    assert!(selection.problems[2].message.contains("`g-Sales`, `g-twin`"), "{}", selection.problems[2].message);
    assert!(selection.problems.iter().all(|problem| problem.hint.is_some()));

    world.gateway("g1", "GW", 256);
    world.gateway("g2", "GW", 256);
    let selection = world.select(&config(vec![gateway_row("GW", "x"), gateway_row("g1", "x"), gateway_row("Other", "x")]));
    assert_eq!(codes(&selection), ["gateway-ambiguous", "datasource-not-found", "gateway-not-found"]);
}

#[test]
fn a_row_that_selects_nothing_is_a_problem() {
    let mut world = World::default();
    let key = world.dataset("Sales", "Orders", US);
    world.bind(&key, "v1", "decoy", Some(databricks(DECOY, "w1")));
    world.gateway("g1", "GW", 256);
    world.gateway_source("g1", "s1", Some(databricks(DECOY, "w1")), "Basic");
    let rows = vec![
        dataset_row("Sales", "Orders"),
        Selector::All,
        Selector::Warehouse(WarehouseId::new("w1")),
        gateway_row("GW", "name of s1"),
    ];
    let selection = world.select(&config(rows));
    assert_eq!((codes(&selection), selection.targets.len()), (vec!["selects-nothing"; 4], 0));
}

#[test]
fn a_gateway_source_is_selected_through_its_gateway_and_through_its_datasets() {
    let mut world = World::default();
    let key = world.dataset("Sales", "Orders", "ann@contoso.com");
    world.bind(&key, "g1", "s1", Some(databricks(HOST, "w1")));
    world.gateway("g1", "GW", 256);
    world.gateway_source("g1", "s1", Some(databricks(HOST, "w1")), "Basic");
    world.gateway_source("g1", "s2", Some(databricks(HOST, "w2")), "Basic");
    for (row, expected) in [
        (gateway_row("GW", "name of s1"), vec!["powerbi:g1/s1"]),
        (dataset_row("Sales", "Orders"), vec!["powerbi:g1/s1"]),
        (Selector::Warehouse(WarehouseId::new("w2")), vec!["powerbi:g1/s2"]),
        (Selector::All, vec!["powerbi:g1/s1", "powerbi:g1/s2"]),
    ] {
        let selection = world.select(&config(vec![row.clone()]));
        assert_eq!((ids(&selection), codes(&selection)), (expected, vec![]), "{row}");
        assert!(selection.targets.iter().all(|target| target.kind == TargetKind::Gateway && target.take_over.is_none()));
    }
}

#[test]
fn gateways_without_right_or_with_a_short_key_are_told_once() {
    let mut world = World::default();
    for (dataset, source) in [("A", "s1"), ("B", "s2")] {
        let key = world.dataset("Sales", dataset, US);
        world.bind(&key, "foreign", source, Some(databricks(HOST, "w1")));
        world.connection(source, Connectivity::Writable(ConnectionType::OnPremisesGateway), "Basic");
    }
    world.gateway("old", "Old GW", 128);
    world.gateway_source("old", "s3", Some(databricks(HOST, "w1")), "Basic");
    world.gateway_source("old", "s4", Some(databricks(HOST, "w1")), "Basic");
    let selection = world.select(&config(vec![Selector::All]));
    assert_eq!(codes(&selection), ["no-gateway-right", "gateway-key-too-short"]);
    assert!(selection.problems[1].message.contains("Old GW"));
    assert_eq!(ids(&selection).len(), 4);
}

#[test]
fn what_cannot_be_covered_is_left_with_a_reason() {
    let mut world = World::default();
    let key = world.dataset("Sales", "Orders", US);
    world.bind(&key, "new", "s1", Some(databricks(HOST, "w1")));
    world.connection("s1", Connectivity::Other(Some("Telepathy".to_owned())), "Basic");
    world.bind(&key, "personal", "s2", Some(databricks(HOST, "w1")));
    world.connection("s2", Connectivity::PersonalGateway, "Basic");
    world.bind(&key, "", "", Some(databricks(HOST, "w1")));
    world.bind(&key, "v1", "s3", Some(databricks(HOST, "w1")));
    world.bind(&key, "v1", "s4", Some(databricks(HOST, "w2")));
    world.walk.datasets.insert(GroupId::new("closed"), None);
    let selection = world.select(&config(vec![Selector::Warehouse(WarehouseId::new("w1"))]));
    assert_eq!((ids(&selection), codes(&selection)), (vec!["powerbi:v1/s3"], vec![]));
    let left: Vec<_> = selection.left.iter().map(|left| left.id.as_str()).collect();
    assert_eq!(left, ["dataset:d-Sales-Orders", "powerbi:new/s1", "powerbi:personal/s2", "workspace:closed"]);
}

#[test]
fn a_virtual_network_source_is_a_target_of_its_own_kind_whoever_owns_the_dataset() {
    let mut world = World::default();
    let key = world.dataset("Sales", "Orders", "ann@contoso.com");
    world.bind(&key, "vnet", "s1", Some(databricks(HOST, "w1")));
    world.connection("s1", Connectivity::Writable(ConnectionType::VirtualNetworkGateway), "Basic");
    let selection = world.select(&Targets { privacy_level: None, ..config(vec![dataset_row("Sales", "Orders")]) });
    assert_eq!((ids(&selection), codes(&selection)), (vec!["powerbi:vnet/s1"], vec![]));
    let target = &selection.targets[0];
    assert_eq!((target.kind, target.connectivity), (TargetKind::Vnet, Some(ConnectionType::VirtualNetworkGateway)));
}

#[test]
fn a_connection_reachable_both_ways_is_one_target_with_one_id() {
    let mut world = World::default();
    let key = world.dataset("Sales", "Orders", "ann@contoso.com");
    world.bind(&key, "v1", "s1", Some(databricks(HOST, "w1")));
    world.connection("s1", Connectivity::Writable(ConnectionType::ShareableCloud), "Basic");
    let named = Selector::Connection(DatasourceId::new("s1"));
    let selection = world.select(&config(vec![Selector::All, named.clone()]));
    assert_eq!((ids(&selection), codes(&selection)), (vec!["powerbi:v1/s1"], vec![]));
    assert_eq!((selection.targets[0].kind, selection.targets[0].datasets.len()), (TargetKind::Connection, 1));

    // Known to Fabric alone, with and without a gateway.
    let mut world = World::default();
    world.connection("s1", Connectivity::Writable(ConnectionType::ShareableCloud), "Basic");
    let connection = world.connections.asked.get_mut(&DatasourceId::new("s1")).unwrap().as_mut().unwrap();
    connection.databricks = Some(databricks(HOST, "w1"));
    assert_eq!(ids(&world.select(&config(vec![named.clone()]))), ["fabric:s1"]);
    let left = world.select(&config(vec![Selector::All])).left;
    assert!(left[0].reason.contains("connection: s1"), "{left:?}");
    let connection = world.connections.asked.get_mut(&DatasourceId::new("s1")).unwrap().as_mut().unwrap();
    connection.gateway = Some(GatewayId::new("v1"));
    assert_eq!(ids(&world.select(&config(vec![named]))), ["powerbi:v1/s1"]);
}

#[test]
fn another_kind_of_credential_is_left_unless_named_or_converted() {
    let mut world = World::default();
    let key = world.dataset("Sales", "Orders", US);
    world.bind(&key, "v1", "s1", Some(databricks(HOST, "w1")));
    world.connection("s1", Connectivity::Writable(ConnectionType::ShareableCloud), "OAuth2");
    world.gateway("g1", "GW", 256);
    world.gateway_source("g1", "s2", Some(databricks(HOST, "w1")), "Key");
    world.gateway_source("g1", "s3", Some(databricks(HOST, "w1")), "Basic");

    let selection = world.select(&config(vec![Selector::All]));
    assert_eq!((ids(&selection), codes(&selection), selection.left.len()), (vec!["powerbi:g1/s3"], vec![], 2));
    let selection = world.select(&config(vec![dataset_row("Sales", "Orders"), gateway_row("GW", "s2")]));
    assert_eq!((ids(&selection), codes(&selection)), (vec![], vec!["other-credential-kind", "other-credential-kind"]));
    let converting = Targets { convert: true, ..config(vec![Selector::All]) };
    assert_eq!(ids(&world.select(&converting)).len(), 3);
}

#[test]
fn an_unknown_privacy_level_is_a_problem() {
    let mut world = World::default();
    let key = world.dataset("Sales", "Orders", US);
    world.bind(&key, "v1", "s1", Some(databricks(HOST, "w1")));
    world.gateway("g1", "GW", 256);
    world.gateway_source("g1", "s2", Some(databricks(HOST, "w1")), "Basic");
    let config = Targets { privacy_level: None, ..config(vec![Selector::All]) };
    assert_eq!(codes(&world.select(&config)), ["privacy-level-unknown"]);
    world.connection("s1", Connectivity::Writable(ConnectionType::ShareableCloud), "Basic");
    assert!(codes(&world.select(&config)).is_empty());
    let lists = world.walk.gateway_sources.values_mut().flatten();
    lists.flat_map(Arc::make_mut).for_each(|source| source.privacy_level = None);
    assert_eq!(codes(&world.select(&config)), ["privacy-level-unknown"]);
}

/// Two datasets of others use `s1`; the first also has another cloud source.
fn owned_by_others() -> World {
    let mut world = World::default();
    for dataset in ["A", "B"] {
        let key = world.dataset("Sales", dataset, "ann@contoso.com");
        world.bind(&key, "v1", "s1", Some(databricks(HOST, "w1")));
    }
    let key = (GroupId::new("g-Sales"), DatasetId::new("d-Sales-A"));
    world.bind(&key, "v2", "web", None);
    world
}

#[test]
fn a_dataset_of_somebody_else_is_taken_over_only_as_far_as_allowed() {
    let mut world = owned_by_others();
    let with = |take_over| Targets { take_over, ..config(vec![Selector::All]) };
    let selection = world.select(&with(TakeOver::Never));
    assert_eq!(codes(&selection), ["not-owner"]);
    assert!(selection.problems[0].message.contains("dataset `A` in workspace `Sales`, owned by `ann@contoso.com`"));
    for take_over in [TakeOver::Allowed, TakeOver::Always] {
        let selection = world.select(&with(take_over));
        assert_eq!((codes(&selection), &selection.targets[0].take_over), (vec![], &Some(DatasetId::new("d-Sales-B"))));
    }

    let key = (GroupId::new("g-Sales"), DatasetId::new("d-Sales-B"));
    world.bind(&key, "v2", "decoy", Some(databricks(DECOY, "w1")));
    assert_eq!(codes(&world.select(&with(TakeOver::Allowed))), ["take-over-unsafe"]);
    let selection = world.select(&with(TakeOver::Always));
    assert_eq!((codes(&selection), &selection.targets[0].take_over), (vec![], &Some(DatasetId::new("d-Sales-A"))));
    // A neighbour that Fabric knows to be no cloud source loses nothing.
    world.connection("decoy", Connectivity::Writable(ConnectionType::VirtualNetworkGateway), "Basic");
    assert!(codes(&world.select(&with(TakeOver::Allowed))).is_empty());
}

#[test]
fn one_dataset_of_ours_or_of_nobody_known_is_enough() {
    for owner in [US, "", "Sales refresh app"] {
        let mut world = owned_by_others();
        let key = world.dataset("Sales", "C", owner);
        world.bind(&key, "v1", "s1", Some(databricks(HOST, "w1")));
        let selection = world.select(&config(vec![Selector::All]));
        assert_eq!((codes(&selection), &selection.targets[0].take_over), (vec![], &None), "{owner}");
    }
}

#[test]
fn one_take_over_serves_several_targets() {
    let mut world = World::default();
    for (dataset, sources) in [("A", &["s1"][..]), ("B", &["s1", "s2"])] {
        let key = world.dataset("Sales", dataset, "ann@contoso.com");
        sources.iter().for_each(|source| world.bind(&key, "v1", source, Some(databricks(HOST, "w1"))));
    }
    let selection = world.select(&Targets { take_over: TakeOver::Allowed, ..config(vec![Selector::All]) });
    let taken: BTreeMap<_, _> =
        selection.targets.iter().map(|target| (target.datasource.as_str(), target.take_over.clone())).collect();
    assert_eq!(taken["s1"], Some(DatasetId::new("d-Sales-A")));
    assert_eq!(taken["s2"], Some(DatasetId::new("d-Sales-B")));
    // `s1` came first; the other way round `B` alone serves both.
    let mut world = World::default();
    for (dataset, sources) in [("A", &["s2"][..]), ("B", &["s1", "s2"])] {
        let key = world.dataset("Sales", dataset, "ann@contoso.com");
        sources.iter().for_each(|source| world.bind(&key, "v1", source, Some(databricks(HOST, "w1"))));
    }
    let selection = world.select(&Targets { take_over: TakeOver::Allowed, ..config(vec![Selector::All]) });
    assert!(selection.targets.iter().all(|target| target.take_over == Some(DatasetId::new("d-Sales-B"))));
}
