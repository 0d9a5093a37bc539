//! A rotation that AWS Secrets Manager leads: it asks for four steps one after another, each an invocation of its own, and
//! between them the rotation rests where the next step is to find it. Pure.
//!
//! What it leads is a rotation like any other: the schedule finishes it when nobody has asked for a step for some time, and
//! a change of direction ends it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::next::{Step, past};
use super::state::State;

/// What Secrets Manager asks for, in this order.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LedStep {
    /// Make and verify the new secret, and give its value to the pending version.
    CreateSecret,
    /// Move every target to it.
    SetSecret,
    /// Prove it once more.
    TestSecret,
    /// Make it current.
    FinishSecret,
}

/// How far Secrets Manager has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Led {
    /// The version that its rotation makes.
    pub token: String,
    /// The last step that it asked for and that could begin.
    pub step: LedStep,
    /// When.
    pub at: Timestamp,
}

/// Where a led rotation rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The new secret is verified; no target has been sent it.
    BeforeMoving,
    /// Every target has moved or is parked; the store's current value is still the old one.
    BeforePromoting,
}

/// How long a led rotation rests for the next step: Secrets Manager asks again within minutes, if it does at all.
pub const ABANDONED_AFTER: SignedDuration = SignedDuration::from_hours(2);

impl LedStep {
    /// The step with Secrets Manager's word for it.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::CreateSecret, Self::SetSecret, Self::TestSecret, Self::FinishSecret].into_iter().find(|step| step.as_str() == word)
    }

    /// Secrets Manager's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateSecret => "createSecret",
            Self::SetSecret => "setSecret",
            Self::TestSecret => "testSecret",
            Self::FinishSecret => "finishSecret",
        }
    }
}

/// Whether the open rotation does no more for any of its targets.
pub fn has_moved(state: &State) -> bool {
    let Some(open) = &state.open else { return false };
    let Some(generation) = open.generation else { return false };
    open.targets().filter_map(|id| state.place(id)).all(|holder| {
        let parked = holder.failures.as_ref().is_some_and(|failures| failures.parked);
        parked || holder.done == Some((open.number, generation))
    })
}

/// The rest that comes now, if one does.
pub(super) fn rest(state: &State, at: Rest, now: Timestamp) -> Option<Step> {
    let led = state.led.as_ref()?;
    let next = match (at, led.step) {
        (Rest::BeforeMoving, LedStep::CreateSecret) => LedStep::SetSecret,
        (Rest::BeforePromoting, LedStep::CreateSecret | LedStep::SetSecret) => LedStep::TestSecret,
        (Rest::BeforePromoting, LedStep::TestSecret) => LedStep::FinishSecret,
        (Rest::BeforeMoving, LedStep::SetSecret | LedStep::TestSecret) | (_, LedStep::FinishSecret) => return None,
    };
    let until = past(led.at, ABANDONED_AFTER);
    (until > now).then_some(Step::Rest { at, until, next })
}
