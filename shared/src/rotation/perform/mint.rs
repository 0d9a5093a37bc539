//! Making a secret and proving it: the one create that may not be sent twice, with its intent before and its slot after.

use jiff::SignedDuration;

use crate::clients::databricks::{Databricks, Minted as NewSecret, token_of_secret};
use crate::credential::StoredCredential;
use crate::error::{Error, ErrorKind, Problem};
use crate::http::HttpError;
use crate::identity::Signer;
use crate::ids::{ApplicationId, Generation, SecretId};
use crate::rotation::drive::Run;
use crate::rotation::event::{Condemnation, Event, Minted};
use crate::rotation::recover::{self, Listed};
use crate::rotation::state::Attempt;
use crate::secret::Secret;

/// Range of what is taken off the asked lifetime, in seconds: nobody asks for such a number by hand.
const FINGERPRINT_S: (u64, u64) = (61, 3_599);
/// A new secret may not be known everywhere at once: how often and how long after each other it is tried.
const SIGN_IN_PAUSES_S: [i64; 6] = [1, 2, 4, 8, 15, 30];
/// Tries to write a fresh value into its slot; after the last one it is lost and the secret goes.
const STAGE_TRIES: u32 = 3;

impl Run<'_> {
    pub(super) async fn mint(&mut self) -> Result<(), Error> {
        let Some(plan) = self.state.open.as_ref().map(|open| open.plan.clone()) else { return Ok(()) };
        if self.listed_at < self.lists_since() {
            self.seen.listing = None;
            return Ok(());
        }
        let known = self.seen.listing.iter().flatten().map(|listed| listed.id.clone()).collect();
        let attempt = self.state.attempts.last().map_or(1, |last| last.number + 1);
        let lifetime_s = plan.lifetime_s.saturating_sub(self.ports.random.between(FINGERPRINT_S.0, FINGERPRINT_S.1));
        self.say("minting a new secret", 0, 0);
        self.record(Event::MintIntended { attempt, known, lifetime_s }).await?;
        // Whatever happens now, the list is out of date.
        let listing = self.seen.listing.take().unwrap_or_default();
        self.changed = true;
        let databricks = self.ports.databricks();
        let not_after = Some(self.not_after());
        match databricks.create_secret(&self.ports.principal.id, lifetime_s, &plan.scopes, not_after).await {
            Ok(secret) => self.stage(attempt, lifetime_s, secret).await,
            Err(error) if error.may_have_taken_effect() => {
                self.say("the answer to the create was lost; looking what became of it", 0, 0);
                self.record(Event::MintUnanswered { attempt }).await.map(drop)
            }
            Err(error) => {
                let at_cap = is_at_cap(&error) && !listing.is_empty();
                let mut problem = super::problem_of(error.into());
                if at_cap {
                    let full = recover::slots_full(&self.state, &listing, self.ports.clock.now());
                    problem = Problem { message: format!("{}; {}", problem.message, full.message), ..full };
                }
                self.record(Event::MintRefused { attempt, problem: problem.clone() }).await?;
                self.seen.mint_refusals.push(problem);
                Ok(())
            }
        }
    }

    async fn stage(&mut self, attempt: u32, lifetime_s: u64, secret: NewSecret) -> Result<(), Error> {
        let Some(plan) = self.state.open.as_ref().map(|open| open.plan.clone()) else { return Ok(()) };
        let generation = self.state.next_generation();
        let account = self.ports.credential.account.as_ref().map(|account| account.id.to_string());
        let value = StoredCredential {
            client_id: plan.application_id.clone(),
            client_secret: secret.value,
            secret_id: secret.info.id.clone(),
            service_principal_id: plan.service_principal_id.clone(),
            account_id: account.or_else(|| self.seen.account_id.clone()),
            host: plan.workspace.clone(),
            generation,
            created_at: secret.info.created_at,
            expires_at: secret.info.expires_at,
            journal: self.journal.head().map(str::to_owned),
        };
        let store = self.store(&plan.store)?;
        let mut tries = 0;
        // Without the lease the value is let go: whoever has it now finds the secret and deletes it.
        self.still_leased()?;
        while let Err(error) = store.stage(&value).await {
            tries += 1;
            if tries == STAGE_TRIES {
                self.record(Event::Condemned { secret_id: value.secret_id, reason: Condemnation::ValueLost }).await?;
                self.record(Event::MintRefused {
                    attempt,
                    problem: Problem::new("store-not-writable", "the new secret could not be kept"),
                })
                .await?;
                let error = Error::from(error);
                self.seen.mint_refusals.push(error.problem().clone());
                return Ok(());
            }
            self.pause(SignedDuration::from_secs(1)).await?;
        }
        let fingerprint_shown = recover::shows(secret.info.created_at, secret.info.expires_at, lifetime_s);
        self.seen.values.insert(value.secret_id.clone());
        let minted = Minted {
            attempt,
            generation,
            secret_id: value.secret_id,
            created_at: value.created_at,
            expires_at: value.expires_at,
            scopes: secret.info.scopes,
            store: plan.store.clone(),
            fingerprint_shown,
        };
        self.record(Event::Minted(minted)).await.map(drop)
    }

    /// A runner died between filling the slot and journaling it.
    pub(super) async fn adopt(&mut self, secret_id: &SecretId, attempt: u32) -> Result<(), Error> {
        let Some(plan) = self.state.open.as_ref().map(|open| open.plan.clone()) else { return Ok(()) };
        let store = self.store(&plan.store)?;
        let Some(value) = store.staged(secret_id).await? else {
            self.seen.values.remove(secret_id);
            return Ok(());
        };
        // Of several lost answers it may be any.
        let shown = |known: &Attempt| recover::shows(value.created_at, value.expires_at, known.lifetime_s);
        let fingerprint_shown = self.state.attempts.iter().any(shown);
        self.say(format!("adopting secret `{secret_id}`, whose value is in its slot"), 0, 0);
        let minted = Minted {
            attempt,
            generation: self.state.next_generation(),
            secret_id: value.secret_id,
            created_at: value.created_at,
            expires_at: value.expires_at,
            scopes: plan.scopes.clone(),
            store: plan.store.clone(),
            fingerprint_shown,
        };
        self.record(Event::Minted(minted)).await.map(drop)
    }

    pub(super) async fn verify(&mut self, generation: Generation) -> Result<(), Error> {
        self.say(format!("verifying generation {generation}"), 0, 0);
        if !self.passes(generation).await? {
            return Ok(());
        }
        self.record(Event::Verified { generation }).await.map(drop)
    }

    /// Proves a generation once more, as it was when it was verified; an error where it does not pass.
    pub async fn prove_again(&mut self, generation: Generation) -> Result<(), Error> {
        self.take_part().await?;
        self.say(format!("proving generation {generation} again"), 0, 0);
        if self.passes(generation).await? {
            return Ok(());
        }
        let refused = self.seen.refused.take().map(|(_, problem)| problem);
        let unproven = || Problem::new("verification-failed", format!("generation {generation} does not pass its verification"));
        Err(Error::new(ErrorKind::Failed, refused.unwrap_or_else(unproven)))
    }

    /// Whether a generation signs in as the principal and reads what it must; what is wrong with it is seen.
    async fn passes(&mut self, generation: Generation) -> Result<bool, Error> {
        let Some(token) = self.sign_in(generation).await? else { return Ok(false) };
        let plan = self.state.open.as_ref().map(|open| open.plan.clone());
        let checks = plan.and_then(|plan| Some((plan.verify_warehouse.clone()?, plan.verify_tables.clone())));
        if let Some((warehouse, tables)) = checks {
            let workspace = self.ports.credential.workspace.clone();
            let databricks = Databricks::new(std::sync::Arc::clone(&self.ports.http), workspace, Signer::fixed(token));
            let expected = self.ports.principal.application_id.as_str();
            let rows = match databricks.run_statement(&warehouse, SMOKE_QUERY).await {
                Ok(rows) => rows,
                Err(error) => return self.refuse_or_fail(generation, error, "the smoke query failed"),
            };
            let user = rows.first().and_then(|row| row.first()).cloned().flatten().unwrap_or_default();
            if !user.eq_ignore_ascii_case(expected) {
                let problem = Problem::new(
                    "verification-failed",
                    format!(
                        "the new secret signs in as `{user}`, not as the service principal `{expected}`; it was deleted, no target was touched"
                    ),
                );
                self.seen.refused = Some((generation, problem));
                return Ok(false);
            }
            for table in &tables {
                let query = format!("SELECT 1 FROM {} LIMIT 0", quoted(table));
                if let Err(error) = databricks.run_statement(&warehouse, &query).await {
                    return self.refuse_or_fail(
                        generation,
                        error,
                        &format!("table `{table}` cannot be read with the new secret"),
                    );
                }
            }
        }
        Ok(true)
    }

    fn refuse_or_fail(&mut self, generation: Generation, error: HttpError, what: &str) -> Result<bool, Error> {
        let definite = error.status().is_some() && !error.may_have_taken_effect();
        let error = Error::from(error);
        if !definite {
            return Err(error);
        }
        let cause = error.problem();
        let mut problem = Problem::new(
            "verification-failed",
            format!("{what}: {}; the new secret was deleted, no target was touched", cause.message),
        );
        problem.hint = cause
            .hint
            .clone()
            .or_else(|| Some("check the credential's `warehouses` and `grants`, then run `lakekey rotate` again".to_owned()));
        self.seen.refused = Some((generation, problem));
        Ok(false)
    }

    pub(super) async fn check_sign_in(&mut self, generation: Generation) -> Result<(), Error> {
        self.sign_in(generation).await.map(drop)
    }

    /// A token of this generation; `None` when it was definitely and persistently refused.
    async fn sign_in(&mut self, generation: Generation) -> Result<Option<Secret>, Error> {
        let value = self.value(generation).await?;
        let minted = self.state.generations.get(&generation).map(|known| &known.minted);
        let scopes = minted.map(|minted| minted.scopes.clone()).unwrap_or_default();
        match self.proof(&value.client_id, &value.client_secret, &scopes).await? {
            Ok(token) => {
                self.seen.signs_in = Some((generation, self.ports.clock.now()));
                Ok(Some(token))
            }
            Err(said) => {
                let problem = Problem::new(
                    "verification-failed",
                    format!("generation {generation} (secret `{}`) does not sign in: {}", value.secret_id, said.message),
                )
                .hint("somebody may have deleted that secret at Databricks; run `lakekey rotate` again");
                self.seen.refused = Some((generation, problem));
                // Whether it is gone is seen in a list that is newer than the refusal.
                self.seen.listing = None;
                Ok(None)
            }
        }
    }

    /// Signs in with this secret, patiently: a new one is not known everywhere at once. What Databricks said when it was
    /// refused to the last. A secret that is bound to `scopes` can have tokens of no others.
    pub(super) async fn proof(
        &mut self,
        client_id: &ApplicationId,
        secret: &Secret,
        scopes: &[String],
    ) -> Result<Result<Secret, Problem>, Error> {
        let workspace = self.ports.credential.workspace.clone();
        let mut pauses = SIGN_IN_PAUSES_S.iter();
        loop {
            let error = match token_of_secret(&self.ports.http, &workspace, client_id, secret, scopes).await {
                Ok(token) => return Ok(Ok(token)),
                Err(error) => error,
            };
            let refused = error.status().is_some_and(|status| matches!(status.as_u16(), 400 | 401 | 403));
            match pauses.next() {
                Some(seconds) if refused => self.pause(SignedDuration::from_secs(*seconds)).await?,
                None if refused => return Ok(Err(super::problem_of(error.into()))),
                _ => return Err(error.into()),
            }
        }
    }
}

/// Whether a create was refused because there are too many secrets. The answer is documented nowhere; 429 has its own code
/// for too many requests.
fn is_at_cap(error: &HttpError) -> bool {
    matches!(error.code(), Some("RESOURCE_LIMIT_EXCEEDED" | "RESOURCE_EXHAUSTED" | "QUOTA_EXCEEDED"))
}

const SMOKE_QUERY: &str = "SELECT current_user(), current_catalog(), current_schema()";

/// A full name with each part quoted.
fn quoted(name: &str) -> String {
    name.split('.').map(|part| format!("`{}`", part.replace('`', "``"))).collect::<Vec<_>>().join(".")
}

/// A listed secret, from what the create answered.
impl From<&crate::clients::databricks::SecretInfo> for Listed {
    fn from(info: &crate::clients::databricks::SecretInfo) -> Self {
        Self { id: info.id.clone(), created_at: info.created_at, expires_at: info.expires_at }
    }
}
