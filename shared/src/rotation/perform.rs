//! Does one step and records what came of it. Nothing here decides what comes next.
//!
//! Each effect is either safe to repeat (list, delete, grant, take-over, write to a target or a store) or has an intent
//! recorded before it (the create of a secret).

mod busy;
mod mint;
mod refreshes;
mod slices;
mod wave;

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::warn;

use super::drive::Run;
use super::due::is_resting;
use super::event::{Begun, Condemnation, Event, Minted, Permission, Place, PlanKind, Planned, Turn};
use super::next::{self, DeleteSent, Step};
use super::preflight::{self, Preflight};
use super::{refresh, waves};
use crate::config::{Securable, StoreLocation};
use crate::credential::{StoredCredential, StoredValue};
use crate::error::{Error, ErrorKind, Problem};
use crate::ids::{Generation, SecretId, TargetId};
use crate::inventory::Selection;
use crate::stores::ValueCopy;

impl Run<'_> {
    /// Does one step.
    pub(super) async fn perform(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Begin => self.begin().await,
            Step::Look => self.look().await,
            Step::Survey => self.survey().await,
            Step::Unquarantine { forced } => self.record(Event::Unquarantined { forced }).await.map(drop),
            Step::Quarantine(problem) => {
                self.seen.quarantined = true;
                self.record(Event::Quarantined { problem }).await.map(drop)
            }
            Step::Plan { kind, reason, refresh } => self.plan(kind, reason, refresh).await,
            Step::Grant => self.grant().await,
            Step::Mint => self.mint().await,
            Step::Adopt { secret_id, attempt } => self.adopt(&secret_id, attempt).await,
            Step::Condemn { secret_id, reason } => self.condemn(secret_id, reason).await,
            Step::Delete { secret_id, condemned_by } => self.delete(secret_id, condemned_by).await,
            Step::RecordDeleted { secret_id } => self.record_deleted(secret_id).await,
            Step::Verify { generation } => self.verify(generation).await,
            Step::CheckSignIn { generation } => self.check_sign_in(generation).await,
            Step::TakeOver { datasets } => self.take_over(datasets).await,
            Step::Wave { generation, targets } => self.wave(generation, targets).await,
            Step::Park { targets } => {
                self.say(format!("{} targets kept failing for a day and are parked", targets.len()), 0, 0);
                self.record(Event::Parked { targets }).await.map(drop)
            }
            Step::RecordDrained => self.record(Event::Drained).await.map(drop),
            Step::Promote { generation } => self.promote(generation).await,
            Step::PromoteAgain { generation } => self.promote_again(generation).await,
            Step::Settle(problem) => {
                let kind = self.state.open.as_ref().map_or(PlanKind::Rotate, |open| open.plan.kind);
                let quarantined = self.state.quarantine.is_some();
                self.record(Event::Settled { problem: problem.clone() }).await?;
                self.seen.quarantined |= self.state.quarantine.is_some() && !quarantined;
                self.seen.settled.push((kind, problem));
                Ok(())
            }
            Step::Refresh { datasets } => self.refresh(datasets).await,
            Step::PollRefreshes { datasets } => self.poll_refreshes(datasets).await,
            Step::Turn { turn, reason } => {
                self.say(format!("turning back: {reason}"), 0, 0);
                self.record(Event::Turned { turn, reason, operation: None }).await.map(drop)
            }
            Step::EndTurn(problem) => {
                self.record(Event::TurnEnded { problem: problem.clone() }).await?;
                self.seen.quarantined |= self.state.quarantine.is_some();
                self.seen.settled.push((PlanKind::Rollback, Some(problem)));
                Ok(())
            }
            Step::Wait { .. } | Step::Rest { .. } | Step::Done | Step::Stop(_) => Ok(()),
        }
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let store = self.store(&Place::from(&self.ports.credential.store))?;
        let adopted = match store.current().await? {
            Some(value) => self.adoptable(&value).await?,
            None => None,
        };
        if let Some((credential, _)) = &adopted {
            self.say(format!("adopting secret `{}` from {} as generation 1", credential.secret_id, store.place()), 0, 0);
            self.still_leased()?;
            store.stage(credential).await?;
        }
        let adopted = adopted.map(|(credential, scopes)| Minted {
            attempt: 0,
            generation: credential.generation,
            secret_id: credential.secret_id,
            created_at: credential.created_at,
            expires_at: credential.expires_at,
            scopes,
            store: Place::from(&self.ports.credential.store),
            fingerprint_shown: false,
        });
        let begun = Begun {
            credential: self.ports.credential.name.clone(),
            application_id: self.ports.principal.application_id.clone(),
            adopted,
            forgiven: self.forgiven.clone(),
        };
        self.record(Event::Begun(begun)).await.map(drop)
    }

    /// A value that was moved here from elsewhere is ours if its secret is listed and signs in as this principal. With it
    /// come the scopes that it is bound to.
    async fn adoptable(&mut self, value: &StoredValue) -> Result<Option<(StoredCredential, Vec<String>)>, Error> {
        let principal = &self.ports.principal;
        let Some(secret_id) = value.secret_id.clone().filter(|_| value.client_id == principal.application_id) else {
            return Ok(None);
        };
        let secrets = self.ports.databricks().list_secrets(&principal.id).await?;
        let Some(listed) = secrets.into_iter().find(|listed| listed.id == secret_id) else { return Ok(None) };
        let workspace = &self.ports.credential.workspace;
        if self.proof(&value.client_id, &value.client_secret, &listed.scopes).await?.is_err() {
            return Ok(None);
        }
        let credential = StoredCredential {
            client_id: value.client_id.clone(),
            client_secret: value.client_secret.clone(),
            secret_id,
            service_principal_id: principal.id.clone(),
            account_id: value.account_id.clone(),
            host: workspace.clone(),
            generation: Generation(1),
            created_at: listed.created_at,
            expires_at: listed.expires_at,
            journal: None,
        };
        Ok(Some((credential, listed.scopes)))
    }

    async fn look(&mut self) -> Result<(), Error> {
        self.listed_at = self.ports.clock.now();
        let listing = preflight::list(self.ports.databricks(), &self.ports.principal).await?;
        let mut places: BTreeSet<Place> = self.state.living().map(|(_, known)| known.minted.store.clone()).collect();
        places.extend(self.state.open.as_ref().map(|open| open.plan.store.clone()));
        let home = self.state.current.and_then(|current| self.state.generations.get(&current));
        let home = home.map(|known| known.minted.store.clone());
        let (mut values, mut stored) = (BTreeSet::new(), None);
        for place in &places {
            let store = self.store(place)?;
            values.extend(store.staged_ids().await?);
            let Some(current) = store.current().await? else { continue };
            if current.client_id == self.ports.principal.application_id {
                self.seen.account_id = current.account_id;
            }
            // Only a generation of ours counts: somebody else's value in the store is not a staged secret.
            let generation = current.secret_id.as_ref().and_then(|id| self.state.generation_of(id));
            values.extend(current.secret_id.filter(|_| generation.is_some()));
            if home.as_ref() == Some(place) {
                stored = generation;
            }
        }
        self.seen.stored = stored;
        self.seen.values = values;
        self.seen.listing = Some(listing);
        Ok(())
    }

    async fn plan(&mut self, kind: PlanKind, reason: String, refresh: bool) -> Result<(), Error> {
        let credential = &self.ports.credential;
        let mut found = match (kind, self.preflight.take()) {
            // What may hold another generation is known; nothing is asked for, so that nothing is in the way.
            (PlanKind::Rollback, _) => self.going_back(),
            (PlanKind::Revoke, _) => self.whatever_can_be_found().await,
            (PlanKind::Rotate | PlanKind::Reapply | PlanKind::Join, Some(found)) => found,
            (PlanKind::Rotate | PlanKind::Reapply | PlanKind::Join, None) => self.check_everything().await?,
        };
        if let Some(problem) = found.problems.first() {
            return Err(Error::new(ErrorKind::Failed, problem.clone()));
        }
        if let (PlanKind::Join, Some(current)) = (kind, self.state.current) {
            let selected = found.selection.targets.iter().map(|target| target.id.clone()).collect();
            let lacking = next::lacking(&self.state, current, &selected, self.ports.clock.now());
            found.selection.targets.retain(|target| lacking.contains(&target.id));
        }
        let superseded = self.state.current.and_then(|current| self.state.generations.get(&current));
        let rows = credential.targets.as_ref().map_or(&[][..], |targets| &targets.refresh);
        let refresh = match kind {
            PlanKind::Rotate | PlanKind::Join => refresh::wanted(rows, &found.selection.targets, false),
            PlanKind::Reapply if refresh => refresh::wanted(rows, &found.selection.targets, true),
            PlanKind::Reapply | PlanKind::Rollback | PlanKind::Revoke => Vec::new(),
        };
        let targets = found.selection.targets;
        let plan = Planned {
            refresh,
            kind,
            credential: credential.name.clone(),
            workspace: credential.workspace.clone(),
            service_principal_id: self.ports.principal.id.clone(),
            application_id: self.ports.principal.application_id.clone(),
            reason,
            config: self.ports.config_digest.clone(),
            lifetime_s: credential.lifetime.as_secs(),
            grace_s: credential.grace.as_secs(),
            scopes: superseded.map(|known| known.minted.scopes.clone()).unwrap_or_default(),
            store: Place::from(&credential.store),
            copies: credential.copies.iter().map(Place::from).collect(),
            grants: found.missing,
            verify_warehouse: credential.verify_warehouse.clone(),
            verify_tables: credential
                .grants
                .iter()
                .filter(|grant| grant.securable == Securable::Table && grant.privileges.iter().any(|name| name == "SELECT"))
                .map(|grant| grant.name.clone())
                .collect(),
            waves: match kind {
                PlanKind::Rotate => waves::planned(&self.state, credential, targets),
                PlanKind::Reapply | PlanKind::Join | PlanKind::Rollback | PlanKind::Revoke => {
                    vec![targets.into_iter().map(Arc::new).collect()]
                }
            },
        };
        self.record(Event::Planned(Arc::new(plan))).await.map(drop)
    }

    /// What is selected now. A look that fails is for the next run to repeat: nothing is due.
    async fn survey(&mut self) -> Result<(), Error> {
        let selected = match (&self.preflight, &self.ports.targets) {
            (Some(found), _) => Ok(found.selection.targets.iter().map(|target| target.id.clone()).collect()),
            (None, None) => Ok(BTreeSet::new()),
            (None, Some(_)) if !self.ports.searches && is_resting(&self.state, self.ports.clock.now()) => Ok(BTreeSet::new()),
            (None, Some(_)) => self.check_everything().await.map(|found| {
                let ids = found.selection.targets.iter().map(|target| target.id.clone()).collect();
                self.preflight = Some(found);
                ids
            }),
        };
        self.seen.selected = Some(selected.unwrap_or_else(|error: Error| {
            warn!(credential = %self.ports.credential.name, code = error.code(), "could not see whether targets were added");
            BTreeSet::new()
        }));
        Ok(())
    }

    /// The places that may hold another generation than the one to go back to.
    fn going_back(&self) -> Preflight {
        let Some(Turn::Rollback { to: Some(to), .. }) = &self.state.turn else { return Preflight::default() };
        let targets = self.state.holders.values().filter(|holder| holder.planned && holder.may_hold_other_than(*to));
        let targets = targets.filter_map(|holder| holder.spec.as_deref().cloned()).collect();
        Preflight { selection: Selection { targets, ..Selection::default() }, ..Preflight::default() }
    }

    /// The selection as far as it can be read, and what was planned last. Nothing that is wrong with it keeps a leaked secret
    /// alive, and no permission is added on the way.
    async fn whatever_can_be_found(&self) -> Preflight {
        let mut found = match self.check_everything().await {
            Ok(found) => found,
            Err(error) => {
                warn!(credential = %self.ports.credential.name, code = error.code(), "could not read the selection; what was planned last is moved");
                Preflight::default()
            }
        };
        for problem in &found.problems {
            warn!(credential = %self.ports.credential.name, code = problem.code, "{}", problem.message);
        }
        let planned = self.state.holders.values().filter(|holder| holder.planned).filter_map(|holder| holder.spec.as_deref());
        let selected: BTreeSet<&TargetId> = found.selection.targets.iter().map(|target| &target.id).collect();
        let missing: Vec<_> = planned.filter(|spec| !selected.contains(&spec.id)).cloned().collect();
        found.selection.targets.extend(missing);
        (found.problems, found.missing) = (Vec::new(), Vec::new());
        found
    }

    async fn check_everything(&self) -> Result<Preflight, Error> {
        self.say("checking targets and permissions", 0, 0);
        let ports = self.ports;
        Box::pin(preflight::preflight(&ports.credential, &ports.workspaces, Some(&ports.principal), ports.targets.as_ref())).await
    }

    async fn grant(&mut self) -> Result<(), Error> {
        let permissions = self.state.open.as_ref().map(|open| open.plan.grants.clone()).unwrap_or_default();
        let not_after = Some(self.not_after());
        let application_id = &self.ports.principal.application_id;
        for permission in &permissions {
            self.say(format!("granting {permission}"), 0, 0);
            self.changed = true;
            let granted = match permission {
                Permission::Assignment { workspace } => match self.ports.workspaces.get(workspace) {
                    Some(databricks) => databricks.assign(&self.ports.principal.id, not_after).await,
                    None => continue,
                },
                Permission::CanUse { workspace, warehouse } => match self.ports.workspaces.get(workspace) {
                    Some(databricks) => databricks.grant_can_use(warehouse, application_id, not_after).await,
                    None => continue,
                },
                Permission::Privileges { securable, name, privileges } => {
                    let securable = match securable.as_str() {
                        "catalog" => Securable::Catalog,
                        "schema" => Securable::Schema,
                        _ => Securable::Table,
                    };
                    self.ports.databricks().grant(securable, name, application_id, privileges, not_after).await
                }
            };
            if let Err(error) = granted {
                let refused = error.status().is_some() && !error.may_have_taken_effect();
                let error = Error::from(error);
                if refused {
                    let problem = error.problem().clone();
                    self.record(Event::Settled { problem: Some(problem) }).await?;
                }
                return Err(error);
            }
        }
        self.record(Event::Granted).await.map(drop)
    }

    async fn condemn(&mut self, secret_id: SecretId, reason: Condemnation) -> Result<(), Error> {
        if matches!(reason, Condemnation::Retired | Condemnation::Expired) {
            // Look again right before the irrevocable word: what is condemned must be what is there now.
            self.look().await?;
        }
        self.record(Event::Condemned { secret_id, reason }).await.map(drop)
    }

    async fn delete(&mut self, secret_id: SecretId, condemned_by: u64) -> Result<(), Error> {
        self.journal.confirm(condemned_by).await?;
        self.say(format!("deleting secret `{secret_id}`"), 0, 0);
        self.changed = true;
        let deleted = self.ports.databricks().delete_secret(&self.ports.principal.id, &secret_id, Some(self.not_after())).await;
        let now = self.ports.clock.now();
        let sent = self.seen.deletes.entry(secret_id.clone()).or_insert(DeleteSent { tries: 0, last: now, accepted: false });
        sent.tries += 1;
        sent.last = now;
        match deleted {
            Ok(()) => {
                sent.accepted = true;
                self.seen.listing = None;
            }
            Err(error) => {
                // What cannot be deleted keeps its slot, and nothing else waits for it; the report says so.
                let error = Error::from(error);
                warn!(credential = %self.ports.credential.name, secret = %secret_id, code = error.code(), "could not delete a secret");
                self.seen.undeleted = Some(error.problem().clone());
            }
        }
        Ok(())
    }

    async fn record_deleted(&mut self, secret_id: SecretId) -> Result<(), Error> {
        let place = match self.state.generation_of(&secret_id).and_then(|generation| self.state.generations.get(&generation)) {
            Some(known) => known.minted.store.clone(),
            None => {
                self.state.open.as_ref().map_or_else(|| Place::from(&self.ports.credential.store), |open| open.plan.store.clone())
            }
        };
        self.still_leased()?;
        self.store(&place)?.discard(&secret_id).await?;
        self.seen.values.remove(&secret_id);
        self.record(Event::Deleted { secret_id: secret_id.clone() }).await?;
        self.retired.push(secret_id);
        Ok(())
    }

    async fn promote(&mut self, generation: Generation) -> Result<(), Error> {
        let mut value = self.value(generation).await?;
        value.journal = self.journal.head().map(str::to_owned);
        let place = self.state.open.as_ref().map(|open| open.plan.store.clone());
        let store = self.store(&place.unwrap_or_else(|| Place::from(&self.ports.credential.store)))?;
        self.say(format!("making generation {generation} current in {}", store.place()), 0, 0);
        self.still_leased()?;
        store.promote(&value).await?;
        self.seen.stored = Some(generation);
        self.record(Event::Promoted { generation }).await.map(drop)
    }

    /// Makes the current generation current in the store again, where somebody has come in between.
    pub async fn promote_again(&mut self, generation: Generation) -> Result<(), Error> {
        self.take_part().await?;
        let value = self.value(generation).await?;
        let place = self.state.generations.get(&generation).map(|known| known.minted.store.clone());
        let store = self.store(&place.unwrap_or_else(|| Place::from(&self.ports.credential.store)))?;
        self.still_leased()?;
        store.promote(&value).await?;
        self.seen.stored = Some(generation);
        Ok(())
    }

    /// The value of the generation that the open rotation moves targets to.
    pub async fn incoming(&self) -> Result<Option<StoredCredential>, Error> {
        match self.state.open.as_ref().and_then(|open| open.generation) {
            Some(generation) => self.value(generation).await.map(Some),
            None => Ok(None),
        }
    }

    /// The value of a generation, from its slot or the store's current value.
    async fn value(&self, generation: Generation) -> Result<StoredCredential, Error> {
        let lost = || {
            Error::unfinished(VALUE_LOST, format!("the value of generation {generation} is in no slot of the store"))
                .hint("restore the store's files, then run `lakekey rotate`")
        };
        let minted = &self.state.generations.get(&generation).ok_or_else(lost)?.minted;
        let store = self.store(&minted.store)?;
        if let Some(value) = store.staged(&minted.secret_id).await? {
            return Ok(value);
        }
        let current = store.current().await?.and_then(|value| value.complete());
        current.filter(|value| value.secret_id == minted.secret_id).ok_or_else(lost)
    }

    /// A copy by the id under which it is counted among the holders.
    fn copy(&self, holder: &TargetId) -> Option<ValueCopy> {
        let plans = self.state.open.iter().flat_map(|open| open.plan.copies.clone());
        let known = plans.chain(self.ports.credential.copies.iter().map(Place::from));
        let place = known.into_iter().find(|place| place.holder() == *holder)?;
        Some(match StoreLocation::from(&place) {
            location @ (StoreLocation::File(_) | StoreLocation::KeyVault(_) | StoreLocation::SecretsManager(_)) => {
                ValueCopy::store(self.ports.storage.store(&location).ok()?)
            }
            StoreLocation::DatabricksScope { scope, key } => ValueCopy::scope(self.ports.databricks().clone(), scope, key),
        })
    }
}

/// The code of a value that is in no slot.
const VALUE_LOST: &str = "value-lost";

/// An error that is about one thing, as a problem to record.
pub(super) fn problem_of(error: Error) -> Problem {
    error.problem().clone()
}
