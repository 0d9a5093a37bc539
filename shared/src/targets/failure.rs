//! Why a target was not moved: whether the write may have landed, which decides what may be done next, and what to do.

use crate::clients::powerbi::is_refusal;
use crate::error::{Error, Problem};
use crate::http::HttpError;
use crate::targets::TargetKind;

/// What is known of a write that was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed {
    /// Nothing was written, and nothing can still land.
    No,
    /// The service definitely refused the write.
    Refused,
    /// It has taken effect, or may do so later: the target may hold the old generation or the new one.
    Maybe,
}

/// A target that was not moved.
#[derive(Clone, Debug)]
pub struct ApplyError {
    /// What is known of the write.
    pub landed: Landed,
    /// Why, and what to do.
    pub problem: Problem,
}

/// Which of an update's requests failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The look just before the write.
    Read,
    /// The write.
    Write,
    /// The look just after the write was accepted.
    Confirm,
    /// Taking a dataset over.
    TakeOver,
}

impl ApplyError {
    /// Nothing was written, for this reason.
    pub(super) fn unwritten(problem: Problem) -> Self {
        Self { landed: Landed::No, problem }
    }

    /// A request failed.
    pub(super) fn of(stage: Stage, kind: TargetKind, error: HttpError) -> Self {
        let landed = match stage {
            Stage::Read => Landed::No,
            Stage::Write | Stage::TakeOver if error.may_have_taken_effect() => Landed::Maybe,
            Stage::Write | Stage::TakeOver if error.status().is_some() => Landed::Refused,
            Stage::Write | Stage::TakeOver => Landed::No,
            // The write was accepted, so the target holds it, working or not.
            Stage::Confirm => Landed::Maybe,
        };
        let told = explain(stage, kind, &error);
        let mut problem = Error::from(error).problem().clone();
        if let Some((code, hint)) = told {
            code.clone_into(&mut problem.code);
            problem.hint = Some(hint.to_owned());
        }
        Self { landed, problem }
    }
}

const OWNER_HINT: &str =
    "cloud data sources are written by a dataset's owner: make the identity the owner, or set targets.take_over";
const CONNECTION_HINT: &str =
    "give the identity the Owner role on the connection, or make it an administrator of the connection's gateway";
const GATEWAY_HINT: &str = "make the identity an administrator of the gateway (Manage connections and gateways, Manage users)";

/// Code and hint where lakekey knows more than the status says.
fn explain(stage: Stage, kind: TargetKind, error: &HttpError) -> Option<(&'static str, &'static str)> {
    if !is_refusal(error) {
        return None;
    }
    if let Some(told) = error.code().and_then(of_code) {
        return Some(told);
    }
    let status = error.status().map_or(0, |status| status.as_u16());
    // Some refusals carry their reason in the message alone: "… only supported for the dataset owner".
    let speaks_of_owner =
        error.problem().and_then(|problem| problem.message.as_deref()).is_some_and(|text| text.contains("dataset owner"));
    let unauthorized =
        matches!(status, 401 | 403) || speaks_of_owner || error.code().is_some_and(|code| code.contains("NotAuthorized"));
    Some(match (stage, kind) {
        (Stage::TakeOver, _) => (
            "take-over-refused",
            "give the identity at least the Contributor role in the dataset's workspace, then run `rotate` again",
        ),
        (_, TargetKind::Gateway) if unauthorized => ("no-gateway-right", GATEWAY_HINT),
        (Stage::Write, TargetKind::Vnet | TargetKind::Connection) if unauthorized => ("not-connection-owner", CONNECTION_HINT),
        (Stage::Read, TargetKind::Vnet | TargetKind::Connection) if unauthorized => ("target-unreadable", CONNECTION_HINT),
        (_, TargetKind::Vnet | TargetKind::Connection) if status == 404 => (
            "target-gone",
            "if it is still there, give the identity a role on the connection; if it was removed for good, `lakekey forget NAME TARGET` stops counting it",
        ),
        // Just read through the dataset, so it is there: Power BI hides what belongs to somebody else.
        (Stage::Write, TargetKind::Cloud) if unauthorized || status == 404 => ("not-owner", OWNER_HINT),
        (Stage::Read, _) if unauthorized => {
            ("target-unreadable", "give the identity at least the Contributor role in the dataset's workspace")
        }
        (_, _) if status == 404 => ("target-gone", "if it was removed for good, `lakekey forget NAME TARGET` stops counting it"),
        (Stage::Confirm, _) if status == 400 => ("credential-refused", CREDENTIAL_HINT),
        (Stage::Read | Stage::Write | Stage::Confirm, _) => ("update-refused", "the service's own code says why"),
    })
}

pub(super) const CREDENTIAL_HINT: &str =
    "check that the warehouse can start, that the principal has CAN_USE on it, and that no network rule keeps Power BI out";

/// What a service's own code tells more exactly than its status.
pub(super) fn of_code(code: &str) -> Option<(&'static str, &'static str)> {
    const CODES: [(&str, &str, &str); 6] = [
        ("InsufficientPermissionsToManageConnection", "not-connection-owner", CONNECTION_HINT),
        (
            "UpdateGatewayConnectionFailed",
            "gateway-unreachable",
            "start every member of the gateway's cluster, and remove members that are gone for good (Manage connections and gateways)",
        ),
        ("InvalidConnectionCredentials", "credential-refused", CREDENTIAL_HINT),
        ("IncorrectCredentials", "credential-refused", CREDENTIAL_HINT),
        ("GatewayUnreachable", "gateway-unreachable", "start the on-premises data gateway and check its connection"),
        ("GatewayOffline", "gateway-unreachable", "start the on-premises data gateway and check its connection"),
    ];
    CODES.iter().find(|(part, ..)| code.contains(part)).map(|(_, code, hint)| (*code, *hint))
}
