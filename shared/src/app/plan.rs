//! `plan`: what `rotate` would do, target by target. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use futures::future::join;

use super::sharing::Selected;
use super::{App, many_at_once, principal};
use crate::config::Credential;
use crate::error::{Error, ErrorKind, Problem};
use crate::ids::{SecretId, TargetId, Workspace};
use crate::inventory::{self, Left};
use crate::report::{
    CredentialPlan, LeftOut, Phase, PlanReport, PlannedDataset, PlannedPrincipal, PlannedSecrets, PlannedStep, PlannedTarget,
    SECRETS_MAX,
};
use crate::rotation::drive::policy;
use crate::rotation::due::{Due, due};
use crate::rotation::event::PlanKind;
use crate::rotation::next::{SLOTS_USED_MAX, retire_after};
use crate::rotation::preflight::{self, Preflight, Principal};
use crate::rotation::quarantine;
use crate::rotation::recover::{self, Listed, Origin};
use crate::rotation::refresh;
use crate::rotation::stake::forsaken;
use crate::rotation::state::State;
use crate::rotation::waves;
use crate::targets::{PowerBiTargets, TargetSpec};

impl App {
    pub(super) async fn plan(&self, credentials: &[&Credential]) -> Result<PlanReport, Error> {
        let looks = credentials.iter().map(|credential| {
            let look = async move {
                match Box::pin(self.plan_one(credential)).await {
                    Ok(plan) => Ok(plan),
                    // What one credential lacks is its own problem; the others are still planned.
                    Err(error) if error.kind() != ErrorKind::Usage => Ok(without_look(credential, &error)),
                    Err(error) => Err(error),
                }
            };
            look.boxed()
        });
        let mut plans: Vec<CredentialPlan> = many_at_once(looks.collect()).await.into_iter().collect::<Result<_, Error>>()?;
        name_shared(&mut plans);
        self.name_kept_by_others(&mut plans).await;
        Ok(PlanReport { credentials: plans })
    }

    /// Two credentials that select one target would overwrite each other.
    async fn name_kept_by_others(&self, plans: &mut [CredentialPlan]) {
        let mut selected = Selected::default();
        for plan in plans.iter() {
            selected.insert(plan.name.clone(), plan.targets.iter().map(|target| target.id.clone()).collect());
        }
        for plan in plans {
            let mine = selected.of(&plan.name);
            plan.problems.extend(self.shared_targets(&plan.name, &mine, &mut selected).await);
        }
    }

    async fn plan_one(&self, credential: &Credential) -> Result<CredentialPlan, Error> {
        let now = self.surroundings.clock.now();
        let policy = policy(credential, &self.config.state);
        let workspaces = self.workspaces(credential)?;
        let databricks = &workspaces[&credential.workspace];
        let principal = principal::find(databricks, credential).await?;
        let (state, listing) = match &principal {
            Some(found) => {
                let state = self.folded(credential, found.application_id.as_str()).await?;
                (state, preflight::list(databricks, found).await?)
            }
            None => (State::default(), Vec::new()),
        };
        let targets = self.targets(credential)?;
        let (found, beyond) = join(
            Box::pin(preflight::preflight(credential, &workspaces, principal.as_ref(), targets.as_ref())),
            Box::pin(beyond(credential, targets.as_ref())),
        )
        .await;
        let (found, beyond) = (found?, beyond?);
        let adoptable = if state.begun.is_none() { self.adoptable(credential, &listing).await? } else { None };
        let due = match &adoptable {
            Some(_) => Due {
                due: false,
                reason: "the store already holds a secret, which becomes generation 1 if it signs in; else one is minted"
                    .to_owned(),
                at: None,
            },
            None => due(&state, &policy, Some(&listing), false, now),
        };
        let foreign = foreign(&state, &listing);
        let open = state.open.is_some();
        let mut problems = found.problems.clone();
        problems.extend(state.quarantine.clone().map(|problem| quarantine::told(&credential.name, problem)));
        if !open && due.due && recover::used_slots(&state, &listing, now) > SLOTS_USED_MAX {
            problems.push(recover::slots_full(&state, &listing, now));
        }
        Ok(CredentialPlan {
            name: credential.name.clone(),
            phase: state.phase(),
            due: open || due.due,
            reason: match &state.open {
                Some(open) => format!("a rotation is open and goes on ({})", open.plan.reason),
                None => due.reason,
            },
            service_principal: planned_principal(credential, principal.as_ref()),
            secrets: PlannedSecrets { used: count(listing.len()), cap: SECRETS_MAX, foreign: count(foreign) },
            steps: self.steps(credential, principal.as_ref(), &state, &found, (open || due.due, adoptable)),
            targets: planned_targets(&state, credential, &found),
            left: left(&state, credential, found.selection.left.iter().chain(&beyond)),
            problems,
        })
    }

    fn steps(
        &self,
        credential: &Credential,
        principal: Option<&Principal>,
        state: &State,
        found: &Preflight,
        (due, adoptable): (bool, Option<SecretId>),
    ) -> Vec<PlannedStep> {
        let mut steps = Vec::new();
        let mut step = |action: &str, subject: String, detail: Option<String>| {
            steps.push(PlannedStep { action: action.to_owned(), subject, detail });
        };
        let name = &credential.name;
        if let Some(id) = adoptable {
            step("adopt", id.to_string(), Some(format!("from {} as generation 1", credential.store)));
        }
        if due {
            if principal.is_none() {
                step("create-service-principal", name.to_string(), Some(credential.workspace.host().to_owned()));
            }
            for permission in &found.missing {
                step("grant", permission.to_string(), None);
            }
            let minted = state.open.as_ref().is_some_and(|open| open.generation.is_some());
            if !minted {
                let nothing_yet = "the store is empty: secrets that exist now are foreign and stay; the first generation has nothing to roll back to";
                let note = state.begun.is_none().then(|| nothing_yet.to_owned());
                step("mint", format!("generation {}", state.next_generation()), note);
            }
            step(
                "verify",
                "the new secret".to_owned(),
                credential.verify_warehouse.as_ref().map(|id| format!("query on warehouse {id}")),
            );
            let waves = waves::planned(state, credential, found.selection.targets.clone());
            for (number, wave) in waves.iter().enumerate() {
                for target in wave {
                    if let Some(dataset) = &target.take_over {
                        step("take-over", dataset.to_string(), Some(format!("to update {}", target.id)));
                    }
                    let when = if waves.len() > 1 { format!(", wave {}", number + 1) } else { String::new() };
                    step("apply", target.id.to_string(), Some(format!("{}{when}", target.host)));
                }
            }
            let rows = credential.targets.as_ref().map(|targets| &targets.refresh[..]).unwrap_or_default();
            for wanted in refresh::wanted(rows, &found.selection.targets, false) {
                let how = if wanted.wait { "its end is waited for" } else { "its end is not waited for" };
                step("refresh", wanted.dataset.to_string(), Some(how.to_owned()));
            }
            step("promote", credential.store.to_string(), None);
            for copy in &credential.copies {
                step("copy", copy.to_string(), None);
            }
        }
        let policy = policy(credential, &self.config.state);
        for (generation, known) in state.living().filter(|(generation, _)| Some(*generation) != state.current) {
            if state.open.as_ref().and_then(|open| open.generation) != Some(generation) {
                let when = retire_after(state, &policy).map(|at| format!("generation {generation}, not before {at:.0}"));
                step("retire", known.minted.secret_id.to_string(), when);
            }
        }
        steps
    }

    /// The secret of a value that was put into the store by other means: it becomes generation 1 if it signs in.
    async fn adoptable(&self, credential: &Credential, listing: &[Listed]) -> Result<Option<SecretId>, Error> {
        let stored = self.surroundings.storage.store(&credential.store)?.current().await?;
        let id = stored.and_then(|value| value.secret_id);
        Ok(id.filter(|id| listing.iter().any(|listed| listed.id == *id)))
    }
}

/// What else uses the credential's workspaces, and is read of here only.
async fn beyond(credential: &Credential, targets: Option<&PowerBiTargets>) -> Result<Vec<Left>, Error> {
    let (Some(clients), Some(targets)) = (targets, &credential.targets) else { return Ok(Vec::new()) };
    let hosts: Vec<Workspace> = std::iter::once(&credential.workspace).chain(&credential.also_workspaces).cloned().collect();
    inventory::beyond(&clients.powerbi, &hosts, targets).await
}

/// What is not covered, and what was and is not selected any more.
fn left<'a>(state: &State, credential: &Credential, left: impl Iterator<Item = &'a Left>) -> Vec<LeftOut> {
    let left = left.map(|left| LeftOut { id: left.id.clone(), reason: left.reason.clone() });
    let forsaken = forsaken(state, &credential.name).into_iter();
    left.chain(forsaken.map(|gone| LeftOut { id: gone.target.to_string(), reason: gone.reason })).collect()
}

fn foreign(state: &State, listing: &[Listed]) -> usize {
    let nothing = BTreeSet::new();
    listing.iter().filter(|listed| recover::origin(state, &nothing, listed) == Origin::Foreign).count()
}

fn planned_principal(credential: &Credential, principal: Option<&Principal>) -> PlannedPrincipal {
    let configured = match &credential.service_principal {
        crate::config::PrincipalSelector::ApplicationId(id) => Some(id.clone()),
        crate::config::PrincipalSelector::DisplayName(_) => None,
    };
    PlannedPrincipal {
        id: principal.map(|principal| principal.id.clone()),
        application_id: principal.map(|principal| principal.application_id.clone()).or(configured),
        exists: principal.is_some(),
    }
}

/// The targets in the order of their waves: those of the open rotation, else those that one would have now.
fn planned_targets(state: &State, credential: &Credential, found: &Preflight) -> Vec<PlannedTarget> {
    let waves = waves::planned(state, credential, found.selection.targets.clone());
    let frozen = |id: &TargetId| {
        let open = state.open.as_ref().filter(|open| open.plan.kind == PlanKind::Rotate)?;
        open.waves.iter().position(|wave| wave.contains(id))
    };
    let numbered = waves.iter().enumerate().flat_map(|(number, wave)| wave.iter().map(move |spec| (number, spec)));
    let mut targets: Vec<PlannedTarget> =
        numbered.map(|(number, spec)| planned_target(spec, count(frozen(&spec.id).unwrap_or(number) + 1))).collect();
    targets.sort_by(|one, other| (one.wave, &one.id).cmp(&(other.wave, &other.id)));
    targets
}

fn planned_target(spec: &TargetSpec, wave: u32) -> PlannedTarget {
    PlannedTarget {
        id: spec.id.clone(),
        kind: spec.kind,
        host: spec.host.to_string(),
        warehouse: spec.warehouse.clone(),
        wave,
        datasets: spec
            .datasets
            .iter()
            .map(|dataset| PlannedDataset {
                workspace: dataset.workspace.to_string(),
                name: dataset.name.to_string(),
                id: dataset.id.clone(),
            })
            .collect(),
    }
}

/// Nothing could be read; the problem is all there is to say.
fn without_look(credential: &Credential, error: &Error) -> CredentialPlan {
    CredentialPlan {
        name: credential.name.clone(),
        phase: if error.kind() == ErrorKind::Quarantined { Phase::Quarantined } else { Phase::Idle },
        due: false,
        reason: "it could not be looked at".to_owned(),
        service_principal: PlannedPrincipal { exists: false, ..planned_principal(credential, None) },
        secrets: PlannedSecrets { used: 0, cap: SECRETS_MAX, foreign: 0 },
        steps: Vec::new(),
        targets: Vec::new(),
        left: Vec::new(),
        problems: vec![match error.kind() {
            ErrorKind::Quarantined => quarantine::told(&credential.name, error.problem().clone()),
            ErrorKind::Usage | ErrorKind::Failed | ErrorKind::Unfinished => error.problem().clone(),
        }],
    }
}

/// Two credentials that are one principal would retire each other's secrets.
fn name_shared(plans: &mut [CredentialPlan]) {
    let mut principals: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, plan) in plans.iter().enumerate() {
        if let Some(id) = &plan.service_principal.application_id {
            principals.entry(id.to_string()).or_default().push(index);
        }
    }
    let names = |plans: &[CredentialPlan], owners: &[usize]| {
        owners.iter().map(|index| format!("`{}`", plans[*index].name)).collect::<Vec<_>>().join(" and ")
    };
    for (id, owners) in principals.iter().filter(|(_, owners)| owners.len() > 1) {
        let problem = Problem::new("principal-shared", format!("{} are the same service principal `{id}`", names(plans, owners)))
            .hint("one principal belongs to one credential: put all its targets under one of them and remove the other");
        owners.iter().for_each(|index| plans[*index].problems.push(problem.clone()));
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
