//! Moves one Power BI data source to a new secret: looks again, writes once, looks whether it took.
//!
//! Safe to repeat: the write sets a state. A target that is no longer what was selected is not written. What is not part of
//! the credential (privacy level, single sign-on) is sent back as it was read just before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::condition::{Holding, Ownership, Reach, is_on_premises, single_sign_on};
use super::connection::Members;
use super::failure::{ApplyError, Landed, Stage};
use super::gateway_seal::{self, credentials_json};
use super::{DatasetRef, TargetKind, TargetSpec};
use crate::clients::fabric::{Connection, Fabric};
use crate::clients::powerbi::{CredentialDetails, DatabricksSource, DatasetSource, GatewayKey, PowerBi, is_refusal};
use crate::config;
use crate::error::Problem;
use crate::http::HttpError;
use crate::ids::{ApplicationId, DatasourceId, GatewayId, TargetId, Text, Workspace};
use crate::random::Random;
use crate::secret::Secret;

/// The Power BI data sources and Fabric connections of one credential. One value serves one invocation: it remembers the
/// keys of gateways and of their members.
pub struct PowerBiTargets {
    /// The Power BI client.
    pub powerbi: PowerBi,
    /// The Fabric client.
    pub fabric: Fabric,
    pub(super) random: Random,
    pub(super) convert: bool,
    privacy_level: Option<String>,
    keys: Mutex<BTreeMap<GatewayId, Arc<OnceCell<GatewayKey>>>>,
    pub(super) members: Members,
}

/// A target that was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Whether an earlier attempt at the same write got no definite answer: it may still land, so that no other generation may
    /// be written there yet.
    pub earlier_may_land: bool,
}

/// What a write leaves as it is.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    privacy_level: String,
    single_sign_on: Option<bool>,
}

/// Datasets asked for a cloud source, one after the other, when earlier ones no longer use it.
const DATASETS_ASKED_MAX: usize = 3;

impl PowerBiTargets {
    /// The targets that this config lets these clients write.
    pub fn new(powerbi: PowerBi, fabric: Fabric, random: Random, config: &config::Targets) -> Self {
        let (convert, privacy_level) = (config.convert, config.privacy_level.clone());
        Self { powerbi, fabric, random, convert, privacy_level, keys: Mutex::default(), members: Members::default() }
    }

    /// Gives `target` this secret. Three requests: read, write and confirm for a gateway source, two reads and the write for a
    /// cloud one; besides these one for each gateway's key, one where Power BI leaves out what a gateway source must keep, and
    /// one for each dataset (of three) that no longer uses a cloud source.
    pub async fn apply(
        &self,
        target: &TargetSpec,
        client_id: &ApplicationId,
        secret: &Secret,
        not_after: Timestamp,
    ) -> Result<Applied, ApplyError> {
        match (target.kind, &target.gateway) {
            (TargetKind::Gateway, Some(gateway)) => {
                let place = (gateway, &target.datasource);
                let kept = self.look_at_gateway(target, place).await?;
                let key = self.gateway_key(gateway).await?;
                let sealed = gateway_seal::seal(&key, client_id.as_str(), secret, &self.random)
                    .map_err(|error| ApplyError::unwritten(error.problem()))?
                    .into_text();
                let applied = self.write(target, place, &details(&sealed, "RSA-OAEP", &kept), not_after).await?;
                self.confirm(target, place).await?;
                Ok(applied)
            }
            (TargetKind::Cloud, Some(gateway)) => {
                let kept = self.look_at_cloud(target).await?;
                let credentials = credentials_json(client_id.as_str(), secret);
                self.write(target, (gateway, &target.datasource), &details(&credentials, "None", &kept), not_after).await
            }
            (TargetKind::Vnet | TargetKind::Connection, _) => self.apply_connection(target, client_id, secret, not_after).await,
            (TargetKind::Gateway | TargetKind::Cloud, None) => Err(ApplyError::unwritten(Problem::new(
                "journal-inconsistent",
                format!("`{}` was planned without its gateway", target.id),
            ))),
        }
    }

    /// Makes the identity the owner of `dataset` and returns its cloud sources on these workspaces as they are then: their ids
    /// may have changed and their credentials may be gone. Safe to repeat. An error after the take-over itself is
    /// [`Landed::Maybe`]: ask again.
    pub async fn take_over(
        &self,
        dataset: &DatasetRef,
        workspaces: &[Workspace],
        not_after: Timestamp,
    ) -> Result<Vec<TargetSpec>, ApplyError> {
        let taken = self.powerbi.take_over(&dataset.group, &dataset.id, not_after).await;
        taken.map_err(|error| ApplyError::of(Stage::TakeOver, TargetKind::Cloud, error))?;
        let unfinished = |error| ApplyError { landed: Landed::Maybe, ..ApplyError::of(Stage::Read, TargetKind::Cloud, error) };
        let sources = self.powerbi.dataset_sources(&dataset.group, &dataset.id).await.map_err(unfinished)?;
        let known_as = self.powerbi.signer().known_as().await.unwrap_or_default();
        let owned = DatasetRef { owner: known_as.into_iter().next().map(Text::new), ..dataset.clone() };
        let mut targets: Vec<TargetSpec> = Vec::new();
        for source in &sources {
            let Some(databricks) = on_workspaces(source, workspaces) else { continue };
            let (Some(gateway), Some(datasource)) = (&source.gateway, &source.datasource) else {
                return Err(ApplyError { landed: Landed::Maybe, problem: unbound(&owned) });
            };
            if self.reach(gateway, datasource).await.map_err(unfinished)? == Reach::Cloud {
                targets.push(TargetSpec::new(TargetKind::Cloud, (gateway, datasource), databricks, vec![owned.clone()]));
            }
        }
        targets.sort_by(|a, b| a.id.cmp(&b.id));
        targets.dedup_by(|a, b| a.id == b.id);
        Ok(targets)
    }

    async fn look_at_gateway(
        &self,
        target: &TargetSpec,
        (gateway, source): (&GatewayId, &DatasourceId),
    ) -> Result<Kept, ApplyError> {
        let read = self.powerbi.gateway_source(gateway, source).await;
        let now = read.map_err(|error| ApplyError::of(Stage::Read, target.kind, error))?;
        check(target, now.databricks.as_ref(), now.credential_type.as_deref(), self.convert)?;
        let (mut privacy_level, mut sso) = (now.privacy_level, now.single_sign_on);
        if privacy_level.is_none() || sso.is_none() {
            let connection =
                self.connection(&target.datasource).await.map_err(|error| ApplyError::of(Stage::Read, target.kind, error))?;
            sso = sso.or_else(|| single_sign_on(connection.as_ref()?.single_sign_on.as_deref()));
            privacy_level = privacy_level.or_else(|| connection?.privacy_level.as_deref().map(str::to_owned));
        }
        self.kept(target, privacy_level, sso)
    }

    async fn look_at_cloud(&self, target: &TargetSpec) -> Result<Kept, ApplyError> {
        let now = self.cloud_source(target).await?;
        let connection =
            self.connection(&target.datasource).await.map_err(|error| ApplyError::of(Stage::Read, target.kind, error))?;
        if Reach::of(None, connection.as_ref()) != Reach::Cloud {
            return Err(ApplyError::unwritten(changed(target, "it is no longer reached through the cloud")));
        }
        let credential_type = connection.as_ref().and_then(|connection| connection.credential_type.as_deref());
        check(target, now.databricks.as_ref(), credential_type, self.convert)?;
        let sso = connection.as_ref().and_then(|connection| single_sign_on(connection.single_sign_on.as_deref()));
        self.kept(target, connection.and_then(|connection| connection.privacy_level.as_deref().map(str::to_owned)), sso)
    }

    /// The source as one of its datasets uses it: Power BI offers no other sight of a cloud source.
    async fn cloud_source(&self, target: &TargetSpec) -> Result<DatasetSource, ApplyError> {
        let known_as = self.powerbi.signer().known_as().await.unwrap_or_default();
        let mut datasets: Vec<_> = target.datasets.iter().collect();
        datasets.sort_by_key(|dataset| Ownership::of(dataset.owner.as_deref(), &known_as));
        let mut refusal = None;
        for dataset in datasets.into_iter().take(DATASETS_ASKED_MAX) {
            match self.powerbi.dataset_sources(&dataset.group, &dataset.id).await {
                Ok(sources) => {
                    let ours = |source: &DatasetSource| {
                        source.gateway == target.gateway && source.datasource.as_ref() == Some(&target.datasource)
                    };
                    if let Some(source) = sources.into_iter().find(ours) {
                        return Ok(source);
                    }
                }
                Err(error) if is_refusal(&error) => refusal = Some(error),
                Err(error) => return Err(ApplyError::of(Stage::Read, target.kind, error)),
            }
        }
        Err(match refusal {
            Some(error) => ApplyError::of(Stage::Read, target.kind, error),
            None => ApplyError::unwritten(
                Problem::new("target-gone", format!("none of its datasets uses `{}` any more", target.id))
                    .hint("if it was removed for good, `lakekey forget NAME TARGET` stops counting it"),
            ),
        })
    }

    fn kept(&self, target: &TargetSpec, privacy_level: Option<String>, single_sign_on: Option<bool>) -> Result<Kept, ApplyError> {
        match privacy_level.or_else(|| self.privacy_level.clone()) {
            Some(privacy_level) => Ok(Kept { privacy_level, single_sign_on }),
            None => Err(ApplyError::unwritten(privacy_level_unknown(&target.id))),
        }
    }

    async fn write(
        &self,
        target: &TargetSpec,
        place: (&GatewayId, &DatasourceId),
        details: &CredentialDetails<'_>,
        not_after: Timestamp,
    ) -> Result<Applied, ApplyError> {
        match self.powerbi.update_source(place, details, not_after).await {
            Ok(sent) => Ok(Applied { earlier_may_land: sent.earlier_may_land }),
            Err(error) => {
                if target.kind == TargetKind::Gateway && is_refusal(&error) {
                    // A gateway that was restored elsewhere has a new key.
                    self.keys.lock().expect("no code panics while it holds the keys").remove(place.0);
                }
                Err(ApplyError::of(Stage::Write, target.kind, error))
            }
        }
    }

    /// The accepted write counts where the status cannot be asked for.
    async fn confirm(&self, target: &TargetSpec, (gateway, source): (&GatewayId, &DatasourceId)) -> Result<(), ApplyError> {
        match self.powerbi.gateway_source_status(gateway, source).await {
            Ok(()) => Ok(()),
            Err(error) if is_refusal(&error) && error.status() != Some(http::StatusCode::BAD_REQUEST) => Ok(()),
            Err(error) => Err(ApplyError::of(Stage::Confirm, target.kind, error)),
        }
    }

    async fn gateway_key(&self, gateway: &GatewayId) -> Result<GatewayKey, ApplyError> {
        let cell = {
            let mut keys = self.keys.lock().expect("no code panics while it holds the keys");
            Arc::clone(keys.entry(gateway.clone()).or_default())
        };
        let fetch = || async {
            let gateway =
                self.powerbi.gateway(gateway).await.map_err(|error| ApplyError::of(Stage::Read, TargetKind::Gateway, error))?;
            gateway.public_key.ok_or_else(|| {
                ApplyError::unwritten(Problem::new(
                    "gateway-key-unusable",
                    format!("gateway `{}` shows no public key", gateway.id),
                ))
            })
        };
        cell.get_or_try_init(fetch).await.cloned()
    }

    /// What Fabric says of a source; `None` if it does not say anything to this identity.
    async fn connection(&self, source: &DatasourceId) -> Result<Option<Connection>, HttpError> {
        match self.fabric.connection(source).await {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if is_refusal(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn reach(&self, gateway: &GatewayId, source: &DatasourceId) -> Result<Reach, HttpError> {
        match self.powerbi.gateway(gateway).await {
            Ok(gateway) if is_on_premises(&gateway) => return Ok(Reach::Gateway),
            Ok(_) => {}
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(Reach::of(None, self.connection(source).await?.as_ref()))
    }
}

fn details<'a>(credentials: &'a str, encryption_algorithm: &'static str, kept: &'a Kept) -> CredentialDetails<'a> {
    CredentialDetails {
        credential_type: "Basic",
        credentials,
        encrypted_connection: "Encrypted",
        encryption_algorithm,
        privacy_level: &kept.privacy_level,
        single_sign_on: kept.single_sign_on,
    }
}

/// Whether the target is still what was selected.
pub(super) fn check(
    target: &TargetSpec,
    now: Option<&DatabricksSource>,
    credential_type: Option<&str>,
    convert: bool,
) -> Result<(), ApplyError> {
    let same = now.is_some_and(|now| now.same_place(target.source, &target.host, target.warehouse.as_ref(), &target.http_path));
    if !same {
        return Err(ApplyError::unwritten(changed(target, "it connects to another place")));
    }
    if !Holding::of(credential_type).may_be_replaced(convert) {
        return Err(ApplyError::unwritten(changed(target, "it holds another kind of credential")));
    }
    Ok(())
}

pub(super) fn changed(target: &TargetSpec, how: &str) -> Problem {
    Problem::new("target-changed", format!("`{}` is no longer what was selected: {how}; it was not written", target.id))
        .hint("`lakekey plan` shows what is selected now; `lakekey forget NAME TARGET` stops counting this one")
}

/// No level may be written that was not there before.
pub(crate) fn privacy_level_unknown(target: &TargetId) -> Problem {
    Problem::new("privacy-level-unknown", format!("the present privacy level of `{target}` cannot be read"))
        .hint("give the identity a role on the connection, or set targets.privacy_level to the level that it has")
}

fn unbound(dataset: &DatasetRef) -> Problem {
    Problem::new(
        "target-unbound",
        format!("after its take-over, dataset `{}` has a data source without a connection", dataset.name),
    )
    .hint("bind it in the dataset's settings, then run `rotate` again")
}

fn on_workspaces<'a>(source: &'a DatasetSource, workspaces: &[Workspace]) -> Option<&'a DatabricksSource> {
    let databricks = source.databricks.as_ref()?;
    workspaces.iter().any(|workspace| databricks.host == workspace.host()).then_some(databricks)
}

#[cfg(test)]
mod tests;
