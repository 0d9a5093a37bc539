//! A step of a rotation that Secrets Manager leads.

use lakekey_core::error::Error;

use crate::event::StepEvent;

/// Does one step.
pub(crate) fn step(event: &StepEvent) -> Result<serde_json::Value, Error> {
    let StepEvent { step, secret_id, token, rotation_token } = event;
    tracing::info!(step, secret_id, token, assumed_role = rotation_token.is_some(), "a step of a rotation");
    Err(Error::usage("unknown-secret", "no credential of the config keeps its value in the secret that is to be rotated")
        .hint("name it as the `store` of a credential (`awssm:NAME-OR-ARN`), or rotate it by another function"))
}
