//! The answer of `plan`: what `rotate` would do, target by target.

use serde::{Deserialize, Serialize};

use super::Phase;
use crate::error::Problem;
use crate::ids::{ApplicationId, CredentialName, DatasetId, ServicePrincipalId, TargetId, WarehouseId};
use crate::targets::TargetKind;

/// Secrets that Databricks allows one service principal to have.
pub const SECRETS_MAX: u32 = 5;

/// The answer of `plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// One for each credential asked for.
    pub credentials: Vec<CredentialPlan>,
}

/// What `rotate` would do for one credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialPlan {
    /// The credential.
    pub name: CredentialName,
    /// Where it stands now.
    pub phase: Phase,
    /// Whether `rotate` without `--force` would start or go on with something.
    pub due: bool,
    /// Why it is due or is not, in one sentence.
    pub reason: String,
    /// Its service principal.
    pub service_principal: PlannedPrincipal,
    /// The slots for secrets at Databricks.
    pub secrets: PlannedSecrets,
    /// What would be done, in order.
    pub steps: Vec<PlannedStep>,
    /// The targets, in the order of their waves.
    pub targets: Vec<PlannedTarget>,
    /// What uses the same host and is not covered.
    pub left: Vec<LeftOut>,
    /// What keeps the rotation from starting.
    pub problems: Vec<Problem>,
}

/// The service principal as the plan found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPrincipal {
    /// SCIM id; `null` when it does not exist yet.
    pub id: Option<ServicePrincipalId>,
    /// Application id; `null` when it does not exist yet and the config does not give it.
    pub application_id: Option<ApplicationId>,
    /// Whether it exists.
    pub exists: bool,
}

/// The slots for secrets at Databricks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSecrets {
    /// Secrets that exist.
    pub used: u32,
    /// Secrets that may exist: [`SECRETS_MAX`].
    pub cap: u32,
    /// How many of the used ones lakekey neither minted nor adopted.
    pub foreign: u32,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// A stable word: `grant`, `mint`, `verify`, `apply`, `promote`, `copy`, `retire`….
    pub action: String,
    /// What it is done to: an id, a name or an address.
    pub subject: String,
    /// More about it, for people.
    pub detail: Option<String>,
}

/// One target of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTarget {
    /// The target.
    pub id: TargetId,
    /// How it is reached.
    pub kind: TargetKind,
    /// The Databricks host.
    pub host: String,
    /// The SQL warehouse; `null` for a cluster.
    pub warehouse: Option<WarehouseId>,
    /// The wave that moves it, counted from 1.
    pub wave: u32,
    /// The datasets that use it, as far as they can be seen.
    pub datasets: Vec<PlannedDataset>,
}

/// A dataset that uses a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDataset {
    /// The name of its Power BI workspace.
    pub workspace: String,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: DatasetId,
}

/// Something on the same host that a rotation does not cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its id: a target's, or another object's as its service spells it.
    pub id: String,
    /// Why it is left, in one sentence.
    pub reason: String,
}
