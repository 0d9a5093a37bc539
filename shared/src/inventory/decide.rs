//! What becomes of each data source that a row means: a target, something left alone, or a problem. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::connections::Connections;
use super::ownership::no_fabric_right;
use super::rows::{Candidate, Matched};
use super::walk::Walk;
use super::{Left, Selection};
use crate::clients::fabric::ConnectionType;
use crate::clients::powerbi::{DatasetSource, Gateway};
use crate::config::{self, Selector};
use crate::error::Problem;
use crate::ids::{GatewayId, TargetId};
use crate::targets::condition::{Holding, Reach};
use crate::targets::datasource::privacy_level_unknown;
use crate::targets::gateway_seal::{self, SealError};
use crate::targets::{DatasetRef, TargetKind, TargetSpec};

/// The candidates, decided.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) targets: BTreeMap<TargetId, TargetSpec>,
    left: BTreeSet<Left>,
    problems: Vec<Problem>,
    /// Rows that select a target, or that a problem speaks of already.
    answered: BTreeSet<usize>,
    /// Gateways that a problem speaks of already.
    gateways: BTreeSet<GatewayId>,
    /// Targets whose privacy level nobody says.
    without_level: BTreeSet<TargetId>,
    /// Nobody could say: Fabric is closed to the identity.
    is_closed: bool,
}

impl Decided {
    pub(super) fn new(walk: &Walk, matched: Matched, connections: &Connections, config: &config::Targets) -> Self {
        let Matched { candidates, left, problems, answered } = matched;
        let mut decided = Self {
            targets: BTreeMap::new(),
            left,
            problems,
            answered,
            gateways: BTreeSet::new(),
            without_level: BTreeSet::new(),
            is_closed: connections.is_closed,
        };
        for (id, candidate) in candidates {
            decided.decide(walk, connections, config, id, candidate);
        }
        decided
    }

    pub(super) fn has_cloud(&self) -> bool {
        self.targets.values().any(|target| target.kind == TargetKind::Cloud)
    }

    pub(super) fn add(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    /// The selection; rows that came to nothing are problems.
    pub(super) fn finish(mut self, rows: &[Selector]) -> Selection {
        // A connection of somebody else's shows its level only once its dataset has been taken over.
        let taken_over = |id: &TargetId| self.targets.get(id).is_some_and(|target| target.take_over.is_some());
        let problem = |id: &TargetId| match self.targets.get(id) {
            Some(target) if self.is_closed => no_fabric_right(target),
            Some(_) | None => privacy_level_unknown(id),
        };
        let mut unknown: Vec<Problem> = self.without_level.iter().filter(|id| !taken_over(id)).map(problem).collect();
        // What is closed for one is closed for all: once is enough.
        unknown.truncate(if self.is_closed { 1 } else { usize::MAX });
        self.problems.extend(unknown);
        let empty = rows.iter().enumerate().filter(|(row, _)| !self.answered.contains(row));
        for (_, row) in empty {
            let message = format!("the row `{row}` of targets.select selects no data source on the credential's workspaces");
            let hint = if self.left.is_empty() {
                "check the row, and that the identity is a member of the workspace or an administrator of the gateway that it means"
            } else {
                "what is left alone, and why, is listed under `left`"
            };
            self.problems.push(Problem::new("selects-nothing", message).hint(hint));
        }
        Selection {
            targets: self.targets.into_values().collect(),
            left: self.left.into_iter().collect(),
            problems: self.problems,
        }
    }

    fn decide(&mut self, walk: &Walk, connections: &Connections, config: &config::Targets, id: TargetId, candidate: Candidate) {
        let gateway = candidate.gateway.as_ref().and_then(|gateway| walk.gateways.get(gateway));
        let connection = connections.get(&candidate.datasource);
        let reach = reach(walk, connections, &candidate);
        let credential_type = credential_kind(&candidate, connections);
        let through_fabric = connection.filter(|_| candidate.by_connection || reach == Reach::Vnet);
        let kind = match reach {
            Reach::PersonalGateway => return self.leave(&id, "personal gateway: only its owner can enter credentials"),
            Reach::Unknown => {
                let way = connection.map(|connection| format!("{:?}", connection.connectivity)).unwrap_or_default();
                return self.leave(&id, &format!("reached in a way that this version does not know: {way}"));
            }
            Reach::Vnet => TargetKind::Vnet,
            _ if through_fabric.is_some() => TargetKind::Connection,
            Reach::Gateway | Reach::ForeignGateway => TargetKind::Gateway,
            Reach::Cloud => TargetKind::Cloud,
        };
        if !Holding::of(credential_type).may_be_replaced(config.convert) {
            return self.other_kind(&id, &candidate, credential_type.unwrap_or_default());
        }
        let place = (candidate.gateway.as_ref(), &candidate.datasource);
        let spec = match (through_fabric.and_then(|connection| connection.connectivity.writable()), &candidate.gateway) {
            (Some(connectivity), gateway) => {
                if let (ConnectionType::OnPremisesGateway, Some(gateway)) = (connectivity, gateway) {
                    self.check_members(gateway, connections);
                }
                TargetSpec::connection(kind, connectivity, place, &candidate.source, candidate.datasets)
            }
            (None, Some(gateway_id)) => {
                if reach == Reach::ForeignGateway {
                    self.no_gateway_right(gateway_id);
                } else {
                    if let Some(gateway) = gateway {
                        self.check_key(gateway);
                    }
                    let on_gateway = candidate.on_gateway.as_ref().and_then(|source| source.privacy_level.as_deref());
                    let level = on_gateway.or_else(|| connection?.privacy_level.as_deref()).or(config.privacy_level.as_deref());
                    if level.is_none() {
                        self.without_level.insert(id.clone());
                    }
                }
                TargetSpec::new(kind, (gateway_id, &candidate.datasource), &candidate.source, candidate.datasets)
            }
            (None, None) => return self.leave(&id, "a connection without a gateway that the rows do not name"),
        };
        self.answered.extend(&candidate.rows);
        self.targets.insert(id, spec);
    }

    /// Every member must be able to read its own ciphertext.
    fn check_members(&mut self, gateway: &GatewayId, connections: &Connections) {
        let Some(Some(members)) = connections.members.get(gateway) else { return self.no_gateway_right(gateway) };
        for member in members {
            let unusable = member
                .public_key
                .as_ref()
                .map_or(Some(SealError::Key { part: "modulus" }), |key| gateway_seal::check_key(key).err());
            if let Some(error) = unusable.filter(|_| self.gateways.insert(gateway.clone())) {
                let mut problem = error.problem();
                let name = member.name.as_deref().unwrap_or(&member.id);
                problem.message = format!("member `{name}` of gateway `{gateway}`: {}", problem.message);
                self.problems.push(problem);
            }
        }
    }

    fn leave(&mut self, id: &TargetId, reason: &str) {
        self.left.insert(Left { id: id.to_string(), reason: reason.to_owned() });
    }

    fn other_kind(&mut self, id: &TargetId, candidate: &Candidate, kind: &str) {
        if !candidate.named {
            return self.leave(id, &format!("holds another kind of credential (`{kind}`); targets.convert is not set"));
        }
        self.answered.extend(&candidate.rows);
        let message = format!("`{id}` is named in targets.select but holds another kind of credential (`{kind}`)");
        self.problems.push(
            Problem::new("other-credential-kind", message)
                .hint("set targets.convert: true to replace it, or take the row out of targets.select"),
        );
    }

    /// A key that cannot be used is told of once, however many sources its gateway has.
    fn check_key(&mut self, gateway: &Gateway) {
        let Some(Err(error)) = gateway.public_key.as_ref().map(gateway_seal::check_key) else { return };
        if self.gateways.insert(gateway.id.clone()) {
            let mut problem = error.problem();
            problem.message = format!("gateway `{}`: {}", gateway.name.as_deref().unwrap_or_default(), problem.message);
            self.problems.push(problem);
        }
    }

    fn no_gateway_right(&mut self, gateway: &GatewayId) {
        if self.gateways.insert(gateway.clone()) {
            let message = format!("the identity does not administer gateway `{gateway}`, which serves selected data sources");
            self.problems.push(Problem::new("no-gateway-right", message).hint(
                "make the identity an administrator of the gateway (Manage connections and gateways, Manage users), or narrow targets.select",
            ));
        }
    }
}

/// How a candidate is reached.
pub(super) fn reach(walk: &Walk, connections: &Connections, candidate: &Candidate) -> Reach {
    let gateway = candidate.gateway.as_ref().and_then(|gateway| walk.gateways.get(gateway));
    match (gateway, connections.get(&candidate.datasource)) {
        (None, None) if is_behind_hidden_gateway(walk, connections, candidate) => Reach::ForeignGateway,
        (gateway, connection) => Reach::of(gateway, connection),
    }
}

/// The kind of credential that it holds, in the service's spelling: the gateway's word, else Fabric's.
pub(super) fn credential_kind<'a>(candidate: &'a Candidate, connections: &'a Connections) -> Option<&'a str> {
    match &candidate.on_gateway {
        Some(source) => source.credential_type.as_deref(),
        None => connections.get(&candidate.datasource)?.credential_type.as_deref(),
    }
}

/// Whether a source of which neither API tells how it is reached must be taken to be on a gateway out of the identity's
/// sight: all its datasets need one, and in one of them no other source is seen to be on one. Its dataset must not be taken
/// over, for that would not help.
fn is_behind_hidden_gateway(walk: &Walk, connections: &Connections, candidate: &Candidate) -> bool {
    let needs_gateway = |dataset: &DatasetRef| {
        let known = walk.datasets.get(&dataset.group).and_then(Option::as_deref);
        known.into_iter().flatten().any(|known| known.id == dataset.id && known.needs_gateway)
    };
    let is_on_gateway = |source: &DatasetSource| {
        let administered = source.gateway.as_ref().is_some_and(|gateway| walk.gateways.contains_key(gateway));
        let said = source.datasource.as_ref().and_then(|source| connections.get(source));
        administered
            || matches!(Reach::of(None, said), Reach::ForeignGateway | Reach::PersonalGateway | Reach::Vnet | Reach::Unknown)
    };
    let is_unexplained = |dataset: &DatasetRef| {
        let sources = walk.sources.get(&(dataset.group.clone(), dataset.id.clone())).and_then(Option::as_ref);
        !sources.into_iter().flatten().any(is_on_gateway)
    };
    let datasets = &candidate.datasets;
    !datasets.is_empty() && datasets.iter().all(needs_gateway) && datasets.iter().any(is_unexplained)
}
