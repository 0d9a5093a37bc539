//! Refreshing datasets after their data sources have moved: which, and what became of each. Pure.
//!
//! Power BI's history of refreshes is what tells them apart: the newest one there before is journaled with the intent, so that
//! a runner that comes after a crash finds the refresh that was started, and starts no second one.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clients::powerbi::Refresh;
use crate::config::RefreshRow;
use crate::error::Problem;
use crate::ids::{DatasetId, GroupId};
use crate::report::RefreshOutcome;
use crate::targets::{DatasetRef, TargetSpec};

/// A refresh that has not ended by then is reported, not waited for: Power BI itself ends them before.
const ENDS_WITHIN: SignedDuration = SignedDuration::from_hours(6);
/// One whose start got no answer and that has not shown up by then was never started.
const SHOWS_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// One that runs for longer than this is taken to be forgotten by Power BI: no write waits for it.
const RUNS_AT_MOST: SignedDuration = SignedDuration::from_hours(24);

/// A dataset that a plan refreshes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshWanted {
    /// Its workspace.
    pub group: GroupId,
    /// The dataset.
    pub dataset: DatasetId,
    /// Whether its end is waited for.
    pub wait: bool,
}

/// How the refresh of one dataset stands.
#[derive(Clone, Debug)]
pub struct RefreshState {
    /// As planned.
    pub wanted: RefreshWanted,
    /// How far it is.
    pub fate: RefreshFate,
    /// How often it failed for want of a credential that works.
    pub credential_failures: u32,
}

/// How far a refresh is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshFate {
    /// Its data sources have not all moved yet.
    Wanted,
    /// It may have been started.
    Asked {
        /// When.
        at: Timestamp,
        /// The newest one before it.
        before: Option<String>,
    },
    /// It was started, and is waited for.
    Started {
        /// When it was asked for.
        at: Timestamp,
        /// The newest one before it.
        before: Option<String>,
    },
    /// Nothing more is done about it.
    Over(RefreshOutcome),
}

/// What a dataset's refresh came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshResult {
    /// The dataset.
    pub dataset: DatasetId,
    /// What.
    pub outcome: RefreshOutcome,
    /// Whether it failed for want of a credential that works: that counts against its data sources.
    pub credential: bool,
    /// Why it failed.
    pub problem: Option<Problem>,
}

/// What is refreshed when these targets have moved. `all` is `reapply --refresh`: every dataset that uses them.
pub fn wanted(rows: &[RefreshRow], targets: &[TargetSpec], all: bool) -> Vec<RefreshWanted> {
    let mut wanted: Vec<RefreshWanted> = Vec::new();
    for dataset in targets.iter().flat_map(|target| &target.datasets) {
        let meant = rows.iter().filter(|row| means(row, dataset));
        let wait = meant.map(|row| row.wait).reduce(|one, other| one || other).or_else(|| all.then_some(false));
        if let Some(wait) = wait
            && !wanted.iter().any(|known| known.dataset == dataset.id)
        {
            wanted.push(RefreshWanted { group: dataset.group.clone(), dataset: dataset.id.clone(), wait });
        }
    }
    wanted.sort_by(|one, other| one.dataset.cmp(&other.dataset));
    wanted
}

fn means(row: &RefreshRow, dataset: &DatasetRef) -> bool {
    let is_named = |text: &str, id: &str, name: &str| text.eq_ignore_ascii_case(id) || text == name;
    is_named(&row.workspace, dataset.group.as_str(), &dataset.workspace)
        && is_named(&row.dataset, dataset.id.as_str(), &dataset.name)
}

/// Whether a refresh runs. Power BI's word for that is `Unknown`; words that are not known yet are none for it.
pub fn runs(refresh: &Refresh) -> bool {
    ["unknown", "inprogress", "notstarted"].contains(&refresh.status.to_ascii_lowercase().as_str())
}

/// The refresh that keeps a dataset's data sources from being written just now.
pub fn in_the_way(newest: Option<&Refresh>, now: Timestamp) -> bool {
    newest.is_some_and(|newest| {
        runs(newest) && newest.started.is_none_or(|started| started.saturating_add(RUNS_AT_MOST).is_ok_and(|end| end > now))
    })
}

/// The one that was started after `before`, in a history with the newest first.
pub fn after<'a>(history: &'a [Refresh], before: Option<&str>) -> Option<&'a Refresh> {
    let newer = history.iter().take_while(|refresh| before.is_none() || refresh.request_id.as_deref() != before);
    newer.last()
}

/// What a look into the history showed of a refresh.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It is there.
    Found(&'a Refresh),
    /// It is not there.
    Missing,
    /// The history could not be read.
    Unreadable,
}

/// What has become of a refresh that was asked for at that time; `None` while it runs.
pub fn judged(dataset: &DatasetId, seen: Seen<'_>, asked_at: Timestamp, now: Timestamp) -> Option<RefreshResult> {
    let result = |outcome, credential, problem| Some(RefreshResult { dataset: dataset.clone(), outcome, credential, problem });
    let over = |within| asked_at.saturating_add(within).is_ok_and(|end| end <= now);
    match seen {
        Seen::Found(refresh) if refresh.status.eq_ignore_ascii_case("completed") => {
            result(RefreshOutcome::Completed, false, None)
        }
        Seen::Found(refresh) if !runs(refresh) => {
            let code = refresh.error_code.as_deref().unwrap_or(&refresh.status);
            let credential = is_credential(code);
            result(RefreshOutcome::Failed, credential, Some(failed(dataset, code, credential)))
        }
        Seen::Missing if over(SHOWS_WITHIN) => {
            let message =
                format!("the refresh of dataset `{dataset}` got no answer when it was started, and has not shown up since");
            let problem = Problem::new("refresh-unfinished", message).hint("refresh the dataset in Power BI");
            result(RefreshOutcome::Failed, false, Some(problem))
        }
        Seen::Found(_) | Seen::Unreadable if over(ENDS_WITHIN) => {
            let message = format!("the refresh of dataset `{dataset}` has not ended within {} hours", ENDS_WITHIN.as_hours());
            let problem = Problem::new("refresh-unfinished", message).hint("look at the dataset's refresh history in Power BI");
            result(RefreshOutcome::Failed, false, Some(problem))
        }
        Seen::Found(_) | Seen::Missing | Seen::Unreadable => None,
    }
}

fn failed(dataset: &DatasetId, code: &str, credential: bool) -> Problem {
    match credential {
        true => Problem::new(
            "refresh-refused",
            format!("the refresh of dataset `{dataset}` could not sign in to a data source: `{code}`"),
        )
        .hint(
            "see which data source of the dataset it names in Power BI, and whether the service principal may read what it reads",
        ),
        false => Problem::new("refresh-failed", format!("the refresh of dataset `{dataset}` failed: `{code}`"))
            .hint("look at the dataset's refresh history in Power BI; its data sources hold a live secret"),
    }
}

/// Whether Power BI's code speaks of a credential that is missing or refused.
fn is_credential(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    ["credential", "unauthorized", "accessdenied", "authentication", "signin", "logonfailure"]
        .iter()
        .any(|part| code.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refresh(id: &str, status: &str, code: Option<&str>) -> Refresh {
        Refresh {
            request_id: Some(id.to_owned()),
            status: status.to_owned(),
            started: Some(at(0)),
            error_code: code.map(str::to_owned),
        }
    }

    fn at(hours: i64) -> Timestamp {
        "2026-11-02T08:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
    }

    fn judge(seen: Seen<'_>, hours: i64) -> Option<(RefreshOutcome, bool, Option<String>)> {
        let judged = judged(&DatasetId::new("d"), seen, at(0), at(hours))?;
        Some((judged.outcome, judged.credential, judged.problem.map(|problem| problem.code)))
    }

    #[test]
    fn only_a_failure_to_sign_in_is_the_credentials() {
        assert_eq!(judge(Seen::Found(&refresh("r", "Completed", None)), 1), Some((RefreshOutcome::Completed, false, None)));
        for code in ["ModelRefreshFailed_CredentialsNotSpecified", "DMTS_DatasourceHasNoCredentialError", "AccessUnauthorized"] {
            let failed = judge(Seen::Found(&refresh("r", "Failed", Some(code))), 1);
            assert_eq!(failed, Some((RefreshOutcome::Failed, true, Some("refresh-refused".to_owned()))), "{code}");
        }
        for (status, code) in
            [("Failed", Some("ModelRefresh_ShortMessage_ProcessingError")), ("Disabled", None), ("Cancelled", None)]
        {
            let failed = judge(Seen::Found(&refresh("r", status, code)), 1);
            assert_eq!(failed, Some((RefreshOutcome::Failed, false, Some("refresh-failed".to_owned()))), "{status}");
        }
    }

    #[test]
    fn a_refresh_that_never_ends_is_reported_after_hours() {
        let over = Some((RefreshOutcome::Failed, false, Some("refresh-unfinished".to_owned())));
        let (unknown, running) = (refresh("r", "Unknown", None), refresh("r", "InProgress", None));
        for seen in [Seen::Found(&unknown), Seen::Found(&running), Seen::Unreadable] {
            assert_eq!((judge(seen, 5), judge(seen, 6)), (None, over.clone()));
        }
        assert_eq!((judge(Seen::Missing, 0), judge(Seen::Missing, 1)), (None, over), "it was never started");
    }

    #[test]
    fn the_refresh_that_was_started_is_the_first_after_the_one_before() {
        let history = [refresh("c", "Unknown", None), refresh("b", "Failed", None), refresh("a", "Completed", None)];
        let found = |before| after(&history, before).and_then(|refresh| refresh.request_id.clone());
        assert_eq!(found(Some("c")), None);
        assert_eq!(found(Some("b")).as_deref(), Some("c"));
        assert_eq!(found(Some("a")).as_deref(), Some("b"), "a later one is somebody else's");
        assert_eq!(found(None).as_deref(), Some("a"));
    }

    #[test]
    fn a_running_refresh_is_in_the_way_for_a_day_at_most() {
        let running = refresh("r", "Unknown", None);
        assert!(in_the_way(Some(&running), at(23)) && !in_the_way(Some(&running), at(24)));
        assert!(!in_the_way(Some(&refresh("r", "Completed", None)), at(1)) && !in_the_way(None, at(1)));
    }
}
