//! Starting refreshes of datasets and looking how far they are. A start that got no answer is looked for in the history,
//! never sent again blindly: the newest refresh before it is in the journal.

use futures::StreamExt;
use jiff::Timestamp;
use tracing::warn;

use crate::clients::powerbi::{PowerBi, Refresh, RefreshKind};
use crate::error::{Error, Problem};
use crate::ids::DatasetId;
use crate::report::RefreshOutcome;
use crate::rotation::drive::Run;
use crate::rotation::event::{Event, RefreshAsked};
use crate::rotation::refresh::{self, RefreshFate, RefreshResult, RefreshWanted, Seen};
use crate::rotation::state::Open;
use crate::targets::TargetSpec;

/// Datasets asked about at once.
const AT_ONCE: usize = 8;
/// How far back a refresh is looked for: others may have been started since.
const HISTORY: u32 = 10;

/// What came of starting one.
enum Start {
    Started,
    /// Whether it was is seen in the history, by the next look.
    Unheard,
    Failed(Problem),
}

impl Run<'_> {
    pub(super) async fn refresh(&mut self, datasets: Vec<DatasetId>) -> Result<(), Error> {
        let wanted: Vec<(RefreshWanted, RefreshFate)> = datasets
            .iter()
            .filter_map(|id| self.state.refreshes.get(id))
            .map(|state| (state.wanted.clone(), state.fate.clone()))
            .collect();
        let Some(powerbi) = self.ports.targets.as_ref().map(|targets| targets.powerbi.clone()) else {
            let gone = Problem::new("target-unreachable", "the config no longer has a `targets` section to refresh with");
            return self.refreshes_failed(datasets.into_iter().map(|dataset| (dataset, gone.clone())).collect()).await;
        };
        let (fresh, asked): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, fate)| *fate == RefreshFate::Wanted);
        if fresh.is_empty() {
            return self.start(&powerbi, asked).await;
        }
        // First the intents, each with the newest refresh until now; the next step starts them.
        let looks = fresh.into_iter().map(|(wanted, _)| async {
            let history = powerbi.refreshes(&wanted.group, &wanted.dataset, 2).await;
            (wanted, history)
        });
        let looked: Vec<_> = futures::stream::iter(looks).buffered(AT_ONCE).collect().await;
        let (mut refreshes, mut failed) = (Vec::new(), Vec::new());
        for (wanted, history) in looked {
            match history {
                Ok(history) => refreshes.push(RefreshAsked { dataset: wanted.dataset, before: newest_ended(&history) }),
                Err(error) => failed.push((wanted.dataset, Error::from(error).problem().clone())),
            }
        }
        if !refreshes.is_empty() {
            self.record(Event::RefreshesAsked { refreshes }).await?;
        }
        self.refreshes_failed(failed).await
    }

    /// Starts what was asked for, unless the history shows that it was started.
    async fn start(&mut self, powerbi: &PowerBi, asked: Vec<(RefreshWanted, RefreshFate)>) -> Result<(), Error> {
        self.say(format!("refreshing {} dataset{}", asked.len(), if asked.len() == 1 { "" } else { "s" }), 0, asked.len());
        self.changed = true;
        let not_after = self.not_after();
        let starts = asked.into_iter().map(|(wanted, fate)| async move {
            let started = start_one(powerbi, &wanted, &fate, not_after).await;
            (wanted.dataset, started)
        });
        let ended: Vec<(DatasetId, Start)> = futures::stream::iter(starts).buffered(AT_ONCE).collect().await;
        let (mut datasets, mut failed) = (Vec::new(), Vec::new());
        for (dataset, start) in ended {
            match start {
                Start::Started | Start::Unheard => datasets.push(dataset),
                Start::Failed(problem) => failed.push((dataset, problem)),
            }
        }
        if !datasets.is_empty() {
            self.seen.polled = Some((self.ports.clock.now(), 0));
            self.record(Event::RefreshesStarted { datasets }).await?;
        }
        self.refreshes_failed(failed).await
    }

    async fn refreshes_failed(&mut self, failed: Vec<(DatasetId, Problem)>) -> Result<(), Error> {
        let results: Vec<RefreshResult> = failed
            .into_iter()
            .map(|(dataset, problem)| {
                warn!(dataset = %dataset, code = problem.code, "a refresh could not be started");
                RefreshResult { dataset, outcome: RefreshOutcome::Failed, credential: false, problem: Some(problem) }
            })
            .collect();
        self.ended(results).await
    }

    /// Records what has ended; the report of this run is then about the targets of those datasets too.
    async fn ended(&mut self, results: Vec<RefreshResult>) -> Result<(), Error> {
        if results.is_empty() {
            return Ok(());
        }
        let of = |spec: &TargetSpec| spec.datasets.iter().any(|used| results.iter().any(|result| result.dataset == used.id));
        let planned = self.state.open.iter().flat_map(Open::targets);
        let users = planned.filter(|id| self.state.place(id).and_then(|holder| holder.spec.as_deref()).is_some_and(of));
        self.touched.extend(users.cloned());
        self.record(Event::RefreshesEnded { results }).await.map(drop)
    }

    /// Looks how far refreshes are. Only an end is a fact for the journal; a look that fails is repeated later.
    pub(super) async fn poll_refreshes(&mut self, datasets: Vec<DatasetId>) -> Result<(), Error> {
        let now = self.ports.clock.now();
        let looks = self.seen.polled.map_or(0, |(_, looks)| looks);
        self.seen.polled = Some((now, looks + 1));
        let Some(targets) = &self.ports.targets else {
            let gone = Problem::new("target-unreachable", "the config no longer has a `targets` section to refresh with");
            return self.refreshes_failed(datasets.into_iter().map(|dataset| (dataset, gone.clone())).collect()).await;
        };
        let asked = datasets.into_iter().filter_map(|id| {
            let state = self.state.refreshes.get(&id)?;
            match &state.fate {
                RefreshFate::Started { at, before } => Some((state.wanted.clone(), *at, before.clone())),
                RefreshFate::Wanted | RefreshFate::Asked { .. } | RefreshFate::Over(_) => None,
            }
        });
        let looks = asked.map(|(wanted, at, before)| async move {
            let history = targets.powerbi.refreshes(&wanted.group, &wanted.dataset, HISTORY).await;
            let seen = match &history {
                Ok(history) => refresh::after(history, before.as_deref()).map_or(Seen::Missing, Seen::Found),
                Err(_) => Seen::Unreadable,
            };
            refresh::judged(&wanted.dataset, seen, at, now)
        });
        let results: Vec<RefreshResult> =
            futures::stream::iter(looks).buffered(AT_ONCE).filter_map(async |ended| ended).collect().await;
        for result in results.iter().filter(|result| result.outcome == RefreshOutcome::Failed) {
            warn!(dataset = %result.dataset, code = result.problem.as_ref().map_or("", |problem| &problem.code), "a refresh failed");
        }
        self.ended(results).await
    }
}

/// The newest refresh that the one to come is told from. One that runs now is taken for it: no second one may be started.
fn newest_ended(history: &[Refresh]) -> Option<String> {
    history.iter().find(|refresh| !refresh::runs(refresh)).and_then(|refresh| refresh.request_id.clone())
}

async fn start_one(powerbi: &PowerBi, wanted: &RefreshWanted, fate: &RefreshFate, not_after: Timestamp) -> Start {
    let RefreshFate::Asked { before, .. } = fate else { return Start::Unheard };
    match powerbi.refreshes(&wanted.group, &wanted.dataset, HISTORY).await {
        Ok(history) if refresh::after(&history, before.as_deref()).is_some() => return Start::Started,
        Ok(_) => {}
        Err(error) => return Start::Failed(Error::from(error).problem().clone()),
    }
    // An enhanced refresh is told apart by its id; a shared capacity refuses it, and then the standard one is started.
    let kinds: &[RefreshKind] =
        if wanted.wait { &[RefreshKind::Enhanced, RefreshKind::Standard] } else { &[RefreshKind::Standard] };
    let mut refused = None;
    for kind in kinds {
        match powerbi.refresh(&wanted.group, &wanted.dataset, *kind, not_after).await {
            Ok(()) => return Start::Started,
            Err(error) if error.may_have_taken_effect() => return Start::Unheard,
            Err(error) => refused = Some(Error::from(error).problem().clone()),
        }
    }
    Start::Failed(refused.unwrap_or_else(|| Problem::new("refresh-failed", "the refresh was not started")))
}
