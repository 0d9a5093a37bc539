//! A step of a rotation that AWS Secrets Manager leads. It asks for `createSecret`, `setSecret`, `testSecret` and
//! `finishSecret`, each in an invocation of its own, from the start again where one failed; steps may come twice, late, out of
//! order, or never.
//!
//! **Guarantees.** AWSPENDING is never moved and its value never replaced: that value is put once, when the new secret is
//! verified. The event names a secret and is believed in nothing: which secret that is, which version is pending and what
//! it holds is asked of AWS, and the credential is the one whose config names that secret.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

use super::App;
use super::moving::Was;
use crate::command::Progress;
use crate::config::Credential;
use crate::credential::StoredValue;
use crate::error::{Error, ErrorKind};
use crate::ids::Generation;
use crate::report::{CredentialMove, MoveOutcome, MoveReport, Phase};
use crate::rotation::drive::{Ended, Run};
use crate::rotation::event::PlanKind;
use crate::rotation::led::{self, LedStep, Rest};
use crate::rotation::next::Goal;
use crate::rotation::preflight::Principal;
use crate::rotation::state::State;
use crate::stores::SecretStore;
use crate::stores::secrets_manager::{Description, SecretsManagerStore};

/// What Secrets Manager asks for. Not `Debug`: the rotation token is a proof of who asks.
#[derive(Clone)]
pub struct StepOrder {
    /// Its word for the step.
    pub step: String,
    /// The secret, by its ARN.
    pub secret_id: String,
    /// The version that the rotation makes.
    pub token: String,
    /// Goes with every value that is put, where the rotation runs under a role of its own.
    pub rotation_token: Option<String>,
}

/// What the value of the pending version is to lakekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    /// There is none yet.
    Empty,
    /// The secret that the open rotation moves targets to.
    Incoming(Generation),
    /// The secret that is current already.
    Current(Generation),
}

impl App {
    /// Does one step; done before is done.
    pub async fn step(&self, order: &StepOrder, progress: &Progress) -> Result<MoveReport, Error> {
        let step = LedStep::parse(&order.step).ok_or_else(unknown_step)?;
        let (credential, store) = self.led(&order.secret_id).await?;
        let Some(secret) = store.secrets_manager() else { return Err(unknown_secret()) };
        let described = described(secret, &order.secret_id).await?;
        if !is_pending(&described, &order.token)? {
            return Ok(MoveReport { credentials: vec![nothing_to_do(credential)] });
        }
        let value = match secret.version(&order.token).await? {
            Some(version) => Some(StoredValue::from_json(&version.value).map_err(|cause| pending_unusable().caused_by(cause))?),
            None => None,
        };
        self.surroundings.storage.open_state(&self.config.state.location).await?;
        let principal = match step {
            LedStep::CreateSecret => self.find_or_create(credential).await?,
            LedStep::SetSecret | LedStep::TestSecret | LedStep::FinishSecret => self.find(credential).await?,
        };
        let goal = Goal::Step(step);
        let seen = self.preflights(&[(credential, &principal)], goal).await.remove(&credential.name).unwrap_or_default();
        let ports = self.ports(credential, principal, progress).await?;
        let mut run = self.begun(&ports, seen, goal).await?;
        let was = Was::of(&run.state);
        let work = Work { order, step, secret, goal };
        let pending = match &value {
            Some(value) => known(value, &ports.principal, credential, &run.state)?,
            None => Pending::Empty,
        };
        let (ended, failed) = match Box::pin(work.perform(&mut run, pending)).await {
            Ok(ended) => (ended, None),
            // The report is about the run; what is wrong with the step is said by itself.
            Err(error) => (Ended::Done, Some(error)),
        };
        let is_done = work.is_done(&ended, &run.state, pending);
        let report = Box::pin(self.left(&ports, run, was, Ok(ended))).await;
        match failed {
            Some(error) => Err(error),
            None if is_done => Ok(MoveReport { credentials: vec![report] }),
            None => Err(not_done(step, report)),
        }
    }

    /// The credential that keeps its value in this secret.
    async fn led(&self, secret_id: &str) -> Result<(&Credential, std::sync::Arc<dyn SecretStore>), Error> {
        for credential in &self.config.credentials {
            let store = self.surroundings.storage.store(&credential.store)?;
            if store.secrets_manager().is_some() && may_be(&store.place(), secret_id) {
                return Ok((credential, store));
            }
        }
        Err(unknown_secret())
    }
}

/// One step, and all that it works with.
struct Work<'a> {
    order: &'a StepOrder,
    step: LedStep,
    secret: &'a SecretsManagerStore,
    goal: Goal,
}

impl Work<'_> {
    async fn perform(&self, run: &mut Run<'_>, pending: Pending) -> Result<Ended, Error> {
        match self.step {
            LedStep::CreateSecret => self.create(run, pending).await,
            LedStep::SetSecret => self.set(run, pending).await,
            LedStep::TestSecret => self.test(run, pending).await,
            LedStep::FinishSecret => self.finish(run, pending).await,
        }
    }

    /// Makes and verifies a secret, then gives it to the pending version: what is there can't be replaced any more.
    async fn create(&self, run: &mut Run<'_>, pending: Pending) -> Result<Ended, Error> {
        if pending != Pending::Empty {
            return Ok(Ended::Done);
        }
        run.lead(&self.order.token, self.step).await?;
        let ended = run.drive(self.goal).await?;
        if matches!(ended, Ended::Resting { .. })
            && let Some(value) = run.incoming().await?
        {
            let rotation_token = self.order.rotation_token.as_deref();
            self.secret.put(&self.order.token, rotation_token, &value.to_json(), &[PENDING]).await?;
        }
        Ok(ended)
    }

    /// Moves every target.
    async fn set(&self, run: &mut Run<'_>, pending: Pending) -> Result<Ended, Error> {
        match pending {
            Pending::Empty => Err(too_early(self.step, LedStep::CreateSecret)),
            Pending::Current(_) => Ok(Ended::Done),
            Pending::Incoming(_) => {
                run.lead(&self.order.token, self.step).await?;
                run.drive(self.goal).await
            }
        }
    }

    /// Proves the secret once more. One that is current already is what a rotation that is only tried out finds.
    async fn test(&self, run: &mut Run<'_>, pending: Pending) -> Result<Ended, Error> {
        let generation = match pending {
            Pending::Empty => return Err(too_early(self.step, LedStep::CreateSecret)),
            Pending::Incoming(generation) if self.has_come(&run.state, LedStep::SetSecret) && led::has_moved(&run.state) => {
                generation
            }
            Pending::Incoming(_) => return Err(too_early(self.step, LedStep::SetSecret)),
            Pending::Current(generation) => generation,
        };
        run.prove_again(generation).await?;
        if pending == Pending::Incoming(generation) {
            run.lead(&self.order.token, self.step).await?;
        }
        Ok(Ended::Done)
    }

    /// Makes it current. The old secret lives on until the schedule finds that grace has passed.
    async fn finish(&self, run: &mut Run<'_>, pending: Pending) -> Result<Ended, Error> {
        match pending {
            Pending::Empty => Err(too_early(self.step, LedStep::CreateSecret)),
            Pending::Current(generation) => run.promote_again(generation).await.map(|()| Ended::Done),
            Pending::Incoming(_) if self.has_come(&run.state, LedStep::TestSecret) => {
                run.lead(&self.order.token, self.step).await?;
                run.drive(self.goal).await
            }
            Pending::Incoming(_) => Err(too_early(self.step, LedStep::TestSecret)),
        }
    }

    fn has_come(&self, state: &State, step: LedStep) -> bool {
        state.led.as_ref().is_some_and(|led| led.token == self.order.token && led.step >= step)
    }

    /// Whether the step has come to what it is for.
    fn is_done(&self, ended: &Ended, state: &State, pending: Pending) -> bool {
        match (self.step, pending) {
            (LedStep::CreateSecret, Pending::Empty) => matches!(ended, Ended::Resting { .. }),
            (LedStep::SetSecret, Pending::Incoming(_)) => matches!(ended, Ended::Resting { at: Rest::BeforePromoting, .. }),
            // A copy that is late is the schedule's.
            (LedStep::FinishSecret, Pending::Incoming(generation)) => state.current == Some(generation),
            (LedStep::CreateSecret | LedStep::SetSecret | LedStep::TestSecret | LedStep::FinishSecret, _) => true,
        }
    }
}

/// What AWS says of the secret, if it is the one that the event names: a config that names another's by the same name, or an
/// event from elsewhere, leads to nothing.
async fn described(secret: &SecretsManagerStore, secret_id: &str) -> Result<Description, Error> {
    let described = secret.describe().await?.filter(|described| described.arn == secret_id || described.name == secret_id);
    let described = described.ok_or_else(unknown_secret)?;
    match described.rotation_enabled {
        Some(true) => Ok(described),
        Some(false) | None => Err(Error::usage("rotation-not-enabled", "AWS does not rotate this secret, so no step is due")
            .hint("set the rotation up in Secrets Manager, with this function, and let it ask")),
    }
}

/// Whether the version waits for its steps; one that is current needs none any more.
fn is_pending(described: &Description, token: &str) -> Result<bool, Error> {
    let Some(labels) = described.versions.get(token) else {
        return Err(Error::usage("unknown-token", "the secret has no version of this token")
            .hint("let Secrets Manager ask; a rotation that was cancelled is over"));
    };
    let has = |label: &str| labels.iter().any(|own| own == label);
    match (has(CURRENT), has(PENDING)) {
        (true, _) => Ok(false),
        (false, true) => Ok(true),
        (false, false) => Err(Error::usage("token-not-pending", "the version of this token is not labelled AWSPENDING")
            .hint("that rotation is over, or was cancelled; let Secrets Manager begin another")),
    }
}

/// What the pending value is. It must be this credential's own: the function has rights to more than one secret.
fn known(value: &StoredValue, principal: &Principal, credential: &Credential, state: &State) -> Result<Pending, Error> {
    let is_own =
        value.client_id == principal.application_id && value.host.as_ref().is_none_or(|host| *host == credential.workspace);
    if !is_own {
        return Err(Error::quarantined(
            "pending-foreign",
            "the pending version holds the secret of another service principal or workspace",
        )
        .hint(
            "see who wrote it; cancel the rotation in Secrets Manager and take AWSPENDING off that version, then rotate again",
        ));
    }
    let generation = value.secret_id.as_ref().and_then(|id| state.generation_of(id));
    let incoming = state.open.as_ref().filter(|open| open.plan.kind == PlanKind::Rotate && !open.promoted);
    match generation {
        Some(generation) if state.current == Some(generation) => Ok(Pending::Current(generation)),
        Some(generation) if incoming.and_then(|open| open.generation) == Some(generation) => Ok(Pending::Incoming(generation)),
        Some(_) | None => Err(pending_outdated()),
    }
}

/// Whether a store's place may be the secret that an event names; AWS has the last word.
fn may_be(place: &str, secret_id: &str) -> bool {
    let name = place.strip_prefix("awssm:").unwrap_or(place);
    // `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-RANDOM`, a name may hold colons no more than other ARNs do.
    let of_arn = secret_id.splitn(7, ':').nth(6).and_then(|rest| rest.rsplit_once('-')).map(|(name, _)| name);
    name == secret_id || of_arn == Some(name) || name.starts_with("arn:") && secret_id.starts_with(name)
}

fn nothing_to_do(credential: &Credential) -> CredentialMove {
    CredentialMove {
        name: credential.name.clone(),
        outcome: MoveOutcome::Unchanged,
        phase: Phase::Idle,
        generation: None,
        secret_id: None,
        expires_at: None,
        targets: Vec::new(),
        retired: Vec::new(),
        retire_after: None,
        error: None,
    }
}

/// Why the step is not done, as the run tells it.
fn not_done(step: LedStep, report: CredentialMove) -> Error {
    let kind = match (report.phase, report.outcome) {
        (Phase::Quarantined, _) => ErrorKind::Quarantined,
        (_, MoveOutcome::Failed) => ErrorKind::Failed,
        _ => ErrorKind::Unfinished,
    };
    match report.error {
        Some(problem) => Error::new(kind, problem),
        None => {
            Error::unfinished("step-not-done", format!("something else was finished first, so `{}` was not done", step.as_str()))
                .hint("Secrets Manager asks again; the schedule does the rest if it does not")
        }
    }
}

fn too_early(step: LedStep, before: LedStep) -> Error {
    Error::usage("step-too-early", format!("`{}` came although `{}` has not been done", step.as_str(), before.as_str()))
        .hint("let Secrets Manager ask for the steps in their order; nothing was changed")
}

fn unknown_step() -> Error {
    Error::usage("unknown-step", "this is none of the steps of a rotation")
        .hint("they are `createSecret`, `setSecret`, `testSecret` and `finishSecret`")
}

fn unknown_secret() -> Error {
    Error::usage("unknown-secret", "no credential of the config keeps its value in the secret that is to be rotated")
        .hint("name it as the `store` of a credential (`awssm:NAME-OR-ARN`), or rotate it by another function")
}

fn pending_unusable() -> Error {
    Error::quarantined("pending-unusable", "what the pending version holds is not a credential")
        .hint("see who wrote it; cancel the rotation in Secrets Manager and take AWSPENDING off that version, then rotate again")
}

fn pending_outdated() -> Error {
    Error::quarantined("pending-outdated", "the pending version holds a secret that this rotation does not use any more, and its value can't be replaced")
        .hint("`lakekey history` says why it was given up; cancel the rotation in Secrets Manager and take AWSPENDING off that version, then rotate again; every target holds a live secret meanwhile")
}

const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_name_or_its_arn() {
        let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:lakekey/sales-bi-AbCdEf";
        for (place, id, may) in [
            ("awssm:lakekey/sales-bi", arn, true),
            ("awssm:lakekey/sales-bi", "lakekey/sales-bi", true),
            ("awssm:sales-bi", arn, false),
            ("awssm:lakekey/sales", arn, false),
            (&format!("awssm:{arn}"), arn, true),
            ("awssm:arn:aws:secretsmanager:eu-central-1:123456789012:secret:other-AbCdEf", arn, false),
            ("awssm:lakekey/sales-bi", "", false),
        ] {
            assert_eq!(may_be(place, id), may, "{place} {id}");
        }
    }
}
