//! Everything that one identity can see: every Databricks data source, on whichever host, and what uses such hosts but
//! cannot be covered. Seen by a walk through the identity's workspaces or, where the tenant lets it in, by the scanner, which
//! shows workspaces too in which the identity has no role.
//!
//! What a credential would select of it is decided by the very rules of selection, so that a list made from here selects the
//! same again.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join;

use super::beyond;
use super::connections::Connections;
use super::decide::{self, Decided};
use super::mapped;
use super::rows::{Candidate, Hosts, Matched, candidates};
use super::walk::Walk;
use super::{Left, Selection};
use crate::clients::fabric::Fabric;
use crate::clients::powerbi::{DatabricksSource, PowerBi, ScannedGroup, Scanner, is_refusal};
use crate::config::{self, Selector, TakeOver, WaveSize};
use crate::error::{Error, Problem};
use crate::ids::{DatasourceId, GatewayId, GroupId, IdentityName, TargetId, WarehouseId, Workspace};
use crate::targets::DatasetRef;
use crate::targets::condition::Reach;

/// What one identity sees.
#[derive(Debug)]
pub struct Survey {
    /// How it was seen.
    pub by: By,
    /// Why it was not seen by the scanner, where that was tried.
    pub refused: Option<Problem>,
    walk: Walk,
    connections: Connections,
    /// Dataflows and paginated reports.
    beyond: BTreeSet<Left>,
    /// Workspaces in which the identity has no role, as the scanner shows them.
    strange: Vec<ScannedGroup>,
}

/// How things are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Workspace by workspace, those in which the identity has a role.
    Workspaces,
    /// By the scanner: every workspace of the tenant.
    Scanner,
}

/// A data source of one of the Databricks connectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSource {
    /// Its id, were it a target.
    pub id: TargetId,
    /// Power BI's id of it.
    pub datasource: DatasourceId,
    /// How it is reached: `cloud`, `gateway`, `vnet`, `personal-gateway` or `unknown`.
    pub kind: &'static str,
    /// As its gateway or Fabric calls it.
    pub name: Option<String>,
    /// Its gateway and the gateway's name; `None` for the virtual gateways of cloud sources.
    pub gateway: Option<(GatewayId, String)>,
    /// Where it connects to.
    pub source: DatabricksSource,
    /// The kind of credential that it holds, in the service's spelling; `None` where nobody says.
    pub credential_kind: Option<String>,
    /// The datasets that use it.
    pub datasets: Vec<DatasetRef>,
    /// Why it could not be a target; `None` where it could.
    pub left: Option<String>,
}

/// How the mapping list names a data source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRow {
    /// Its name where that is unique, else its id.
    pub source: String,
    /// The Databricks host.
    pub host: String,
    /// The SQL warehouse.
    pub warehouse: WarehouseId,
    /// Its gateway's name or id; empty for cloud sources.
    pub gateway: String,
}

impl Survey {
    /// Looks at everything. `by` is how; `None` prefers the scanner and does without where it is closed. `rows` are those of
    /// the credentials that will be asked about.
    pub async fn run(powerbi: &PowerBi, fabric: &Fabric, by: Option<By>, rows: &[Selector]) -> Result<Self, Error> {
        let (scanned, refused) = match by {
            Some(By::Workspaces) => (None, None),
            Some(By::Scanner) | None => match Box::pin(scan(powerbi)).await? {
                Ok(scanned) => (Some(scanned), None),
                Err(refusal) if by.is_none() => (None, Some(refusal)),
                Err(refusal) => return Err(Error::new(crate::error::ErrorKind::Failed, refusal)),
            },
        };
        let by = if scanned.is_some() { By::Scanner } else { By::Workspaces };
        let scanned = scanned.unwrap_or_default();
        let rows = [&[Selector::All], rows].concat();
        let (walk, connections) = join(
            Box::pin(Walk::run(powerbi, Hosts::Every, &[Selector::All], &scanned)),
            Box::pin(Connections::begin(fabric, &rows)),
        )
        .await;
        let (walk, mut connections) = (walk?, connections?);
        let matched = Matched::new(&walk, &connections, Hosts::Every, &[Selector::All]);
        connections.read(fabric, matched.unexplained(&walk)).await?;

        let (known, strange): (Vec<ScannedGroup>, Vec<ScannedGroup>) =
            scanned.into_iter().partition(|one| walk.groups.contains_key(&one.group.id) && !one.group.is_personal);
        let mut beyond: BTreeSet<Left> = known.iter().chain(&strange).flat_map(of_scan).collect();
        // A scan does not always tell what a paginated report connects to.
        let groups: BTreeSet<GroupId> =
            walk.groups.values().filter(|group| !group.is_personal).map(|group| group.id.clone()).collect();
        let items = beyond::items(powerbi, groups).await?;
        let left =
            |(group, item, sources): &(GroupId, _, Vec<_>)| beyond::left(walk.groups.get(group)?, item, sources, Hosts::Every);
        beyond.extend(items.iter().filter_map(left));
        Ok(Self { by, refused, walk, connections, beyond, strange })
    }

    /// Every Databricks data source, sorted by id.
    pub fn sources(&self) -> Vec<SeenSource> {
        let mut reasons: BTreeMap<String, String> =
            self.decided(Hosts::Every, &all()).left.into_iter().map(|left| (left.id, left.reason)).collect();
        let found = candidates(&self.walk, &self.connections, Hosts::Every, &self.rows_of_unused());
        let mut sources: BTreeMap<TargetId, SeenSource> = found
            .into_iter()
            .map(|(id, candidate)| {
                let left = reasons.remove(id.as_str());
                let seen = self.seen(&id, candidate, left);
                (id, seen)
            })
            .collect();
        for (id, found) in self.beyond_reach() {
            sources.entry(id).and_modify(|known| known.datasets.extend(found.datasets.iter().cloned())).or_insert(found);
        }
        sources.into_values().collect()
    }

    /// What uses these hosts and is none of the data sources seen, sorted by id.
    pub fn left(&self, seen: &[SeenSource]) -> Vec<Left> {
        let of_sources: BTreeSet<String> = seen.iter().map(|source| source.id.to_string()).collect();
        let decided = self.decided(Hosts::Every, &all()).left;
        let mut left: BTreeSet<Left> = decided.into_iter().filter(|left| !of_sources.contains(&left.id)).collect();
        left.extend(self.beyond.iter().cloned());
        let personal = self.strange.iter().filter(|one| one.group.is_personal);
        for (group, dataset, source) in personal.flat_map(datasets_of) {
            let reason = format!(
                "dataset `{}` in personal workspace `{}` uses {}: only its owner can enter its credentials",
                dataset.name, group.name, source.host
            );
            left.insert(Left { id: format!("dataset:{}", dataset.id), reason });
        }
        left.into_iter().collect()
    }

    /// What these targets of a credential on these workspaces select, problems aside.
    pub fn selected(&self, workspaces: &[Workspace], targets: &config::Targets) -> BTreeSet<TargetId> {
        self.decided(Hosts::Of(workspaces), targets).targets.into_iter().map(|target| target.id).collect()
    }

    /// What the row `all` would select with these targets' other settings.
    pub fn selectable(&self, workspaces: &[Workspace], targets: &config::Targets) -> BTreeSet<TargetId> {
        self.selected(workspaces, &config::Targets { select: vec![Selector::All], mapping: None, ..targets.clone() })
    }

    /// How the mapping list of a credential on these workspaces names these data sources; those that it has no word for are
    /// left out.
    pub fn list_rows(&self, workspaces: &[Workspace], ids: &BTreeSet<TargetId>) -> BTreeMap<TargetId, ListRow> {
        let (walk, connections) = (&self.walk, &self.connections);
        let found = candidates(walk, connections, Hosts::Of(workspaces), &[Selector::All]);
        let mut by_name: BTreeMap<&str, Vec<&Candidate>> = BTreeMap::new();
        for candidate in found.values() {
            by_name.entry(mapped::name(candidate, connections)).or_default().push(candidate);
        }
        let own_ids: BTreeSet<String> = found.values().map(|found| found.datasource.as_str().to_ascii_lowercase()).collect();
        let row = |candidate: &Candidate| {
            let (host, warehouse) = (candidate.source.host.clone(), candidate.source.warehouse.clone()?);
            let gateway = self.gateway_word(candidate);
            let name = mapped::name(candidate, connections);
            let is_meant = |other: &&&Candidate| {
                (gateway.is_empty() || mapped::is_on(other, &gateway, walk, connections))
                    && mapped::is_at(other, &host, &warehouse)
            };
            let is_unique = !name.trim().is_empty()
                && !own_ids.contains(&name.to_ascii_lowercase())
                && by_name.get(name).into_iter().flatten().filter(is_meant).count() == 1;
            let source = if is_unique { name.to_owned() } else { candidate.datasource.to_string() };
            Some(ListRow { source, host: host.to_string(), warehouse, gateway })
        };
        let wanted = found.iter().filter(|(id, _)| ids.contains(*id));
        wanted.filter_map(|(id, candidate)| Some((id.clone(), row(candidate)?))).collect()
    }

    /// The gateway of a candidate as the mapping list calls it; empty for cloud sources.
    fn gateway_word(&self, candidate: &Candidate) -> String {
        let (walk, connections) = (&self.walk, &self.connections);
        let Some(id) = &candidate.gateway else { return String::new() };
        let name = mapped::gateway_name(id, walk, connections);
        if !name.trim().is_empty() && self.gateways_called(name) == 1 {
            return name.to_owned();
        }
        let is_known = walk.gateways.contains_key(id) || connections.networks.contains_key(id);
        if is_known { id.to_string() } else { String::new() }
    }

    fn gateways_called(&self, name: &str) -> usize {
        let administered = self.walk.gateways.values().filter(|gateway| gateway.name.as_deref() == Some(name));
        administered.count() + self.connections.networks.values().filter(|network| *network == name).count()
    }

    fn decided(&self, hosts: Hosts<'_>, targets: &config::Targets) -> Selection {
        let matched = Matched::new(&self.walk, &self.connections, hosts, &targets.select);
        Decided::new(&self.walk, matched, &self.connections, targets).finish(&targets.select)
    }

    /// Rows that name each connection that no dataset in sight uses.
    fn rows_of_unused(&self) -> Vec<Selector> {
        self.connections.shown().map(|connection| Selector::Connection(connection.id.clone())).collect()
    }

    fn seen(&self, id: &TargetId, candidate: Candidate, left: Option<String>) -> SeenSource {
        let (walk, connections) = (&self.walk, &self.connections);
        let reach = decide::reach(walk, connections, &candidate);
        let name = Some(mapped::name(&candidate, connections).to_owned()).filter(|name| !name.is_empty());
        let gateway = candidate.gateway.as_ref().filter(|_| reach != Reach::Cloud).map(|gateway| {
            let name = mapped::gateway_name(gateway, walk, connections).to_owned();
            (gateway.clone(), name)
        });
        let credential_kind = decide::credential_kind(&candidate, connections).map(str::to_owned);
        let is_unused = candidate.datasets.is_empty() && candidate.on_gateway.is_none() && reach != Reach::Vnet;
        let left = left.or_else(|| is_unused.then(|| "no dataset in the identity's sight uses this connection".to_owned()));
        SeenSource {
            id: id.clone(),
            datasource: candidate.datasource,
            kind: kind(reach),
            name,
            gateway,
            source: candidate.source,
            credential_kind,
            datasets: candidate.datasets,
            left,
        }
    }

    /// Data sources of workspaces in which the identity has no role.
    fn beyond_reach(&self) -> BTreeMap<TargetId, SeenSource> {
        let mut found: BTreeMap<TargetId, SeenSource> = BTreeMap::new();
        for one in &self.strange {
            for (dataset, sources) in &one.datasets {
                for source in sources {
                    let (Some(gateway), Some(datasource), Some(databricks)) =
                        (&source.gateway, &source.datasource, &source.databricks)
                    else {
                        continue;
                    };
                    let id = TargetId::powerbi(gateway, datasource);
                    let why = if one.group.is_personal {
                        format!("only a dataset in personal workspace `{}` uses it", one.group.name)
                    } else {
                        format!(
                            "the identity has no role in workspace `{}`; with Contributor it could be a target",
                            one.group.name
                        )
                    };
                    let seen = found.entry(id.clone()).or_insert_with(|| SeenSource {
                        id,
                        datasource: datasource.clone(),
                        kind: "unknown",
                        name: None,
                        gateway: None,
                        source: databricks.clone(),
                        credential_kind: None,
                        datasets: Vec::new(),
                        left: Some(why),
                    });
                    seen.datasets.push(DatasetRef {
                        workspace: one.group.name.clone(),
                        group: one.group.id.clone(),
                        name: dataset.name.clone(),
                        id: dataset.id.clone(),
                        owner: dataset.configured_by.clone(),
                    });
                }
            }
        }
        found
    }
}

/// What the scanner shows; inside, why it shows nothing to this identity.
async fn scan(powerbi: &PowerBi) -> Result<Result<Vec<ScannedGroup>, Problem>, Error> {
    // Results are long, and nobody asks for them twice.
    let scanner = Scanner::new(powerbi.clone().sharing(None));
    let scanned = async { scanner.scan(&scanner.workspaces().await?).await };
    match scanned.await {
        Ok(scanned) => Ok(Ok(scanned)),
        Err(error) if is_refusal(&error) => {
            let answer = error.problem().map(ToString::to_string).unwrap_or_default();
            let message = format!("the scanner of Power BI is closed to the identity (to {}: {answer})", error.what);
            Ok(Err(Problem::new("scanner-refused", message).hint(
                "let service principals read admin APIs, for a group that the identity is in (Admin portal > Tenant settings > Admin API settings > Service principals can access read-only admin APIs), and give its app no Power BI permission that needs an admin's consent; or go without: `--by workspaces`",
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// The row `all`, and nothing allowed.
fn all() -> config::Targets {
    config::Targets {
        identity: IdentityName::new("any"),
        select: vec![Selector::All],
        mapping: None,
        take_over: TakeOver::Never,
        convert: false,
        privacy_level: None,
        concurrency: 1,
        waves: vec![WaveSize::Percent(100)],
        refresh: Vec::new(),
    }
}

fn kind(reach: Reach) -> &'static str {
    match reach {
        Reach::Cloud => "cloud",
        Reach::Gateway | Reach::ForeignGateway => "gateway",
        Reach::Vnet => "vnet",
        Reach::PersonalGateway => "personal-gateway",
        Reach::Unknown => "unknown",
    }
}

fn of_scan(one: &ScannedGroup) -> Vec<Left> {
    one.items.iter().filter_map(|(item, sources)| beyond::left(&one.group, item, sources, Hosts::Every)).collect()
}

/// Datasets of a workspace with the Databricks sources that they use.
fn datasets_of(
    one: &ScannedGroup,
) -> impl Iterator<Item = (&crate::clients::powerbi::Group, &crate::clients::powerbi::Dataset, &DatabricksSource)> {
    let pairs = one.datasets.iter().flat_map(|(dataset, sources)| sources.iter().map(move |source| (dataset, source)));
    pairs.filter_map(|(dataset, source)| Some((&one.group, dataset, source.databricks.as_ref()?)))
}
