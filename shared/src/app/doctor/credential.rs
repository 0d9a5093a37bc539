//! What one credential needs: its principal, the rights on secrets and objects, the places of its value, its targets.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{App, principal};
use super::of;
use crate::clients::databricks::{Databricks, ServicePrincipal};
use crate::config::{Credential, StoreLocation};
use crate::error::{Error, ErrorKind, Problem};
use crate::identity::Audience;
use crate::ids::{GatewayId, Workspace};
use crate::inventory::Selection;
use crate::report::{Check, SECRETS_MAX};
use crate::rotation::event::Permission;
use crate::rotation::next::SLOTS_USED_MAX;
use crate::rotation::preflight::{self, Finding, Principal};
use crate::rotation::quarantine;
use crate::rotation::recover;
use crate::rotation::state::State;
use crate::stores::{StoreError, ValueCopy};
use crate::targets::TargetKind;

/// Where tenant settings are.
const TENANT_FIX: &str = "let service principals use Fabric APIs, for a group that this identity is in: Admin portal > Tenant settings > Developer settings > Service principals can call Fabric public APIs; then give the identity the Contributor role in the workspaces that `select` names";

/// No read tells the role that an identity has on a connection.
const CONNECTIONS_SEEN: &str = "the identity sees the connections in Fabric; whether it can write them shows only when a rotation does: that takes the Owner role on each (Settings > Manage connections and gateways > the connection > Manage users)";

impl App {
    pub(super) async fn check_credential(&self, credential: &Credential) -> Vec<Check> {
        let name = &credential.name;
        let workspaces = match self.workspaces(credential) {
            Ok(workspaces) => workspaces,
            Err(error) => return vec![Check::failed("principal", name.as_str(), error.problem())],
        };
        let databricks = &workspaces[&credential.workspace];
        let (mut checks, known) = self.check_principal(credential, databricks).await;
        checks.extend(self.check_places(credential, databricks).await);
        let is_known = known.is_some();
        let principal = known.flatten().map(Principal::from);
        let (selection, of_targets) = self.check_targets(credential, &workspaces, principal.as_ref()).await;
        if is_known {
            let found = Box::pin(preflight::rights(credential, &workspaces, principal.as_ref(), selection)).await;
            let identity = self.client_id(credential).await;
            for finding in &found.findings {
                checks.push(check_right(credential, &workspaces, finding, &identity).await);
            }
        }
        checks.extend(of_targets);
        checks
    }

    /// The principal, its secrets and its journal. `None`: it could not be looked up, so that nothing about it can be told.
    async fn check_principal(
        &self,
        credential: &Credential,
        databricks: &Databricks,
    ) -> (Vec<Check>, Option<Option<ServicePrincipal>>) {
        let name = credential.name.as_str();
        let found = match principal::look_up(databricks, credential).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                let to_be_made = Check::passed("principal", name, "it does not exist yet; `rotate` makes it");
                return (vec![to_be_made], Some(None));
            }
            Err(error) => return (vec![Check::failed("principal", name, error.problem())], None),
        };
        let mut checks = vec![Check::passed(
            "principal",
            name,
            format!("`{}`, application id `{}`", found.display_name, found.application_id),
        )];
        if found.external {
            checks.push(Check::warning(
                "principal-kind",
                name,
                "the principal is managed by Entra: Power BI's connector cannot renew its token, so that a query or refresh of over an hour fails",
                "where that matters, let `service_principal` name one that Databricks manages (made without an Entra application)",
            ));
        }
        let principal = Principal::from(found.clone());
        let state = self.folded(credential, principal.application_id.as_str()).await;
        match preflight::list(databricks, &principal).await {
            Ok(listing) => {
                let how = if databricks.is_account_in_use() { "at the account" } else { "in the workspace" };
                checks.push(Check::passed("manage-secrets", name, format!("the identity may list its secrets {how}")));
                let (known, nothing) = (state.as_ref().ok(), State::default());
                let (known, now) = (known.unwrap_or(&nothing), self.surroundings.clock.now());
                let used = recover::used_slots(known, &listing, now);
                checks.push(match used > SLOTS_USED_MAX {
                    true => Check::failed("slots", name, &recover::slots_full(known, &listing, now)),
                    false => Check::passed("slots", name, format!("{used} of {SECRETS_MAX} secrets exist")),
                });
            }
            Err(error) => checks.push(Check::failed("manage-secrets", name, error.problem())),
        }
        checks.push(match state.map(|state| (state.phase(), state.quarantine)) {
            Ok((_, Some(problem))) => Check::failed("journal", name, &quarantine::told(&credential.name, problem)),
            Ok((phase, None)) => {
                Check::passed("journal", name, format!("whole, and the store agrees with it; {}", phase.as_str()))
            }
            Err(error) if error.kind() == ErrorKind::Quarantined => {
                Check::failed("journal", name, &quarantine::told(&credential.name, error.problem().clone()))
            }
            Err(error) => Check::failed("journal", name, error.problem()),
        });
        (checks, Some(Some(found)))
    }

    async fn check_places(&self, credential: &Credential, databricks: &Databricks) -> Vec<Check> {
        let storage = &self.surroundings.storage;
        let subject = |place: &StoreLocation| format!("{}: {place}", credential.name);
        let readable = match storage.store(&credential.store) {
            Ok(store) => store.current().await.map_err(Error::from),
            Err(error) => Err(error),
        };
        let store = readable.and_then(|value| storage.check_store(&credential.store).map(|()| value));
        let found = |is_there| if is_there { "it holds a value" } else { "it is empty" };
        let told = store.map(|value| format!("{}{}", found(value.is_some()), writable(&credential.store)));
        let mut checks = vec![of("store", subject(&credential.store), told)];
        for place in &credential.copies {
            let outcome = match place {
                StoreLocation::File(_) => storage.check_store(place).map_err(|error| error.problem().clone()),
                // What a copy in a vault holds may be anything; that it is shown says where it is and who may read there.
                StoreLocation::KeyVault(_) | StoreLocation::SecretsManager(_) => match storage.store(place) {
                    Ok(store) => match store.current().await {
                        Ok(_) | Err(StoreError::Corrupt { .. }) => Ok(()),
                        Err(error) => Err(Error::from(error).problem().clone()),
                    },
                    Err(error) => Err(error.problem().clone()),
                },
                StoreLocation::DatabricksScope { scope, key } => {
                    ValueCopy::scope(databricks.clone(), scope.clone(), key.clone()).check().await
                }
            };
            checks.push(match outcome {
                Ok(()) => Check::passed("copy", subject(place), format!("it is there, or can be made{}", writable(place))),
                Err(problem) => Check::failed("copy", subject(place), &problem),
            });
        }
        checks
    }

    async fn check_targets(
        &self,
        credential: &Credential,
        workspaces: &BTreeMap<Workspace, Databricks>,
        principal: Option<&Principal>,
    ) -> (Selection, Vec<Check>) {
        let name = credential.name.as_str();
        let targets = match self.targets(credential) {
            Ok(Some(targets)) => targets,
            Ok(None) => return (Selection::default(), Vec::new()),
            Err(error) => return (Selection::default(), vec![Check::failed("targets", name, error.problem())]),
        };
        match Box::pin(preflight::selection(credential, workspaces, principal, Some(&targets))).await {
            Ok(selection) => {
                let checks = of_selection(name, &selection);
                (selection, checks)
            }
            Err(error) => {
                let mut problem = error.problem().clone();
                if matches!(problem.code.as_str(), "unauthorized" | "forbidden") {
                    problem.hint = Some(TENANT_FIX.to_owned());
                }
                (Selection::default(), vec![Check::failed("targets", name, &problem)])
            }
        }
    }

    /// What grants to the credential's identity name.
    async fn client_id(&self, credential: &Credential) -> String {
        let audience = Audience::Databricks(credential.workspace.clone());
        let known = match self.identities.signer(&credential.identity, &audience) {
            Ok(signer) => signer.client_id().await.ok().flatten(),
            Err(_) => None,
        };
        known.unwrap_or_else(|| "IDENTITY".to_owned())
    }
}

/// What is known, without writing, of whether a place can be written.
fn writable(place: &StoreLocation) -> &'static str {
    match place {
        StoreLocation::File(_) => ", and can be written",
        StoreLocation::KeyVault(_) => {
            "; whether it can be written shows only when a rotation does: that takes Key Vault Secrets Officer"
        }
        StoreLocation::SecretsManager(_) => {
            "; whether it can be written shows only when a rotation does: that takes secretsmanager:PutSecretValue and UpdateSecretVersionStage"
        }
        StoreLocation::DatabricksScope { .. } => {
            "; whether it can be written shows only when a rotation does: that takes WRITE on the scope"
        }
    }
}

/// A permission that is not there yet is well if the identity may give it.
async fn check_right(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    finding: &Finding,
    identity: &str,
) -> Check {
    let check = match &finding.permission {
        Permission::Assignment { .. } => "workspace",
        Permission::CanUse { .. } => "warehouse",
        Permission::Privileges { .. } => "grant",
    };
    let subject = format!("{}: {}", credential.name, finding.permission);
    match &finding.outcome {
        Ok(true) => Check::passed(check, subject, "the principal has it"),
        Ok(false) => match &finding.permission {
            Permission::Assignment { workspace } => match workspaces[workspace].may_assign().await {
                Ok(()) => Check::passed(check, subject, "the principal lacks it; `rotate` assigns it"),
                Err(error) => Check::failed(check, subject, &may_not_assign(workspace, error.into())),
            },
            // Only those who manage a warehouse can read who may use it, and that has just been done.
            Permission::CanUse { .. } => Check::passed(check, subject, "the principal lacks it; `rotate` gives it"),
            Permission::Privileges { .. } => Check::passed(
                check,
                subject,
                "the principal lacks it; `rotate` grants it, which takes MANAGE on the object or its ownership: that shows only then",
            ),
        },
        Err(problem) => Check::failed(check, subject, &with_fix(&finding.permission, problem, identity)),
    }
}
/// What is wrong with the selection, and what is right with it.
fn of_selection(name: &str, selection: &Selection) -> Vec<Check> {
    let mut checks: Vec<Check> = selection
        .problems
        .iter()
        .map(|problem| {
            let check = match problem.code.as_str() {
                "no-gateway-right" | "gateway-not-found" | "gateway-key-too-short" | "gateway-key-unusable" => "gateway",
                "not-owner" | "take-over-unsafe" => "dataset-owner",
                "privacy-level-unknown" => "privacy-level",
                _ => "targets",
            };
            Check::failed(check, name, problem)
        })
        .collect();
    if !selection.targets.is_empty() {
        let cloud = selection.targets.iter().filter(|target| target.kind == TargetKind::Cloud).count();
        let (all, left) = (selection.targets.len(), selection.left.len());
        checks.push(Check::passed(
            "targets",
            name,
            format!("{all} data sources are selected, {cloud} of them in the cloud; {left} others are left alone (see `plan`)"),
        ));
    }
    if !checks.iter().any(|check| check.check == "gateway") {
        let gateways = |kind| {
            let targets = selection.targets.iter().filter(move |target| target.kind == kind);
            targets.filter_map(|target| target.gateway.as_ref()).map(GatewayId::as_str).collect::<BTreeSet<&str>>()
        };
        checks.extend(gateways(TargetKind::Gateway).into_iter().map(|gateway| {
            Check::passed("gateway", format!("{name}: gateway {gateway}"), "the identity administers it, and its key can be used")
        }));
        checks.extend(
            gateways(TargetKind::Vnet)
                .into_iter()
                .map(|gateway| Check::passed("gateway", format!("{name}: virtual network gateway {gateway}"), CONNECTIONS_SEEN)),
        );
    }
    let connections = selection.targets.iter().filter(|target| target.kind == TargetKind::Connection).count();
    if connections > 0 {
        checks.push(Check::passed("connection", name, format!("{connections} are named; {CONNECTIONS_SEEN}")));
    }
    let taken: BTreeSet<&str> =
        selection.targets.iter().filter_map(|target| target.take_over.as_ref()).map(|dataset| dataset.as_str()).collect();
    if !taken.is_empty() {
        checks.push(Check::passed(
            "dataset-owner",
            name,
            format!(
                "{} datasets of others will be taken over, as `take_over` allows; that takes the Contributor role",
                taken.len()
            ),
        ));
    }
    checks
}

fn may_not_assign(workspace: &Workspace, error: Error) -> Problem {
    let host = workspace.host();
    let mut problem = error.problem().clone();
    problem.message = format!("the principal is no part of {host}, and the identity may not assign it: {}", problem.message);
    problem.hint(format!(
        "add the principal to {host} (Settings > Identity and access > Service principals > Add service principal), or make the identity an admin there"
    ))
}

/// The place in the portal where the identity gets what it lacks.
fn with_fix(permission: &Permission, problem: &Problem, identity: &str) -> Problem {
    if problem.code != "forbidden" {
        return problem.clone();
    }
    let fix = match permission {
        Permission::Assignment { workspace } => format!("make the identity a user of {}", workspace.host()),
        Permission::CanUse { warehouse, .. } => format!(
            "give the identity CAN_MANAGE on the warehouse: SQL Warehouses > the warehouse > Permissions, or `databricks permissions update warehouses {warehouse} --json '{{\"access_control_list\":[{{\"service_principal_name\":\"{identity}\",\"permission_level\":\"CAN_MANAGE\"}}]}}'`"
        ),
        Permission::Privileges { securable, name, .. } => {
            format!("give the identity MANAGE on it; in SQL: GRANT MANAGE ON {} {name} TO `{identity}`", securable.to_uppercase())
        }
    };
    problem.clone().hint(fix)
}
