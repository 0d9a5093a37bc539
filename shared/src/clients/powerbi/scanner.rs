//! The scanner API: what is in every workspace of the tenant, personal ones included, for Fabric administrators and the
//! service principals that a tenant setting lets in. Workspaces are scanned a hundred at a time; each scan is started,
//! followed, and its result fetched.
//!
//! The reference states how many requests of each kind an hour allows. They are counted here and waited for, so that no
//! request is sent that would be refused; what others of the same identity send meanwhile shows as 429 and is obeyed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::items::{DataflowRow, Item, ReportRow};
use super::request::{address, id, target};
use super::wire::{DatasetRow, DatasetSourceRow};
use super::{Dataset, DatasetSource, Group, PowerBi};
use crate::clock::Clock;
use crate::http::problem::ServiceProblem;
use crate::http::transport::TransportError;
use crate::http::{Call, Effect, Failure, HttpError, Service, json};
use crate::ids::{GroupId, Text};

/// Workspaces that one scan takes.
const BATCH: usize = 100;
/// Scans under way at once; the service allows sixteen.
const AT_ONCE: usize = 8;
/// How long one scan may take in all.
const SCAN_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// Between two looks at a scan, at first and at most.
const POLL_FIRST: Duration = Duration::from_secs(1);
const POLL_MAX: Duration = Duration::from_secs(15);

/// The scanner, with what has been asked of it. One for each run: an hour's requests are counted in it.
pub struct Scanner {
    powerbi: PowerBi,
    lists: Quota,
    starts: Quota,
    looks: Quota,
    results: Quota,
}

/// A workspace as a scan shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedGroup {
    /// The workspace.
    pub group: Group,
    /// Its datasets with their data sources. Whether a dataset needs a gateway is not among what a scan tells.
    pub datasets: Vec<(Dataset, Vec<DatasetSource>)>,
    /// Its dataflows and paginated reports with theirs.
    pub items: Vec<(Item, Vec<DatasetSource>)>,
}

impl Scanner {
    /// The scanner as this client's identity may use it.
    pub fn new(powerbi: PowerBi) -> Self {
        let clock = powerbi.http.clock();
        let quota = |per_hour| Quota::new(per_hour, clock.clone());
        Self { lists: quota(30), starts: quota(500), looks: quota(10_000), results: quota(500), powerbi }
    }

    /// Every workspace of the tenant, personal ones and those that nobody has opened for long included. Refused to whom the
    /// scanner is closed.
    pub async fn workspaces(&self) -> Result<Vec<GroupId>, HttpError> {
        #[derive(Deserialize)]
        struct Row {
            #[serde(alias = "Id")]
            id: String,
        }
        self.lists.take().await;
        let query = "excludePersonalWorkspaces=False&excludeInActiveWorkspaces=False";
        let rows: Vec<Row> =
            self.powerbi.get("list the workspaces of the tenant", &["admin", "workspaces", "modified"], Some(query)).await?;
        Ok(rows.into_iter().filter_map(|row| id(&row.id)).map(GroupId::new).collect())
    }

    /// What is in these workspaces.
    pub async fn scan(&self, workspaces: &[GroupId]) -> Result<Vec<ScannedGroup>, HttpError> {
        // Boxed, as all that a server may move between threads.
        let batches: Vec<BoxFuture<'_, _>> = workspaces.chunks(BATCH).map(|batch| self.batch(batch).boxed()).collect();
        let scanned: Vec<Vec<ScannedGroup>> = stream::iter(batches).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(scanned.into_iter().flatten().collect())
    }

    /// One batch; halved for as long as its result is longer than is read.
    async fn batch(&self, workspaces: &[GroupId]) -> Result<Vec<ScannedGroup>, HttpError> {
        let mut found = Vec::new();
        let mut open = vec![workspaces];
        while let Some(part) = open.pop() {
            match self.one(part).await {
                Ok(groups) => found.extend(groups),
                Err(HttpError { failure: Failure::Ambiguous(Some(TransportError::TooLarge { .. })), .. }) if part.len() > 1 => {
                    let (first, rest) = part.split_at(part.len() / 2);
                    open.extend([rest, first]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn one(&self, workspaces: &[GroupId]) -> Result<Vec<ScannedGroup>, HttpError> {
        let scan = self.start(workspaces).await?;
        self.finished(&scan).await?;
        self.results.take().await;
        let path = ["admin", "workspaces", "scanResult", &scan];
        let result: ResultBody = self.powerbi.get("read a scan", &path, None).await?;
        Ok(result.groups())
    }

    /// Starting a scan changes nothing, so it may be asked for twice.
    async fn start(&self, workspaces: &[GroupId]) -> Result<String, HttpError> {
        const WHAT: &str = "start a scan";
        #[derive(Serialize)]
        struct Body<'a> {
            workspaces: Vec<&'a str>,
        }
        self.starts.take().await;
        let body = Body { workspaces: workspaces.iter().map(GroupId::as_str).collect() };
        let path = ["v1.0", "myorg", "admin", "workspaces", "getInfo"];
        let url = address(&self.powerbi.base, &path, Some("lineage=True&datasourceDetails=True"));
        let (request, signer) = (json::request_with(Method::POST, url.as_str(), &body), Some(&self.powerbi.signer));
        let (service, effect) = (Service::PowerBi, Effect::Repeatable);
        let call = Call { service, what: WHAT, request, signer, effect, not_after: None };
        let place = target(&Method::POST, &url);
        let started: ScanRow = json::read(WHAT, &place, &self.powerbi.http.send(call).await?)?;
        started.id.as_deref().and_then(id).ok_or_else(|| HttpError::unusable(WHAT, &place, "it is accepted, but has no id"))
    }

    async fn finished(&self, scan: &str) -> Result<(), HttpError> {
        const WHAT: &str = "follow a scan";
        let clock = self.powerbi.http.clock();
        let path = ["admin", "workspaces", "scanStatus", scan];
        let place = target(&Method::GET, &self.powerbi.address(&path, None));
        let give_up_at = after(clock.now(), SCAN_TIME_MAX);
        let mut pause = POLL_FIRST;
        while clock.now() < give_up_at {
            clock.sleep(pause).await;
            self.looks.take().await;
            // Never from a memo: it is asked until the answer is another.
            let state: ScanRow = self.powerbi.get_anew(WHAT, &path, None).await?;
            match state.status.as_deref() {
                Some("Succeeded") => return Ok(()),
                Some("Failed") => return Err(failed(WHAT, &place, state.error)),
                // `NotStarted`, `Running`, and whatever may be added.
                _ => pause = (pause * 2).min(POLL_MAX),
            }
        }
        let failure = Failure::Ambiguous(Some(TransportError::Timeout(SCAN_TIME_MAX)));
        Err(HttpError { failure, ..HttpError::unusable(WHAT, &place, "") })
    }
}

fn failed(what: &'static str, place: &str, error: Option<ErrorRow>) -> HttpError {
    let (code, message) = error.map(|error| (error.code, error.message)).unwrap_or_default();
    let problem = ServiceProblem::new(
        code.as_deref().unwrap_or("ScanFailed"),
        message.as_deref().unwrap_or("the scan failed without a reason"),
    );
    let failure = Failure::Answer { status: http::StatusCode::OK, problem, retry_after: None };
    HttpError { failure, ..HttpError::unusable(what, place, "") }
}

fn after(now: Timestamp, time: Duration) -> Timestamp {
    now.saturating_add(SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

/// So many requests in any hour.
struct Quota {
    per_hour: usize,
    clock: Clock,
    sent: Mutex<VecDeque<Timestamp>>,
}

impl Quota {
    fn new(per_hour: usize, clock: Clock) -> Self {
        Self { per_hour, clock, sent: Mutex::default() }
    }

    /// Waits until one more may be sent, and counts it.
    async fn take(&self) {
        while let Some(wait) = self.try_take() {
            self.clock.sleep(wait).await;
        }
    }

    fn try_take(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut sent = self.sent.lock().expect("no code panics while it holds the queue");
        while sent.front().is_some_and(|&first| after(first, HOUR) <= now) {
            sent.pop_front();
        }
        match sent.front() {
            Some(&first) if sent.len() >= self.per_hour => {
                // Bounded, should the clock have been set back.
                Some(Duration::try_from(after(first, HOUR).duration_since(now)).unwrap_or(HOUR).min(HOUR))
            }
            _ => {
                sent.push_back(now);
                None
            }
        }
    }
}

/// Some more than an hour: the service counts by its own clock.
const HOUR: Duration = Duration::from_secs(3_600 + 5);

#[derive(Deserialize)]
struct ScanRow {
    #[serde(alias = "Id")]
    id: Option<String>,
    #[serde(alias = "Status")]
    status: Option<String>,
    #[serde(default)]
    error: Option<ErrorRow>,
}

#[derive(Deserialize)]
struct ErrorRow {
    code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultBody {
    #[serde(default)]
    workspaces: Vec<WorkspaceRow>,
    #[serde(default)]
    datasource_instances: Vec<InstanceRow>,
    #[serde(default)]
    misconfigured_datasource_instances: Vec<InstanceRow>,
}

#[derive(Deserialize)]
struct WorkspaceRow {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    datasets: Vec<UserRow<DatasetRow>>,
    #[serde(default)]
    dataflows: Vec<UserRow<DataflowRow>>,
    #[serde(default)]
    reports: Vec<UserRow<ReportRow>>,
}

/// Something that names the data sources it uses.
#[derive(Deserialize)]
struct UserRow<T> {
    #[serde(flatten)]
    user: T,
    #[serde(default, rename = "datasourceUsages")]
    usages: Vec<UsageRow>,
    #[serde(default, rename = "misconfiguredDatasourceUsages")]
    misconfigured: Vec<UsageRow>,
}

#[derive(Deserialize)]
struct UsageRow {
    #[serde(rename = "datasourceInstanceId")]
    instance: String,
}

#[derive(Deserialize)]
struct InstanceRow {
    #[serde(default, rename = "datasourceId")]
    id: Option<String>,
    #[serde(default, rename = "gatewayId")]
    gateway: Option<String>,
    #[serde(default, rename = "connectionDetails")]
    details: Value,
}

impl ResultBody {
    fn groups(self) -> Vec<ScannedGroup> {
        let instances = self.datasource_instances.into_iter().chain(self.misconfigured_datasource_instances);
        let instances: BTreeMap<String, DatasetSource> = instances
            .filter_map(|row| {
                let key = id(row.id.as_deref()?)?;
                Some((key, DatasetSourceRow::of(row.id, row.gateway, row.details).source()))
            })
            .collect();
        let group = |row: WorkspaceRow| row.group(&instances);
        self.workspaces.into_iter().filter_map(group).collect()
    }
}

impl WorkspaceRow {
    fn group(self, instances: &BTreeMap<String, DatasetSource>) -> Option<ScannedGroup> {
        // `Deleted` and `Removing` workspaces are scanned too.
        if self.state.as_deref().is_some_and(|state| matches!(state, "Deleted" | "Deleting" | "Removing")) {
            return None;
        }
        let id = GroupId::new(id(&self.id)?);
        let is_personal = self.kind.is_some_and(|kind| kind.starts_with("Personal"));
        let group = Group { id, name: Text::new(self.name.unwrap_or_default()), is_personal };
        let datasets = self.datasets.into_iter().filter_map(|row| {
            let sources = row.sources(instances);
            Some((row.user.dataset()?, sources))
        });
        let flows = self.dataflows.into_iter().filter_map(|row| {
            let sources = row.sources(instances);
            Some((row.user.item()?, sources))
        });
        let reports = self.reports.into_iter().filter_map(|row| {
            let sources = row.sources(instances);
            Some((row.user.item()?, sources))
        });
        Some(ScannedGroup { group, datasets: datasets.collect(), items: flows.chain(reports).collect() })
    }
}

impl<T> UserRow<T> {
    fn sources(&self, instances: &BTreeMap<String, DatasetSource>) -> Vec<DatasetSource> {
        let usages = self.usages.iter().chain(&self.misconfigured);
        usages.filter_map(|usage| instances.get(&id(&usage.instance)?)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usages_are_joined_with_instances_of_either_family_of_keys() {
        let path = r#"{\"host\":\"h.azuredatabricks.net\",\"httpPath\":\"/sql/1.0/warehouses/w\"}"#;
        let body = format!(
            r#"{{"workspaces":[
                {{"id":"G","name":"Sales","type":"Workspace","state":"Active",
                  "datasets":[{{"id":"d","name":"Orders","configuredBy":"ann@x","datasourceUsages":[{{"datasourceInstanceId":"AAAAAAAA-0000-4000-8000-000000000001"}},{{"datasourceInstanceId":"gone"}}]}}],
                  "dataflows":[{{"objectId":"f","datasourceUsages":[{{"datasourceInstanceId":"s2"}}]}}],
                  "reports":[{{"id":"r","reportType":"PaginatedReport"}},{{"id":"q","reportType":"PowerBIReport"}}]}},
                {{"id":"P","type":"PersonalGroup","datasets":[{{"id":"e","misconfiguredDatasourceUsages":[{{"datasourceInstanceId":"s3"}}]}}]}},
                {{"id":"X","state":"Deleted"}}],
              "datasourceInstances":[
                {{"datasourceId":"aaaaaaaa-0000-4000-8000-000000000001","gatewayId":"g","connectionDetails":{{"kind":"Databricks","path":"{path}"}}}},
                {{"datasourceId":"s2","gatewayId":"g","connectionDetails":{{"extensionDataSourceKind":"Databricks","extensionDataSourcePath":"{path}"}}}}],
              "misconfiguredDatasourceInstances":[{{"datasourceId":"s3","connectionDetails":{{"kind":"Databricks","path":"{path}"}}}}]}}"#
        );
        let groups = serde_json::from_str::<ResultBody>(&body).unwrap().groups();
        assert_eq!((groups.len(), groups[0].group.is_personal, groups[1].group.is_personal), (2, false, true));
        let (dataset, sources) = &groups[0].datasets[0];
        assert_eq!((dataset.configured_by.as_deref(), sources.len()), (Some("ann@x"), 1));
        assert_eq!(sources[0].databricks, groups[0].items[0].1[0].databricks);
        assert_eq!(groups[0].items.len(), 2);
        assert_eq!(groups[1].datasets[0].1[0].gateway, None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_hour_sees_more_than_its_quota() {
        let clock = Clock::runtime("2026-03-01T00:00:00Z".parse().unwrap());
        let (quota, begun) = (Quota::new(3, clock.clone()), clock.now());
        let mut taken = Vec::new();
        for _ in 0..8 {
            quota.take().await;
            taken.push(clock.now().duration_since(begun).as_secs());
            clock.sleep(Duration::from_secs(60)).await;
        }
        assert!(taken.windows(4).all(|four| four[3] - four[0] >= 3_600), "{taken:?}");
    }
}
