//! The least time that a rotation's own requests could take, from the cloud's log of them: with so many at once, each no
//! sooner than those whose answers it is made of.
//!
//! It is a floor for the requests as they are: whether fewer would do is another question, which the numbers of requests
//! beside it help to ask.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lakekey_sim::Seen;

use crate::CONCURRENCY;

/// The phases of a rotation, one after the other.
#[derive(Clone, Debug)]
pub struct Floor {
    pub phases: Vec<Phase>,
}

#[derive(Clone, Debug)]
pub struct Phase {
    pub name: &'static str,
    pub requests: usize,
    /// From the last answer of the phase before to its own last.
    pub seconds: f64,
    pub floor_seconds: f64,
}

pub(crate) const APPLY: &str = "apply (move every data source)";

impl Floor {
    /// Of the log of one rotation.
    pub fn of(log: &[Seen], latency: Duration) -> Self {
        let mint = log.iter().position(is_mint).unwrap_or(log.len());
        let (plan, rest) = log.split_at(mint);
        let apply = rest.iter().position(is_power_bi).unwrap_or(rest.len());
        let (prove, rest) = rest.split_at(apply);
        let end = rest.iter().rposition(is_power_bi).map_or(0, |last| last + 1);
        let (apply, close) = rest.split_at(end);
        let mut phases = Vec::new();
        // The first request is logged when its latency is over.
        let mut since = log.first().and_then(|first| first.at.checked_sub(latency).ok());
        for (name, requests, rounds) in [
            ("plan (look and check)", plan, rounds_of_plan(plan)),
            // Each of these is made of the answer before.
            ("prove (mint, sign in, query)", prove, prove.len()),
            (APPLY, apply, rounds_of_apply(apply)),
            ("close", close, close.len()),
        ] {
            let until = requests.last().map(|last| last.at).or(since);
            if !requests.is_empty() {
                let seconds = span(since, until);
                let floor_seconds = rounds as f64 * latency.as_secs_f64();
                phases.push(Phase { name, requests: requests.len(), seconds, floor_seconds });
            }
            since = until;
        }
        Self { phases }
    }

    /// Of all phases.
    pub fn seconds(&self) -> f64 {
        self.phases.iter().map(|phase| phase.floor_seconds).sum()
    }

    pub fn requests(&self) -> usize {
        self.phases.iter().map(|phase| phase.requests).sum()
    }
}

fn span(since: Option<Timestamp>, until: Option<Timestamp>) -> f64 {
    since.zip(until).map_or(0.0, |(since, until)| until.duration_since(since).as_secs_f64())
}

fn is_mint(seen: &Seen) -> bool {
    seen.method == "POST" && seen.path.ends_with("/credentials/secrets")
}

fn is_power_bi(seen: &Seen) -> bool {
    matches!(seen.service.as_str(), "powerbi" | "fabric")
}

/// Requests of one kind, and the kinds whose answers they are made of.
struct Stage {
    is: fn(&Seen) -> bool,
    /// Earlier stages, by position.
    after: &'static [usize],
    /// Pages: each names the next.
    one_by_one: bool,
}

/// What is read before anything is made. Sign-ins need nothing, the lists of Power BI lead from one to the other, and what
/// a warehouse's permissions are is asked when the data sources that use it are known.
const PLAN: [Stage; 13] = [
    Stage { is: |seen| seen.path == "/oidc/v1/token", after: &[], one_by_one: false },
    Stage { is: |seen| seen.path.contains("/ServicePrincipals?"), after: &[0], one_by_one: true },
    Stage { is: |seen| seen.path.contains("/credentials/secrets"), after: &[1], one_by_one: true },
    Stage { is: |seen| seen.service == "entra", after: &[], one_by_one: false },
    Stage { is: |seen| ends(seen, "/groups"), after: &[3], one_by_one: true },
    Stage { is: |seen| ends(seen, "/datasets"), after: &[4], one_by_one: false },
    Stage { is: |seen| seen.path.contains("/datasets/") && ends(seen, "/datasources"), after: &[5], one_by_one: false },
    Stage { is: |seen| ends(seen, "/gateways"), after: &[3], one_by_one: true },
    Stage { is: |seen| seen.path.contains("/gateways/"), after: &[7], one_by_one: false },
    Stage { is: |seen| ends(seen, "/connections"), after: &[3, 6], one_by_one: true },
    Stage { is: |seen| seen.path.contains("/connections/"), after: &[6, 9], one_by_one: false },
    Stage { is: |seen| seen.path.contains("/permissions/warehouses/"), after: &[1, 6], one_by_one: false },
    Stage { is: |seen| seen.path.contains("/sql/warehouses/"), after: &[1], one_by_one: false },
];

fn ends(seen: &Seen, name: &str) -> bool {
    seen.path.split('?').next().is_some_and(|path| path.ends_with(name))
}

/// The longest way through the stages, or what so many at once need for all of them, whichever is more.
fn rounds_of_plan(log: &[Seen]) -> usize {
    let mut done = [0; PLAN.len()];
    let mut known = 0;
    for (at, stage) in PLAN.iter().enumerate() {
        let earlier = |seen: &Seen| PLAN[..at].iter().any(|stage| (stage.is)(seen));
        let count = log.iter().filter(|seen| (stage.is)(seen) && !earlier(seen)).count();
        known += count;
        let rounds = if stage.one_by_one { count } else { count.div_ceil(CONCURRENCY) };
        done[at] = rounds + stage.after.iter().map(|&before| done[before]).max().unwrap_or_default();
    }
    // A kind of request that the stages do not know must not lower the floor unseen.
    assert_eq!(known, log.len(), "the plan sends requests of a kind that `PLAN` does not know");
    done.into_iter().max().unwrap_or_default().max(log.len().div_ceil(CONCURRENCY))
}

/// Data sources do not wait for each other; the requests of one do.
fn rounds_of_apply(log: &[Seen]) -> usize {
    let mut by_source: BTreeMap<&str, usize> = BTreeMap::new();
    for seen in log {
        let mut parts = seen.path.split('/').skip_while(|part| !matches!(*part, "datasources" | "connections")).skip(1);
        if let Some(source) = parts.next() {
            *by_source.entry(source).or_default() += 1;
        }
    }
    let longest = by_source.into_values().max().unwrap_or_default();
    longest.max(log.len().div_ceil(CONCURRENCY))
}
