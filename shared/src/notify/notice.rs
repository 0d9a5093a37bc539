//! What there is to tell. Pure: from what the journal says, what a run came to, and the time. A notice's key names the change
//! that it is about, so that the same change is the same notice in every run.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::error::Problem;
use crate::ids::{CredentialName, Generation, SecretId, TargetId, hex};
use crate::report::{CredentialMove, MoveOutcome, Phase};
use crate::rotation::state::{GenerationState, State};

/// A rotation that ended longer ago is no news: notices may have been configured since.
const NEWS_FOR: SignedDuration = SignedDuration::from_hours(24);
/// A secret with less than this left, and less than a quarter of its life, nears its expiry.
const SOON: SignedDuration = SignedDuration::from_hours(72);
/// With less than this left, and less than a twelfth of its life, it is told again.
const LAST_CALL: SignedDuration = SignedDuration::from_hours(24);

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Every target has moved.
    Rotated,
    /// A run failed before anything changed.
    Failed,
    /// A person must act.
    Quarantined,
    /// Targets kept failing for a day.
    Parked,
    /// A secret that is in use nears its expiry.
    Expiring,
}

/// One thing to tell, free of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Names the change; unique for the credential.
    pub key: String,
    /// What it is about.
    pub kind: Kind,
    /// The credential.
    pub credential: CredentialName,
    /// When it was seen.
    pub at: Timestamp,
    /// One sentence.
    pub text: String,
    /// What to do; nothing where all is well.
    pub hint: Option<String>,
    /// The error's code, where there is one.
    pub code: Option<String>,
    /// The generation that it is about.
    pub generation: Option<Generation>,
    /// Its secret.
    pub secret_id: Option<SecretId>,
    /// When that expires.
    pub expires_at: Option<Timestamp>,
    /// The targets that it is about.
    pub targets: Vec<TargetId>,
}

impl Kind {
    /// The word that programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::Parked => "parked",
            Self::Expiring => "expiring",
        }
    }

    /// What people read first.
    pub fn title(self, credential: &CredentialName) -> String {
        match self {
            Self::Rotated => format!("{credential}: rotated"),
            Self::Failed => format!("{credential}: the rotation failed"),
            Self::Quarantined => format!("{credential}: a person must act"),
            Self::Parked => format!("{credential}: data sources are parked"),
            Self::Expiring => format!("{credential}: a secret in use nears its expiry"),
        }
    }
}

impl Notice {
    /// The id under which receivers may tell a repeated delivery.
    pub fn id(&self) -> String {
        let named = format!("{}/{}", self.credential, self.key);
        format!("msg_{}", &hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, named.as_bytes()).as_ref())[..32])
    }
}

/// Everything that is worth telling of a credential now.
pub fn decide(state: &State, report: &CredentialMove, now: Timestamp) -> Vec<Notice> {
    let look = Look { state, report, now };
    let mut notices: Vec<Notice> = [look.rotated(), look.trouble(), look.parked()].into_iter().flatten().collect();
    notices.extend(look.expiring());
    notices
}

struct Look<'a> {
    state: &'a State,
    report: &'a CredentialMove,
    now: Timestamp,
}

impl Look<'_> {
    fn notice(&self, kind: Kind, key: &str, text: String) -> Notice {
        Notice {
            key: format!("{}-{key}", kind.as_str()),
            kind,
            credential: self.report.name.clone(),
            at: self.now,
            text,
            hint: None,
            code: None,
            generation: None,
            secret_id: None,
            expires_at: None,
            targets: Vec::new(),
        }
    }

    fn about(&self, known: &GenerationState, notice: Notice) -> Notice {
        Notice {
            generation: Some(known.minted.generation),
            secret_id: Some(known.minted.secret_id.clone()),
            expires_at: known.minted.expires_at,
            ..notice
        }
    }

    /// The generation that a change belongs to: the same trouble of a later one is another change.
    fn era(&self) -> String {
        self.state.current.map_or_else(|| "0".to_owned(), |current| current.to_string())
    }

    fn rotated(&self) -> Option<Notice> {
        let at = self.state.rotated_at.filter(|at| self.now.duration_since(*at) < NEWS_FOR)?;
        let known = self.state.generations.get(&self.state.current?).filter(|_| self.state.open.is_none())?;
        let targets = self.state.holders.values().filter(|holder| holder.planned && holder.spec.is_some()).count();
        let expires = known.minted.expires_at.map(|at| format!(", good until {at:.0}")).unwrap_or_default();
        let text = format!("generation {} is current at {targets} data sources{expires}", known.minted.generation);
        Some(Notice { at, ..self.about(known, self.notice(Kind::Rotated, &self.era(), text)) })
    }

    /// A quarantine, or a failure before anything changed. What another run will get over by itself is no trouble.
    fn trouble(&self) -> Option<Notice> {
        let (kind, problem) = match (&self.state.quarantine, &self.report.error) {
            // The report's also says what is safe and what to run.
            (Some(problem), Some(told)) if told.code == problem.code => (Kind::Quarantined, told),
            (Some(problem), _) => (Kind::Quarantined, problem),
            (None, Some(problem)) if self.report.phase == Phase::Quarantined => (Kind::Quarantined, problem),
            (None, Some(problem)) if self.report.outcome == MoveOutcome::Failed => (Kind::Failed, problem),
            (None, _) => return None,
        };
        let Problem { code, message, hint } = problem.clone();
        let notice = self.notice(kind, &format!("{code}-{}", self.era()), message);
        Some(Notice { code: Some(code), hint, ..notice })
    }

    fn parked(&self) -> Option<Notice> {
        let parked = |holder: &crate::rotation::state::Holder| holder.failures.as_ref().is_some_and(|failures| failures.parked);
        let targets: Vec<TargetId> = self.state.places().filter(|(_, holder)| parked(holder)).map(|(id, _)| id.clone()).collect();
        let first = targets.first()?;
        let why = self.state.holders[first].failures.as_ref().and_then(|failures| failures.problem.clone());
        let joined = targets.iter().map(TargetId::as_str).collect::<Vec<_>>().join(" ");
        let which = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, joined.as_bytes()).as_ref());
        let reason = why.as_ref().map(|problem| format!(": {}", problem.message)).unwrap_or_default();
        let text = format!("{} kept failing for a day, beginning with `{first}`{reason}", counted(targets.len()));
        let hint = why.and_then(|problem| problem.hint);
        Some(Notice { targets, hint, ..self.notice(Kind::Parked, &format!("{}-{}", self.era(), &which[..16]), text) })
    }

    /// Of the generation that targets are meant to hold, and of those that some are stuck with.
    fn expiring(&self) -> Vec<Notice> {
        let stuck = self.state.holders.values().filter(|holder| holder.planned && holder.spec.is_some());
        let held: BTreeSet<Generation> = stuck.flat_map(|holder| holder.may_hold.iter().copied()).collect();
        let used =
            self.state.living().filter(|(generation, _)| held.contains(generation) || self.state.current == Some(*generation));
        used.filter_map(|(generation, known)| {
            let expires = known.minted.expires_at?;
            let (left, life) = (expires.duration_since(self.now), expires.duration_since(known.minted.created_at));
            let stage = match left {
                left if left <= SignedDuration::ZERO => return None,
                left if left < LAST_CALL.min(life / 12) => "last-call",
                left if left < SOON.min(life / 4) => "soon",
                _ => return None,
            };
            let holders: Vec<TargetId> = self
                .state
                .holders
                .iter()
                .filter(|(_, holder)| holder.spec.is_some() && holder.may_hold.contains(&generation))
                .map(|(id, _)| id.clone())
                .collect();
            let text = format!(
                "the secret of generation {generation} expires at {expires:.0}, and {} may still hold it",
                counted(holders.len())
            );
            let notice = self.notice(Kind::Expiring, &format!("{}-{stage}", known.minted.secret_id), text);
            let hint =
                "see `lakekey status` and `lakekey doctor` for what keeps it from being rotated, then run `lakekey rotate`";
            Some(Notice { targets: holders, hint: Some(hint.to_owned()), ..self.about(known, notice) })
        })
        .collect()
    }
}

fn counted(targets: usize) -> String {
    match targets {
        1 => "1 data source".to_owned(),
        targets => format!("{targets} data sources"),
    }
}
