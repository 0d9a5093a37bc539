//! The invariants, checked after every effect against what is really so at the services. lakekey's own record is read for
//! two things only: which ids it has condemned, and until when a runner holds its lease.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::Request;
use jiff::{SignedDuration, Timestamp};
use lakekey_sim::{Cloud, Happened, Happening, SourceTruth, WarehouseTruth};
use serde_json::Value;

use crate::counts::Counts;
use lakekey_core::ids::SecretId;

use crate::process::Process;
use crate::universe::held;
use crate::wire::changes;

/// A guarantee that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: `G1` to `G8`.
    pub guarantee: &'static str,
    /// What happened.
    pub what: String,
    /// When.
    pub at: Timestamp,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:.3}: {}", self.guarantee, self.at, self.what)
    }
}

/// What the watch knows.
pub struct Watch {
    /// The first guarantee that did not hold.
    pub violation: Option<Violation>,
    /// What has been done.
    pub counts: Counts,
    /// Ids that the journal condemns.
    pub condemned: BTreeSet<String>,
    /// Ids that the journal condemns because a person revoked them, whoever holds them.
    revoked: BTreeSet<String>,
    /// Whether the last revoke was to take every foreign secret too.
    revokes_foreign: bool,
    /// Whether a revoke is open, which may mint into the last free slot.
    revoking: bool,
    /// How long before the lease's end the last write may start.
    pub kept_back: SignedDuration,
    /// How long a list lags behind, with the time of one run on top.
    pub recently: SignedDuration,
    /// Foreign secrets that lakekey was given to adopt.
    pub adopted: BTreeSet<String>,
    /// Sources that a person has dealt with: what they hold is not lakekey's to answer for.
    pub meddled: BTreeSet<String>,
    /// Sources that a person pointed elsewhere: they are no longer meant to be moved.
    pub departed: BTreeSet<String>,
    /// The shortest grace of any config in use; `None` where clocks may be so wrong that it cannot be kept.
    pub grace: Option<SignedDuration>,
    /// Whether a config left out data sources: who else holds an adopted secret, lakekey cannot know then.
    pub narrowed: bool,
    /// When a source was last moved off each secret.
    left: BTreeMap<String, Timestamp>,
    /// Secrets that the journal names and has not condemned.
    living: Vec<SecretId>,
    seen: usize,
    /// The identity whose deeds are lakekey's.
    lakekey: String,
    application_id: String,
    /// Who made each secret of the principal, and when it expires.
    secrets: BTreeMap<String, (bool, Timestamp)>,
    sources: BTreeMap<String, SourceTruth>,
    permissions: Vec<WarehouseTruth>,
    epoch: u64,
    /// When the lease of each epoch ends.
    leases: BTreeMap<u64, Timestamp>,
    person_minted: Option<Timestamp>,
    excused_mint: Option<Timestamp>,
}

impl Watch {
    /// A watch over this cloud, from now on.
    pub fn new(cloud: &Cloud) -> Self {
        Self::of(cloud, &cloud.cast().admin.client_id)
    }

    /// A watch over what the lakekey with this identity does.
    pub fn of(cloud: &Cloud, lakekey: &str) -> Self {
        let cast = cloud.cast();
        let secrets = cloud.secrets(&cast.principal.application_id);
        Self {
            violation: None,
            counts: Counts::default(),
            condemned: BTreeSet::new(),
            revoked: BTreeSet::new(),
            revokes_foreign: false,
            revoking: false,
            kept_back: SignedDuration::ZERO,
            recently: SignedDuration::from_mins(3),
            adopted: BTreeSet::new(),
            meddled: BTreeSet::new(),
            departed: BTreeSet::new(),
            grace: None,
            narrowed: false,
            left: BTreeMap::new(),
            living: Vec::new(),
            seen: cloud.happenings_since(0).len(),
            lakekey: lakekey.to_owned(),
            application_id: cast.principal.application_id.clone(),
            secrets: secrets.into_iter().map(|secret| (secret.id, (false, secret.expires))).collect(),
            sources: cloud.sources().into_iter().map(|source| (source.id.clone(), source)).collect(),
            permissions: others(cloud, &cast.principal.application_id),
            epoch: 0,
            leases: BTreeMap::new(),
            person_minted: None,
            excused_mint: None,
        }
    }

    /// A person has added a data source like another one.
    pub fn added(&mut self, like: &str, source: SourceTruth) {
        if self.departed.contains(like) {
            self.departed.insert(source.id.clone());
        }
        self.sources.insert(source.id.clone(), source);
    }

    /// Notes that a guarantee did not hold; the first one counts.
    pub fn broken(&mut self, guarantee: &'static str, at: Timestamp, what: impl Into<String>) {
        self.violation.get_or_insert_with(|| Violation { guarantee, what: what.into(), at });
    }

    /// Whether lakekey made this secret.
    pub fn is_ours(&self, secret: &str) -> bool {
        self.secrets.get(secret).is_some_and(|(ours, _)| *ours)
    }

    /// Looks at what has happened since the last look.
    pub fn observe(&mut self, cloud: &Cloud) {
        let happenings = cloud.happenings_since(self.seen);
        self.seen += happenings.len();
        for happening in &happenings {
            self.happened(cloud, happening);
        }
    }

    fn happened(&mut self, cloud: &Cloud, happening: &Happening) {
        let at = happening.at;
        match &happening.what {
            Happened::Minted { secret, application_id, by, expires, used } if *application_id == self.application_id => {
                let ours = *by == self.lakekey;
                self.secrets.insert(secret.clone(), (ours, *expires));
                if ours {
                    self.counts.minted += 1;
                    self.minted(at, *used, happening.fault.as_deref());
                } else {
                    self.person_minted = Some(at);
                }
            }
            Happened::Minted { .. } => self.broken("G3", at, "a secret was made for another principal"),
            Happened::Deleted { secret, by: Some(by) } if *by == self.lakekey => self.deleted(cloud, at, secret),
            Happened::Deleted { .. } => {}
            Happened::Written { source, secret, alive, privacy, sso, by } => {
                self.written(at, source, (secret.as_deref(), *alive), (privacy, *sso), by.is_some());
            }
            Happened::Rebound { from, to, .. } => {
                for known in [&mut self.departed, &mut self.meddled] {
                    if known.contains(from) {
                        known.insert(to.clone());
                    }
                }
                if let Some(old) = self.sources.get(from) {
                    let new = SourceTruth { id: to.clone(), secret_id: None, alive: false, ..old.clone() };
                    self.sources.entry(to.clone()).or_insert(new);
                }
            }
        }
    }

    /// G4: after lakekey's own create a slot is free, unless somebody else minted too or the network sent it twice.
    fn minted(&mut self, at: Timestamp, used: usize, fault: Option<&str>) {
        self.counts.checked("G4");
        if fault.is_some_and(|fault| fault.starts_with("duplicate") || fault.starts_with("late") || fault.starts_with("latency"))
        {
            self.excused_mint = Some(at);
        }
        let recent = |since: Option<Timestamp>| since.is_some_and(|since| at.duration_since(since) <= self.recently);
        let most = if self.revoking { 5 } else { 4 };
        if used > most && !recent(self.person_minted) && !recent(self.excused_mint) {
            self.broken("G4", at, format!("lakekey minted into the last free slot: {used} are in use"));
        }
    }

    fn deleted(&mut self, cloud: &Cloud, at: Timestamp, secret: &str) {
        self.counts.deleted += 1;
        self.counts.checked("G1");
        self.counts.checked("G3");
        self.counts.checked("discipline");
        let (ours, expires) = self.secrets.get(secret).copied().unwrap_or((false, Timestamp::MAX));
        let revoked = self.revoked.contains(secret);
        let may_go = ours || self.adopted.contains(secret) || revoked && self.revokes_foreign;
        if !may_go {
            self.broken("G3", at, format!("lakekey deleted the foreign secret {secret}"));
        }
        if !self.condemned.contains(secret) {
            self.broken("G2", at, format!("secret {secret} was deleted before the journal condemned it"));
        }
        if expires <= at || revoked {
            return;
        }
        if let (Some(left), Some(grace)) = (self.left.get(secret), self.grace)
            && at.duration_since(*left) < grace
        {
            self.broken("G1", at, format!("secret {secret} was deleted less than grace after a data source was moved off it"));
        }
        let holders: Vec<String> = cloud
            .sources()
            .into_iter()
            .filter(|source| is_covered(source) && source.secret_id.as_deref() == Some(secret))
            .filter(|source| !self.meddled.contains(&source.id))
            // One that was pointed elsewhere before lakekey ever selected it was never a target.
            .filter(|source| ours || !self.narrowed && !self.departed.contains(&source.id))
            .map(|source| source.target_id)
            .collect();
        if !holders.is_empty() {
            self.broken("G1", at, format!("lakekey deleted secret {secret}, which is still held by {}", holders.join(", ")));
        }
    }

    fn written(
        &mut self,
        at: Timestamp,
        id: &str,
        (secret, alive): (Option<&str>, bool),
        (privacy, sso): (&str, bool),
        by_api: bool,
    ) {
        let Some(known) = self.sources.get_mut(id) else { return };
        let (target, was_alive, target_id) = (known.target, known.alive, known.target_id.clone());
        let kept = known.privacy == privacy && known.sso == sso;
        let before = std::mem::replace(&mut known.secret_id, secret.map(str::to_owned));
        known.alive = alive;
        if let Some(before) = before.filter(|before| by_api && Some(before.as_str()) != secret) {
            self.left.insert(before, at);
        }
        if !by_api {
            self.meddled.insert(id.to_owned());
            return;
        }
        self.counts.checked("G1");
        self.counts.checked("G3");
        if !target {
            self.broken("G3", at, format!("{target_id} was written although it is outside the selection"));
        }
        if !kept {
            self.broken("G3", at, format!("the privacy level or single sign-on of {target_id} was changed"));
        }
        if was_alive && !alive {
            self.broken("G1", at, format!("{target_id} held a live secret and was given a dead one"));
        }
    }

    /// A request is about to leave a process: whoever changes something holds the lease, and not its tail.
    pub fn request(&mut self, process: &Process, request: &Request<Bytes>, now: Timestamp) {
        self.counts.effects += 1;
        if !changes(request.method(), request.uri().path()) {
            return;
        }
        self.counts.checked("G6");
        let what = || format!("{} {}", request.method(), request.uri().path());
        // A worker of a slice works under the lease of whoever sent the slice out.
        let sent_out = process.slice.and_then(|epoch| Some((epoch, *self.leases.get(&epoch)?)));
        match process.held_lease().or(sent_out) {
            None => self.broken("G6", now, format!("{} sent {} without a lease", process.runner, what())),
            Some((epoch, _))
                if epoch < self.epoch && sent_out.is_some_and(|(own, _)| own == epoch) && process.is_late(request) => {}
            Some((epoch, _)) if epoch < self.epoch => {
                self.broken(
                    "G6",
                    now,
                    format!("{} sent {} in epoch {epoch}, superseded by {}", process.runner, what(), self.epoch),
                );
            }
            Some((_, until)) => {
                let own = process.clock.now();
                if until.saturating_sub(self.kept_back).is_ok_and(|last| own > last) {
                    self.broken("G6", now, format!("{} sent {} at {own}, but its lease ends at {until}", process.runner, what()));
                }
            }
        }
    }

    /// An object was put into the state. Where it says that a secret was minted, gives all whose values must be at hand.
    pub fn object_put(&mut self, process: &Process, path: &str, bytes: &[u8], now: Timestamp) -> Vec<SecretId> {
        self.counts.effects += 1;
        if shows_value(bytes) {
            self.broken("G7", now, format!("a secret value is in {path}"));
        }
        self.counts.checked("G7");
        if !path.starts_with("journal/") {
            return Vec::new();
        }
        let Ok(entry) = serde_json::from_slice::<Value>(bytes) else {
            self.broken("G8", now, format!("{path} is not an entry"));
            return Vec::new();
        };
        let event = &entry["event"];
        match event["type"].as_str().unwrap_or_default() {
            "lease-taken" => {
                self.epoch = event["epoch"].as_u64().unwrap_or_default();
                *held(&process.lease) = until(event).map(|until| (self.epoch, until));
                self.leases.extend(until(event).map(|until| (self.epoch, until)));
            }
            "lease-renewed" => {
                *held(&process.lease) = until(event).map(|until| (self.epoch, until));
                self.leases.extend(until(event).map(|until| (self.epoch, until)));
            }
            "lease-released" => *held(&process.lease) = None,
            "condemned" => {
                let id = event["secret_id"].as_str().unwrap_or_default();
                self.living.retain(|living| living.as_str() != id);
                if event["reason"] == "revoked" {
                    self.revoked.insert(id.to_owned());
                }
                self.condemned.insert(id.to_owned());
            }
            "turned" => self.revokes_foreign |= event["turn"]["revoke"]["foreign"] == true,
            "planned" => self.revoking = event["kind"] == "revoke",
            "settled" => self.revoking = false,
            "wave-started" if event["slice_size"].is_u64() => self.counts.sent_out += 1,
            "promoted" => self.counts.rotations += 1,
            "minted" => {
                self.counts.checked("G2");
                self.living.push(SecretId::new(event["secret_id"].as_str().unwrap_or_default()));
                return self.living.clone();
            }
            _ => {}
        }
        Vec::new()
    }

    /// Looks for secret values in what people and other programs get to see.
    pub fn shown(&mut self, what: &str, text: &str, now: Timestamp) {
        self.counts.checked("G7");
        if shows_value(text.as_bytes()) {
            self.broken("G7", now, format!("a secret value is in {what}"));
        }
    }

    /// So many lines were logged; one of them may have shown a value.
    pub fn logged(&mut self, lines: u64, telling: Option<String>, now: Timestamp) {
        self.counts.log_lines += lines;
        if let Some(line) = telling {
            self.broken("G7", now, format!("a secret value was logged: {line}"));
        }
    }

    /// Compares what only changes if lakekey clobbers it: others' permissions, and requests that showed a value.
    pub fn look_around(&mut self, cloud: &Cloud) {
        self.counts.checked("G3");
        if others(cloud, &self.application_id) != self.permissions {
            self.broken("G3", cloud.now(), "the permissions of other principals on a warehouse have changed");
        }
        if let Some(leak) = cloud.leaks().first() {
            self.broken("G7", cloud.now(), leak.clone());
        }
    }
}

fn until(event: &Value) -> Option<Timestamp> {
    event["until"].as_str()?.parse().ok()
}

/// Whether lakekey answers for this source: bound, selected, and of a kind that it writes.
pub fn is_covered(source: &SourceTruth) -> bool {
    source.target
}

fn others(cloud: &Cloud, application_id: &str) -> Vec<WarehouseTruth> {
    let own = format!("principal {application_id}");
    let mut warehouses = cloud.warehouses();
    for warehouse in &mut warehouses {
        warehouse.permissions.remove(&own);
        warehouse.state.clear();
    }
    warehouses
}

/// Every value that the simulated cloud makes begins in one of these ways, and no id has such letters.
pub fn shows_value(bytes: &[u8]) -> bool {
    [b"dose".as_slice(), b"sim~"].iter().any(|canary| bytes.windows(4).any(|part| part == *canary))
}
