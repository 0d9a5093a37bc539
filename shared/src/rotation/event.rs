//! What the journal records. Facts, in the order in which they became certain; never a secret value.

mod wire;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::led::LedStep;
use super::refresh::{RefreshResult, RefreshWanted};
use crate::config::{AwsSecretName, KeyVaultName, StoreLocation};
use crate::error::Problem;
use crate::ids::{
    ApplicationId, CredentialName, DatasetId, Generation, SecretId, ServicePrincipalId, TargetId, WarehouseId, Workspace,
};
use crate::targets::{DatasetRef, TargetSpec};

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Event {
    /// A runner may write to the outside until shortly before `until`.
    LeaseTaken {
        /// One more than the epoch before.
        epoch: u64,
        /// When the lease ends.
        until: Timestamp,
        /// How long after giving up on it, or dying, a write of this epoch may still land: request timeout plus 2 × skew.
        landing_ms: i64,
    },
    /// The same runner goes on.
    LeaseRenewed {
        /// When the lease ends now.
        until: Timestamp,
    },
    /// The runner left; nothing of it is under way.
    LeaseReleased,
    /// On whose behalf the runner that holds the lease works.
    Asked(Asked),
    /// Secrets Manager leads the rotation that is open or about to be, and asks for this step of it.
    Led {
        /// The version that its rotation makes.
        token: String,
        /// Which step.
        step: LedStep,
    },
    /// The first look at a principal.
    Begun(Begun),
    /// A change of direction: what is open is given up. The one entry besides a lease that needs none, so that a person need
    /// not wait for a runner to hear of it.
    Turned {
        /// Which way now.
        turn: Turn,
        /// Who or what asked for it.
        reason: String,
        /// The operation of the API that asked for it, so that one whose runner died does not ask twice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operation: Option<String>,
    },
    /// A change of direction that cannot be carried out.
    TurnEnded {
        /// Why.
        problem: Problem,
    },
    /// A rotation (or another move of targets) is open; its targets and stores are frozen.
    Planned(Arc<Planned>),
    /// The grants of the plan have been added.
    Granted,
    /// A create is about to be sent.
    MintIntended {
        /// Counted over the whole journal.
        attempt: u32,
        /// The ids that exist now.
        known: BTreeSet<SecretId>,
        /// The lifetime asked for, in seconds: this attempt's fingerprint.
        lifetime_s: u64,
    },
    /// The create certainly had no effect.
    MintRefused {
        /// Which.
        attempt: u32,
        /// Why.
        problem: Problem,
    },
    /// The create's answer was lost; it may take effect, now or later.
    MintUnanswered {
        /// Which.
        attempt: u32,
    },
    /// The value is in its slot.
    Minted(Minted),
    /// The new secret signs in as the principal.
    Verified {
        /// Which generation.
        generation: Generation,
    },
    /// This id will be deleted and is never used again. Irrevocable.
    Condemned {
        /// Which secret.
        secret_id: SecretId,
        /// Why.
        reason: Condemnation,
    },
    /// Databricks no longer lists a condemned secret.
    Deleted {
        /// Which secret.
        secret_id: SecretId,
    },
    /// These datasets are about to be taken over from their owners.
    TakeOverStarted {
        /// Each with its owner so far.
        datasets: Vec<DatasetRef>,
    },
    /// How the take-overs ended; the data sources as read afterwards.
    TakenOver {
        /// One for each dataset of the start.
        results: Vec<TakenOver>,
    },
    /// From here on these places may hold this generation.
    WaveStarted {
        /// What is sent.
        generation: Generation,
        /// To whom.
        targets: Vec<TargetId>,
        /// It is sent out in slices of so many targets: workers write under this runner's lease, which outlasts its run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slice_size: Option<u32>,
    },
    /// What became of each. Whoever finishes last ends a wave that was sent out, and its lease with it.
    WaveEnded {
        /// One for each target of the start; where the lease was over first, of those that were heard of.
        results: Vec<WaveResult>,
        /// The hashes of the workers' results that these were taken from.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        counted: Vec<String>,
    },
    /// Refreshes of these datasets are about to be started.
    RefreshesAsked {
        /// Each with the newest refresh before it.
        refreshes: Vec<RefreshAsked>,
    },
    /// These were started, and are waited for.
    RefreshesStarted {
        /// Which.
        datasets: Vec<DatasetId>,
    },
    /// What became of refreshes.
    RefreshesEnded {
        /// Each.
        results: Vec<RefreshResult>,
    },
    /// These targets kept failing for a day; the rotation goes on without them.
    Parked {
        /// Which.
        targets: Vec<TargetId>,
    },
    /// A person says that this place is gone or beyond reach: it keeps nothing alive until it is selected again.
    Forgotten {
        /// Which.
        target: TargetId,
    },
    /// The store's current value is this generation.
    Promoted {
        /// Which generation.
        generation: Generation,
    },
    /// What was open has ended.
    Settled {
        /// Why it ended early; `None` when it did what it was to do.
        problem: Option<Problem>,
    },
    /// Grace has passed since the last rotation, and nothing superseded lives any more.
    Drained,
    /// A person must act before anything more is done.
    Quarantined {
        /// What is wrong and how to go on.
        problem: Problem,
    },
    /// What quarantined the credential is mended, or a person has decided.
    Unquarantined {
        /// Whether a person decided (`--force`).
        forced: bool,
    },
}

/// Who asked for what a runner does, where that was another than whoever started its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The role of the key, or `webhook`.
    pub by: String,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// The operation by which that is read back.
    pub operation: String,
    /// SHA-256 of the config document that was in force.
    pub config: String,
}

/// The first look at a principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The credential's name when the journal was begun.
    pub credential: CredentialName,
    /// The principal.
    pub application_id: ApplicationId,
    /// The secret that the store already held, if it was taken over as generation 1.
    pub adopted: Option<Minted>,
    /// Heads of a lost journal that stored values name; a person has decided to go on without it.
    pub forgiven: Vec<String>,
}

/// A change of direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// Targets go back to an older generation.
    Rollback {
        /// Which; `None` where there is none to go back to.
        to: Option<Generation>,
        /// The canaries that failed; `None` when a person asked.
        canary: Option<FailedCanary>,
    },
    /// A new secret at once, and every older one of lakekey's is deleted.
    Revoke {
        /// And every other one.
        foreign: bool,
    },
}

/// Why a rotation turned back by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCanary {
    /// Those that failed.
    pub targets: Vec<TargetId>,
    /// What is wrong and how to go on.
    pub problem: Problem,
}

/// A refresh that is about to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshAsked {
    /// Of this dataset.
    pub dataset: DatasetId,
    /// The newest refresh in its history until then.
    pub before: Option<String>,
}

/// What a plan does with its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanKind {
    /// Mint, move, promote.
    Rotate,
    /// Send the current generation again.
    Reapply,
    /// Send the current generation to targets that have been selected since, or lack it.
    Join,
    /// Send an older generation and make it current.
    Rollback,
    /// Mint, move, promote, and delete what was before at once.
    Revoke,
}

/// What a rotation is bound to from here to its end, whatever the config says meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What it does.
    pub kind: PlanKind,
    /// The credential's name.
    pub credential: CredentialName,
    /// Where secrets are managed.
    pub workspace: Workspace,
    /// The principal.
    pub service_principal_id: ServicePrincipalId,
    /// The principal.
    pub application_id: ApplicationId,
    /// Why it was started.
    pub reason: String,
    /// SHA-256 of the config it was made under.
    pub config: String,
    /// Lifetime to ask for, in seconds, before the fingerprint is taken off.
    pub lifetime_s: u64,
    /// How long superseded secrets live on, in seconds.
    pub grace_s: u64,
    /// OAuth scopes that the superseded secret is bound to.
    pub scopes: Vec<String>,
    /// Where the value goes.
    pub store: Place,
    /// Where else.
    pub copies: Vec<Place>,
    /// Permissions to add.
    pub grants: Vec<Permission>,
    /// Where the smoke query runs.
    pub verify_warehouse: Option<WarehouseId>,
    /// Tables that the principal must be able to read.
    pub verify_tables: Vec<String>,
    /// The targets, wave by wave.
    pub waves: Vec<Vec<Arc<TargetSpec>>>,
    /// Datasets to refresh when their data sources have moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refresh: Vec<RefreshWanted>,
}

/// A store's place, as frozen in a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// `file:PATH`.
    File(PathBuf),
    /// `akv:VAULT/NAME`.
    KeyVault(KeyVaultName),
    /// `awssm:NAME-OR-ARN`.
    SecretsManager(AwsSecretName),
    /// `databricks:SCOPE/KEY`.
    DatabricksScope {
        /// The scope.
        scope: String,
        /// The key.
        key: String,
    },
}

impl From<&StoreLocation> for Place {
    fn from(location: &StoreLocation) -> Self {
        match location {
            StoreLocation::File(path) => Self::File(path.clone()),
            StoreLocation::KeyVault(name) => Self::KeyVault(name.clone()),
            StoreLocation::SecretsManager(name) => Self::SecretsManager(name.clone()),
            StoreLocation::DatabricksScope { scope, key } => Self::DatabricksScope { scope: scope.clone(), key: key.clone() },
        }
    }
}

impl From<&Place> for StoreLocation {
    fn from(place: &Place) -> Self {
        match place {
            Place::File(path) => Self::File(path.clone()),
            Place::KeyVault(name) => Self::KeyVault(name.clone()),
            Place::SecretsManager(name) => Self::SecretsManager(name.clone()),
            Place::DatabricksScope { scope, key } => Self::DatabricksScope { scope: scope.clone(), key: key.clone() },
        }
    }
}

impl Place {
    /// The id under which a copy is counted among the places that may hold a generation.
    pub fn holder(&self) -> TargetId {
        TargetId::new(StoreLocation::from(self).to_string())
    }
}

/// One permission that a plan adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// That the principal belongs to a workspace.
    Assignment {
        /// Which.
        workspace: Workspace,
    },
    /// CAN_USE on a warehouse.
    CanUse {
        /// The workspace that has it.
        workspace: Workspace,
        /// The warehouse.
        warehouse: WarehouseId,
    },
    /// Unity Catalog privileges.
    Privileges {
        /// `catalog`, `schema` or `table`.
        securable: String,
        /// Full name.
        name: String,
        /// Those that are missing.
        privileges: Vec<String>,
    },
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Assignment { workspace } => write!(f, "use of workspace {}", workspace.host()),
            Self::CanUse { workspace, warehouse } => write!(f, "CAN_USE on warehouse `{warehouse}` ({})", workspace.host()),
            Self::Privileges { securable, name, privileges } => write!(f, "{} on {securable} `{name}`", privileges.join(", ")),
        }
    }
}

/// One minted or adopted secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minted {
    /// The attempt that made it; 0 when adopted from a store.
    pub attempt: u32,
    /// Its generation.
    pub generation: Generation,
    /// Its id.
    pub secret_id: SecretId,
    /// When Databricks made it.
    pub created_at: Timestamp,
    /// When it expires; `None` for ever.
    pub expires_at: Option<Timestamp>,
    /// OAuth scopes that it is bound to; empty is unrestricted.
    pub scopes: Vec<String>,
    /// Whose slots keep its value.
    pub store: Place,
    /// Whether its dates show the fingerprint that was asked for.
    pub fingerprint_shown: bool,
}

/// Why a secret is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condemnation {
    /// Made by an attempt whose answer was lost, and with it the value.
    Stray,
    /// Its value is in no slot, and it was never sent to a target.
    ValueLost,
    /// It did not sign in as the principal, or not any more.
    VerificationFailed,
    /// Somebody else minted at the same time; no slot would stay free.
    OverCap,
    /// No target may hold it any more and grace has passed.
    Retired,
    /// It has expired.
    Expired,
    /// A person has revoked it, whoever holds it.
    Revoked,
}

/// How one take-over ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// The dataset.
    pub dataset: DatasetRef,
    /// Its Databricks data sources as read afterwards; empty when it failed.
    pub targets: Vec<TargetSpec>,
    /// Why it failed.
    pub problem: Option<Problem>,
}

/// What became of one target of a wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveResult {
    /// The target.
    pub target: TargetId,
    /// When that was known.
    pub at: Timestamp,
    /// What became of it.
    pub fate: Fate,
    /// Whether an earlier try of the same write may still land.
    pub earlier_may_land: bool,
    /// Why it did not move.
    pub problem: Option<Problem>,
}

/// What became of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The target holds the generation.
    Moved,
    /// Nothing was written, and that is the target's own doing.
    NotWritten,
    /// Nothing was written, since a dataset that uses it is being refreshed.
    Busy,
    /// Nothing was written, since the lease was too near its end.
    NotTried,
    /// A definite refusal.
    Refused,
    /// It may have taken effect, or may yet.
    Unknown,
}
