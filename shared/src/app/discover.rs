//! `discover`: what the identities can see at Power BI and Fabric, and which credential each data source belongs to. Reads
//! only, and asks nothing of Databricks.

use std::collections::{BTreeMap, BTreeSet};

use super::App;
use crate::config::{Credential, PrincipalSelector, Selector, Targets};
use crate::error::{Error, Problem};
use crate::ids::{CredentialName, IdentityName, TargetId, Workspace};
use crate::inventory::{By, Left, ListRow, SeenSource, Survey};
use crate::report::{DiscoverReport, Discovered, DiscoveredDataset, LeftOut, Looker, MappingRow, NamedGateway};

/// Data sources that a problem names.
const NAMED_MAX: usize = 5;

/// A credential that targets can belong to, as far as discovery needs it.
struct Owner<'a> {
    credential: &'a Credential,
    /// Its targets, with the rows of the mapping list that are its own.
    targets: Targets,
    workspaces: Vec<Workspace>,
    /// What it selects now.
    selected: BTreeSet<TargetId>,
    /// What it would select by `all`.
    selectable: BTreeSet<TargetId>,
}

impl App {
    pub(super) async fn discover(&self, credentials: &[&Credential], by: Option<By>) -> Result<DiscoverReport, Error> {
        let mut by_identity: BTreeMap<&IdentityName, Vec<&Credential>> = BTreeMap::new();
        for credential in credentials {
            if let Some(targets) = &credential.targets {
                by_identity.entry(&targets.identity).or_default().push(credential);
            }
        }
        if by_identity.is_empty() {
            return Err(Error::usage("nobody-looks", "no credential that is asked for has `targets`, so nobody can look")
                .hint("give a credential `targets` with an `identity` that signs in to Power BI; `select: [{ all: true }]` will do to begin with"));
        }
        let mut report = DiscoverReport::default();
        let (mut found, mut left) = (BTreeMap::new(), BTreeSet::new());
        for (identity, credentials) in by_identity {
            let looked = Box::pin(self.look(identity, &credentials, by)).await?;
            report.identities.push(Looker { name: identity.clone(), by: word(looked.by).to_owned() });
            report.problems.extend(looked.problems);
            left.extend(looked.left);
            for source in looked.sources {
                let known: Option<&mut Discovered> = found.get_mut(&source.id);
                match known {
                    Some(known) => merge(known, source),
                    None => drop(found.insert(source.id.clone(), source)),
                }
            }
        }
        report.datasources = found.into_values().collect();
        report.left = left.into_iter().map(|left: Left| LeftOut { id: left.id, reason: left.reason }).collect();
        Ok(report)
    }

    async fn look(&self, identity: &IdentityName, credentials: &[&Credential], by: Option<By>) -> Result<Looked, Error> {
        let mut owners: Vec<Owner<'_>> = credentials.iter().filter_map(|credential| Owner::of(credential)).collect();
        let Some(clients) = credentials.first().map(|first| self.targets(first)).transpose()?.flatten() else {
            return Err(Error::usage("unknown-identity", format!("no credential uses the identity `{identity}`")));
        };
        let rows: Vec<Selector> = owners.iter().flat_map(|owner| owner.targets.select.iter().cloned()).collect();
        let survey = Box::pin(Survey::run(&clients.powerbi, &clients.fabric, by, &rows)).await?;
        for owner in &mut owners {
            owner.selected = survey.selected(&owner.workspaces, &owner.targets);
            owner.selectable = survey.selectable(&owner.workspaces, &owner.targets);
        }
        let seen = survey.sources();
        let left = survey.left(&seen);
        let (lists, mut problems) = lists(&survey, &owners, &seen);
        problems.extend(survey.refused.clone());
        let sources = seen.into_iter().map(|source| discovered(source, &owners, &lists)).collect();
        Ok(Looked { by: survey.by, sources, left, problems })
    }
}

/// What one identity saw.
struct Looked {
    by: By,
    sources: Vec<Discovered>,
    left: Vec<Left>,
    problems: Vec<Problem>,
}

impl<'a> Owner<'a> {
    fn of(credential: &'a Credential) -> Option<Self> {
        let (targets, _) = credential.targets.as_ref()?.of_principal(&[principal(credential)]);
        let workspaces = std::iter::once(&credential.workspace).chain(&credential.also_workspaces).cloned().collect();
        Some(Self { credential, targets, workspaces, selected: BTreeSet::new(), selectable: BTreeSet::new() })
    }

    fn name(&self) -> &CredentialName {
        &self.credential.name
    }
}

/// Who a data source belongs to: the one credential that selects it, else the only one that could.
fn owner_of<'o, 'c>(owners: &'o [Owner<'c>], id: &TargetId) -> Result<Option<&'o Owner<'c>>, ()> {
    let could: Vec<&Owner<'_>> = owners.iter().filter(|owner| owner.selectable.contains(id)).collect();
    let do_now: Vec<&&Owner<'_>> = could.iter().filter(|owner| owner.selected.contains(id)).collect();
    match (&do_now[..], &could[..]) {
        ([one], _) => Ok(Some(one)),
        ([], [one]) => Ok(Some(one)),
        ([], []) => Ok(None),
        _ => Err(()),
    }
}

/// The rows of the mapping list, and what has none although it could be a target.
fn lists(survey: &Survey, owners: &[Owner<'_>], seen: &[SeenSource]) -> (BTreeMap<TargetId, MappingRow>, Vec<Problem>) {
    let (mut contested, mut without_warehouse, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    let mut belongs: BTreeMap<&CredentialName, BTreeSet<TargetId>> = BTreeMap::new();
    for source in seen.iter().filter(|source| source.left.is_none()) {
        match owner_of(owners, &source.id) {
            Ok(Some(_)) if source.source.warehouse.is_none() => without_warehouse.push(&source.id),
            Ok(Some(owner)) => drop(belongs.entry(owner.name()).or_default().insert(source.id.clone())),
            Ok(None) => elsewhere.push(&source.id),
            Err(()) => contested.push(&source.id),
        }
    }
    let mut rows = BTreeMap::new();
    for owner in owners {
        let Some(ids) = belongs.get(owner.name()) else { continue };
        let listed = survey.list_rows(&owner.workspaces, ids);
        rows.extend(listed.into_iter().map(|(id, row)| (id, mapping_row(row, owner.credential))));
    }
    let told = [
        (contested, "several credentials could have them", "name one: `lakekey discover NAME --output csv`, or narrow `select`"),
        (without_warehouse, "connected to a cluster, and the list is of SQL warehouses", "select them by dataset or gateway"),
        (elsewhere, "on no workspace of a credential that was asked for", "add a credential, or `also_workspaces`, for them"),
    ];
    let problems = told.into_iter().filter(|(ids, ..)| !ids.is_empty()).map(|(ids, why, what)| unlisted(&ids, why, what));
    (rows, problems.collect())
}

fn unlisted(ids: &[&TargetId], why: &str, what: &str) -> Problem {
    let named: Vec<String> = ids.iter().take(NAMED_MAX).map(|id| format!("`{id}`")).collect();
    let more = if ids.len() > NAMED_MAX { " and others" } else { "" };
    let many = if ids.len() == 1 { "data source is" } else { "data sources are" };
    let message = format!("{} {many} not in the mapping list: {why} ({}{more})", ids.len(), named.join(", "));
    Problem::new("not-in-the-list", message).hint(what)
}

fn mapping_row(row: ListRow, credential: &Credential) -> MappingRow {
    MappingRow {
        gateway_data_source: row.source,
        workspace: workspace_of(credential, &row.host),
        warehouse: row.warehouse,
        service_principal: principal(credential).to_owned(),
        gateway: row.gateway,
    }
}

/// As the config has it, scheme and port included.
fn workspace_of(credential: &Credential, host: &str) -> String {
    let mut known = std::iter::once(&credential.workspace).chain(&credential.also_workspaces);
    known
        .find(|workspace| workspace.host() == host)
        .map_or_else(|| format!("https://{host}"), |workspace| workspace.base().to_string())
}

/// As the config names it.
fn principal(credential: &Credential) -> &str {
    match &credential.service_principal {
        PrincipalSelector::DisplayName(name) => name,
        PrincipalSelector::ApplicationId(id) => id.as_str(),
    }
}

fn discovered(source: SeenSource, owners: &[Owner<'_>], lists: &BTreeMap<TargetId, MappingRow>) -> Discovered {
    let selected_by = owners.iter().filter(|owner| owner.selected.contains(&source.id));
    Discovered {
        kind: source.kind.to_owned(),
        datasource: source.datasource,
        name: source.name,
        gateway: source.gateway.map(|(id, name)| NamedGateway { id, name }),
        connector: source.source.kind,
        host: source.source.host.to_string(),
        http_path: source.source.http_path.to_string(),
        warehouse: source.source.warehouse,
        credential_kind: source.credential_kind,
        datasets: source
            .datasets
            .into_iter()
            .map(|dataset| DiscoveredDataset {
                workspace: dataset.workspace.to_string(),
                workspace_id: dataset.group,
                name: dataset.name.to_string(),
                id: dataset.id,
                owner: dataset.owner.map(|owner| owner.to_string()),
            })
            .collect(),
        selected_by: selected_by.map(|owner| owner.name().clone()).collect(),
        mapping: lists.get(&source.id).cloned(),
        left: source.left,
        id: source.id,
    }
}

/// Two identities see one data source: each may see more of something.
fn merge(known: &mut Discovered, other: Discovered) {
    known.name = known.name.take().or(other.name);
    known.gateway = known.gateway.take().or(other.gateway);
    known.credential_kind = known.credential_kind.take().or(other.credential_kind);
    for dataset in other.datasets {
        if !known.datasets.iter().any(|seen| seen.id == dataset.id) {
            known.datasets.push(dataset);
        }
    }
    known.selected_by.extend(other.selected_by);
    // A list that maps one data source twice contradicts itself.
    known.mapping = known.mapping.take().or(other.mapping);
    if other.left.is_none() {
        known.left = None;
        known.kind = other.kind;
    }
}

fn word(by: By) -> &'static str {
    match by {
        By::Workspaces => "workspaces",
        By::Scanner => "scanner",
    }
}
