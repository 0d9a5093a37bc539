//! Moves one Fabric connection to a new secret: looks again, writes once, has the service try it. The only way to virtual
//! network gateways, and the way to any connection that a row names.
//!
//! Safe to repeat: the write sets a state. A connection that is reached in another way than when it was selected, or
//! connects elsewhere, is not written. What is not part of the credential is sent back as it was read just before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::datasource::{Applied, PowerBiTargets, changed, check};
use super::failure::{ApplyError, CREDENTIAL_HINT, Landed, Stage, of_code};
use super::{TargetKind, TargetSpec, gateway_seal};
use crate::clients::fabric::{
    Connection, ConnectionStatus, ConnectionType, ConnectionUpdate, Member, NewCredentials, SealedFor, UpdateDetails,
};
use crate::clients::powerbi::is_refusal;
use crate::error::Problem;
use crate::ids::{ApplicationId, GatewayId};
use crate::secret::Secret;

/// The members of gateways, each gateway asked once.
pub(super) type Members = Mutex<BTreeMap<GatewayId, Arc<OnceCell<Vec<Member>>>>>;

const CREDENTIAL_TYPE: &str = "Basic";

impl PowerBiTargets {
    /// Three requests: a read, the write, and the test, which may become an operation to follow; besides these one for each
    /// on-premises gateway's members.
    pub(super) async fn apply_connection(
        &self,
        target: &TargetSpec,
        client_id: &ApplicationId,
        secret: &Secret,
        not_after: Timestamp,
    ) -> Result<Applied, ApplyError> {
        let (now, kind) = self.look_at_connection(target).await?;
        let sealed = match (kind, &target.gateway) {
            (ConnectionType::OnPremisesGateway, Some(gateway)) => Some(self.seal_for_members(gateway, client_id, secret).await?),
            (ConnectionType::OnPremisesGateway, None) => {
                let problem = Problem::new("gateway-key-unusable", format!("`{}` shows no gateway to seal for", target.id));
                return Err(ApplyError::unwritten(problem.hint("select it by `{ gateway, datasource }` instead")));
            }
            (ConnectionType::ShareableCloud | ConnectionType::PersonalCloud | ConnectionType::VirtualNetworkGateway, _) => None,
        };
        let credentials = match &sealed {
            Some(values) => NewCredentials::Sealed { credential_type: CREDENTIAL_TYPE, values },
            None => NewCredentials::Plain {
                credential_type: CREDENTIAL_TYPE,
                username: client_id.as_str(),
                password: secret.reveal(),
            },
        };
        let sent = self.fabric.update_connection(&target.datasource, &update(&now, kind, credentials), not_after).await;
        let sent = sent.map_err(|error| {
            if let Some(gateway) = target.gateway.as_ref().filter(|_| is_refusal(&error)) {
                // A member that was added or restored has a key that is not among those remembered.
                self.members.lock().expect("no code panics while it holds the members").remove(gateway);
            }
            ApplyError::of(Stage::Write, target.kind, error)
        })?;
        self.confirm_connection(target, not_after).await?;
        Ok(Applied { earlier_may_land: sent.earlier_may_land })
    }

    /// The connection as it is now, if it is still what was selected.
    async fn look_at_connection(&self, target: &TargetSpec) -> Result<(Connection, ConnectionType), ApplyError> {
        let read = self.fabric.connection(&target.datasource).await;
        let now = read.map_err(|error| ApplyError::of(Stage::Read, target.kind, error))?;
        let kind = now.connectivity.writable().filter(|kind| Some(*kind) == target.connectivity);
        let kind = kind.ok_or_else(|| ApplyError::unwritten(changed(target, "it is reached in another way")))?;
        // The virtual gateways of cloud connections lead nowhere, so they may change.
        if !kind.is_cloud() && now.gateway.is_some() && now.gateway != target.gateway {
            return Err(ApplyError::unwritten(changed(target, "it is on another gateway")));
        }
        check(target, now.databricks.as_ref(), now.credential_type.as_deref(), self.convert)?;
        Ok((now, kind))
    }

    async fn seal_for_members(
        &self,
        gateway: &GatewayId,
        client_id: &ApplicationId,
        secret: &Secret,
    ) -> Result<Vec<SealedFor>, ApplyError> {
        let members = self.gateway_members(gateway).await?;
        let seal = |member: &Member| {
            let key = member.public_key.as_ref().ok_or_else(|| {
                let name = member.name.as_deref().unwrap_or(&member.id);
                let message = format!("member `{name}` of gateway `{gateway}` shows no public key");
                ApplyError::unwritten(
                    Problem::new("gateway-key-unusable", message).hint("update the member to a current version"),
                )
            })?;
            let sealed = gateway_seal::seal(key, client_id.as_str(), secret, &self.random);
            let sealed = sealed.map_err(|error| ApplyError::unwritten(error.problem()))?;
            Ok(SealedFor { member: member.id.clone(), text: sealed.into_text() })
        };
        members.iter().map(seal).collect()
    }

    async fn gateway_members(&self, gateway: &GatewayId) -> Result<Vec<Member>, ApplyError> {
        let cell = {
            let mut members = self.members.lock().expect("no code panics while it holds the members");
            Arc::clone(members.entry(gateway.clone()).or_default())
        };
        let fetch = || async {
            let read = self.fabric.gateway_members(gateway).await;
            read.map_err(|error| ApplyError::of(Stage::Read, TargetKind::Gateway, error))
        };
        cell.get_or_try_init(fetch).await.cloned()
    }

    /// The accepted write counts where the test is refused as such. `Offline` comes with status 200.
    async fn confirm_connection(&self, target: &TargetSpec, not_after: Timestamp) -> Result<(), ApplyError> {
        let unconfirmed = |problem: Problem| ApplyError { landed: Landed::Maybe, problem };
        match self.fabric.test_connection(&target.datasource, not_after).await {
            Ok(ConnectionStatus::Online) => Ok(()),
            Ok(ConnectionStatus::Offline(reason)) => {
                let message = format!("`{}` holds the new secret but is offline: {reason}", target.id);
                let mut problem = Problem::new("credential-refused", message).hint(CREDENTIAL_HINT);
                if let Some((code, hint)) = reason.code.as_deref().and_then(of_code) {
                    code.clone_into(&mut problem.code);
                    problem.hint = Some(hint.to_owned());
                }
                Err(unconfirmed(problem))
            }
            Ok(ConnectionStatus::Other(status)) => {
                let message = format!("the test of `{}` ended in a status that is not known: {status:?}", target.id);
                let problem = Problem::new("connection-status-unknown", message);
                Err(unconfirmed(problem.hint(
                    "look at the connection in Manage connections and gateways; a later version of lakekey may know the word",
                )))
            }
            Err(error) if is_refusal(&error) && error.code().and_then(of_code).is_none() => Ok(()),
            Err(error) => Err(ApplyError::of(Stage::Confirm, target.kind, error)),
        }
    }
}

fn update<'a>(now: &'a Connection, kind: ConnectionType, credentials: NewCredentials<'a>) -> ConnectionUpdate<'a> {
    ConnectionUpdate {
        kind,
        privacy_level: now.privacy_level.as_deref(),
        credential_details: UpdateDetails {
            single_sign_on: now.single_sign_on.as_deref(),
            encryption: now.encryption.as_deref(),
            skip_test: now.skip_test,
            credentials,
        },
    }
}
