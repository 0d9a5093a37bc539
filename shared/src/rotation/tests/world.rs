//! What is really the case outside: secrets at Databricks, slots, what each place holds, and what may still land. Every
//! change is made here, and here the guarantees are checked from the world's own truth.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::workers::Ticket;
use crate::clients::powerbi::DatabricksSource;
use crate::config::WaveSize;
use crate::ids::{DatasetId, DatasourceId, GatewayId, GroupId, RunnerId, SecretId, TargetId};
use crate::journal::note::Note;
use crate::rotation::event::{Condemnation, Event, Place};
use crate::rotation::recover::Listed;
use crate::rotation::refresh::RefreshWanted;
use crate::rotation::slices::SliceResult;
use crate::rotation::state::State;
use crate::targets::{DatasetRef, SourceKind, TargetKind, TargetSpec};

pub(super) const REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);
pub(super) const SKEW: SignedDuration = SignedDuration::from_mins(2);
pub(super) const LANDING: SignedDuration = SignedDuration::from_mins(5);
pub(super) const LEASE: SignedDuration = SignedDuration::from_mins(15);
pub(super) const LIFETIME_S: u64 = 14 * 86_400;
const SLOTS: usize = 5;

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Lakekey,
    Person,
}

/// One secret that was ever made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) listed: Listed,
    pub(super) by: By,
    pub(super) gone: Option<(Timestamp, By)>,
}

/// How a place takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Takes,
    Refuses,
    /// It is not what was selected any more.
    Changed,
    /// The answer is lost; the write takes effect after this long, or never.
    Silent(Option<SignedDuration>),
}

/// One place that may hold a secret.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) holds: Option<SecretId>,
    pub(super) manner: Manner,
    /// The dataset whose owner may write it, and whether that is lakekey's identity.
    pub(super) dataset: Option<(DatasetId, By)>,
}

/// What becomes of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Create {
    Answered,
    /// Delivered twice, answered once.
    Doubled,
    Refused,
    /// No answer; it takes effect after this long, or never.
    Lost(Option<SignedDuration>),
}

/// What a take-over does to a data source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakeOver {
    /// Its credentials are gone.
    Bares,
    /// The dataset gets another one.
    Rebinds,
    Refused,
    /// It rebinds, but the answer says that it failed.
    RebindsUnheard,
}

#[derive(Clone, Debug)]
enum Late {
    Write(TargetId, SecretId),
    Create(u64),
    Stage(SecretId),
}

/// The outside.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) secrets: BTreeMap<SecretId, Made>,
    pub(super) slots: BTreeSet<SecretId>,
    pub(super) stored: Option<SecretId>,
    pub(super) sites: BTreeMap<TargetId, Site>,
    pub(super) selection: BTreeSet<TargetId>,
    pub(super) copies: Vec<Place>,
    pub(super) waves: Vec<WaveSize>,
    pub(super) refresh: Vec<RefreshWanted>,
    /// Refreshes that were started.
    pub(super) refreshes: u32,
    late: Vec<(Timestamp, Late)>,
    pub(super) journal: Vec<(Timestamp, RunnerId, Event)>,
    /// The fold of the journal up to there, so that not every run folds all of it.
    folded: (usize, State),
    condemned: BTreeSet<SecretId>,
    /// Those that a person has revoked, whoever holds them.
    revoked: BTreeSet<SecretId>,
    /// How old a list may be.
    pub(super) list_age: SignedDuration,
    /// Whether Databricks keeps lifetimes to the minute only.
    pub(super) rounds: bool,
    pub(super) creates: u32,
    pub(super) deletes: u32,
    /// Whether waves are sent out in slices.
    pub(super) sends_out: bool,
    pub(super) messages: Vec<Ticket>,
    pub(super) notes: Vec<Note<SliceResult>>,
    made: u32,
}

impl World {
    pub(super) fn new(targets: &[&str]) -> Self {
        let site = Site { holds: None, manner: Manner::Takes, dataset: None };
        let sites: BTreeMap<TargetId, Site> = targets.iter().map(|id| (TargetId::new(*id), site.clone())).collect();
        Self {
            now: "2026-11-02T08:00:00Z".parse().unwrap(),
            secrets: BTreeMap::new(),
            slots: BTreeSet::new(),
            stored: None,
            selection: sites.keys().cloned().collect(),
            sites,
            copies: Vec::new(),
            waves: vec![WaveSize::Percent(100)],
            refresh: Vec::new(),
            refreshes: 0,
            late: Vec::new(),
            journal: Vec::new(),
            folded: (0, State::default()),
            condemned: BTreeSet::new(),
            revoked: BTreeSet::new(),
            list_age: SignedDuration::ZERO,
            rounds: false,
            creates: 0,
            deletes: 0,
            sends_out: false,
            messages: Vec::new(),
            notes: Vec::new(),
            made: 0,
        }
    }

    pub(super) fn with_copy(mut self, path: &str) -> Self {
        let place = Place::File(path.into());
        self.sites.insert(place.holder(), Site { holds: None, manner: Manner::Takes, dataset: None });
        self.copies.push(place);
        self
    }

    pub(super) fn site(&mut self, id: &str) -> &mut Site {
        self.sites.get_mut(&TargetId::new(id)).unwrap()
    }

    pub(super) fn pass(&mut self, by: SignedDuration) {
        let until = self.now + by;
        loop {
            self.late.sort_by_key(|(at, _)| *at);
            if self.late.first().is_none_or(|(at, _)| *at > until) {
                break;
            }
            let (at, late) = self.late.remove(0);
            self.now = self.now.max(at);
            match late {
                Late::Write(place, secret) => self.put(&place, &secret),
                Late::Create(lifetime_s) => drop(self.make(By::Lakekey, Some(lifetime_s))),
                Late::Stage(secret) => drop(self.slots.insert(secret)),
            }
        }
        self.now = until;
    }

    pub(super) fn exists(&self, id: &SecretId) -> bool {
        self.secrets.get(id).is_some_and(|made| made.gone.is_none())
    }

    pub(super) fn alive(&self, id: &SecretId) -> bool {
        let unexpired = |made: &Made| made.listed.expires_at.is_none_or(|expires_at| expires_at > self.now);
        self.exists(id) && unexpired(&self.secrets[id])
    }

    pub(super) fn existing(&self, by: By) -> Vec<SecretId> {
        self.secrets.iter().filter(|(id, made)| made.by == by && self.exists(id)).map(|(id, _)| id.clone()).collect()
    }

    /// The list as it was so long ago.
    pub(super) fn list(&self, age: SignedDuration) -> Vec<Listed> {
        let then = self.now - age;
        let there = |made: &&Made| made.listed.created_at <= then && made.gone.is_none_or(|(gone, _)| gone > then);
        self.secrets.values().filter(there).map(|made| made.listed.clone()).collect()
    }

    /// Makes a secret; `None` when the slots are full.
    pub(super) fn make(&mut self, by: By, lifetime_s: Option<u64>) -> Option<Listed> {
        if self.secrets.values().filter(|made| made.gone.is_none()).count() >= SLOTS {
            return None;
        }
        self.made += 1;
        let id = SecretId::new(format!("{}{:03}", if by == By::Lakekey { "ours" } else { "theirs" }, self.made));
        let kept = lifetime_s.map(|seconds| if self.rounds { seconds / 60 * 60 + 60 } else { seconds });
        let expires_at = kept.map(|seconds| self.now + SignedDuration::from_secs(i64::try_from(seconds).unwrap()));
        let listed = Listed { id: id.clone(), created_at: self.now, expires_at };
        self.secrets.insert(id, Made { listed: listed.clone(), by, gone: None });
        Some(listed)
    }

    pub(super) fn person_deletes(&mut self, id: &SecretId) {
        let now = self.now;
        self.secrets.get_mut(id).unwrap().gone.get_or_insert((now, By::Person));
    }

    /// lakekey's create. `Ok(None)`: no answer.
    pub(super) fn create(&mut self, lifetime_s: u64, fate: Create) -> Result<Option<Listed>, ()> {
        self.creates += 1;
        match fate {
            Create::Answered => self.make(By::Lakekey, Some(lifetime_s)).map(Some).ok_or(()),
            Create::Doubled => {
                let first = self.make(By::Lakekey, Some(lifetime_s)).map(Some).ok_or(());
                self.make(By::Lakekey, Some(lifetime_s));
                first
            }
            Create::Refused => Err(()),
            Create::Lost(after) => {
                if let Some(after) = after {
                    self.late.push((self.now + after, Late::Create(lifetime_s)));
                    self.pass(SignedDuration::ZERO);
                }
                Ok(None)
            }
        }
    }

    pub(super) fn stage_late(&mut self, id: &SecretId, after: SignedDuration) {
        self.late.push((self.now + after, Late::Stage(id.clone())));
    }

    pub(super) fn write_late(&mut self, place: &TargetId, id: &SecretId, after: SignedDuration) {
        self.late.push((self.now + after, Late::Write(place.clone(), id.clone())));
    }

    /// A write begins: no other generation may be on its way there.
    pub(super) fn begin_write(&self, place: &TargetId, id: &SecretId) {
        assert!(!self.is_condemned(id), "deletion discipline: condemned `{id}` is sent to `{place}`");
        for (at, late) in &self.late {
            if let Late::Write(other, flying) = late {
                assert!(other != place || flying == id, "in flight: `{flying}` lands at `{place}` at {at}, `{id}` is sent");
            }
        }
    }

    pub(super) fn put(&mut self, place: &TargetId, id: &SecretId) {
        let was_alive = self.sites[place].holds.as_ref().is_some_and(|held| self.alive(held));
        let ours = self.secrets[id].gone.is_some_and(|(_, by)| by == By::Lakekey);
        let ours = ours && !self.revoked.contains(id);
        assert!(!(was_alive && ours), "G1: `{place}` gets `{id}`, which lakekey has deleted");
        self.sites.get_mut(place).unwrap().holds = Some(id.clone());
    }

    /// lakekey's DELETE.
    pub(super) fn delete(&mut self, id: &SecretId) {
        self.deletes += 1;
        assert!(self.is_condemned(id), "deletion discipline: `{id}` is deleted but not condemned");
        let Some(made) = self.secrets.get(id) else { return };
        let revoked = self.revoked.contains(id);
        assert!(revoked || made.by == By::Lakekey, "G3: `{id}` is foreign and deleted");
        if self.alive(id) && !revoked {
            let cut_off = self.sites.iter().find(|(_, site)| site.holds.as_ref() == Some(id));
            assert!(cut_off.is_none(), "G1: `{id}` is deleted, but {cut_off:?}");
        }
        let now = self.now;
        self.secrets.get_mut(id).unwrap().gone.get_or_insert((now, By::Lakekey));
    }

    pub(super) fn is_condemned(&self, id: &SecretId) -> bool {
        self.condemned.contains(id)
    }

    pub(super) fn append(&mut self, at: Timestamp, by: &RunnerId, event: Event) {
        if let Event::Condemned { secret_id, reason } = &event {
            self.condemned.insert(secret_id.clone());
            if *reason == Condemnation::Revoked {
                self.revoked.insert(secret_id.clone());
            }
        }
        self.journal.push((at, by.clone(), event));
    }

    /// The fold of the journal, as a new runner reads it.
    pub(super) fn fold(&mut self) -> State {
        let (read, state) = &mut self.folded;
        for (at, by, event) in &self.journal[*read..] {
            *read += 1;
            state.apply(*read as u64, *at, by, event).unwrap();
        }
        state.clone()
    }

    pub(super) fn dataset(&self, id: &TargetId) -> Option<DatasetRef> {
        let (dataset, owner) = self.sites[id].dataset.clone()?;
        Some(DatasetRef {
            workspace: "Sales".into(),
            group: GroupId::new("g"),
            name: dataset.to_string().into(),
            id: dataset,
            owner: Some(format!("{owner:?}").into()),
        })
    }

    pub(super) fn spec(&self, id: &TargetId) -> TargetSpec {
        let source = DatabricksSource {
            kind: SourceKind::Databricks,
            host: "adb-1.7.azuredatabricks.net".into(),
            http_path: "/sql/1.0/warehouses/w".into(),
            warehouse: None,
        };
        let at = (&GatewayId::new("g"), &DatasourceId::new("d"));
        let dataset = self.dataset(id);
        let mut spec = TargetSpec::new(TargetKind::Cloud, at, &source, dataset.clone().into_iter().collect());
        let foreign = self.sites[id].dataset.as_ref().is_some_and(|(_, owner)| *owner == By::Person);
        spec.take_over = dataset.filter(|_| foreign).map(|dataset| dataset.id);
        spec.id = id.clone();
        spec
    }

    /// lakekey takes a dataset over; `None` when it heard of a failure.
    pub(super) fn take_over(&mut self, dataset: &DatasetId, how: TakeOver) -> Option<Vec<TargetSpec>> {
        let uses = |site: &Site| site.dataset.as_ref().is_some_and(|(used, _)| used == dataset);
        let id = self.sites.iter().find(|(_, site)| uses(site)).map(|(id, _)| id.clone()).unwrap();
        let owned = self.sites[&id].dataset.as_ref().is_some_and(|(_, owner)| *owner == By::Lakekey);
        let mut now_at = id.clone();
        if how == TakeOver::Refused {
            return None;
        }
        if !owned {
            let site = self.sites.get_mut(&id).unwrap();
            site.dataset = Some((dataset.clone(), By::Lakekey));
            if how == TakeOver::Bares {
                site.holds = None;
            } else {
                let manner = site.manner;
                let rebound = Site { holds: None, manner, dataset: site.dataset.take() };
                now_at = TargetId::new(format!("{id}'"));
                self.sites.insert(now_at.clone(), rebound);
                if self.selection.remove(&id) {
                    self.selection.insert(now_at.clone());
                }
            }
        }
        (owned || how != TakeOver::RebindsUnheard).then(|| vec![self.spec(&now_at)])
    }

    pub(super) fn nothing_is_late(&self) -> bool {
        self.late.is_empty()
    }
}
