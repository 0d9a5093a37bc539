//! What happens in one seed, written out: everything that chance decides is decided here, so that a failing plan can be
//! made smaller piece by piece and run again.

mod broader;
mod chance;
mod wider;

use lakekey_sim::{CapAnswer, Rule, TakeOver};

use crate::process::{Crash, Freeze};
use crate::universe::Trouble;

/// One seed's course.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where it came from; the cloud's own chance starts from it too.
    pub seed: u64,
    /// The customer.
    pub fleet: FleetPlan,
    /// How the services behave.
    pub services: ServicesPlan,
    /// How lakekey is set up.
    pub config: ConfigPlan,
    /// Whether the state has a lock whose release ends a lease.
    pub locked: bool,
    /// By how much each runner's clock is ahead, in milliseconds.
    pub skews_ms: Vec<i64>,
    /// Faults of the network.
    pub rules: Vec<Rule>,
    /// Faults of state and stores.
    pub trouble: Trouble,
    /// Invocations while there are faults.
    pub shifts: Vec<Shift>,
    /// What people do meanwhile.
    pub acts: Vec<(u64, Act)>,
    /// When another deployment works on the same principal, with a state of its own: a breach of the contract.
    pub rivals: Vec<u64>,
    /// Whether the config is once pointed at another principal while a rotation is open.
    pub other_principal: bool,
    /// When the faults end, in milliseconds after the start.
    pub calm_at_ms: u64,
    /// The platform that lakekey runs on, where it is not started by a person or a cron.
    pub queue: Option<QueuePlan>,
}

/// A platform: it kills what takes too long, and delivers messages as it likes.
#[derive(Clone, Copy, Debug)]
pub struct QueuePlan {
    /// How long one invocation may take, in milliseconds.
    pub ends_ms: u64,
    /// By how much a message may be late, in milliseconds.
    pub late_ms: u64,
    /// Which share of messages is delivered twice.
    pub twice: f64,
    /// Which share is never delivered.
    pub lost: f64,
}

/// The customer.
#[derive(Clone, Copy, Debug)]
pub struct FleetPlan {
    /// Data sources to move.
    pub targets: usize,
    /// Whether some are on gateways.
    pub gateways: bool,
    /// Whether there are others around.
    pub decoys: bool,
    /// Living secrets of people.
    pub foreign: usize,
    /// With which of its shapes of data sources it begins.
    pub shape: usize,
    /// Whether lakekey's identity is kept out of a workspace at first.
    pub hidden: bool,
}

/// How the services behave where they differ, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct ServicesPlan {
    /// Before each answer.
    pub latency: u64,
    /// Until lists show what was done.
    pub list_lag: u64,
    /// Until a new secret is accepted.
    pub settles: u64,
    /// Until an access token expires.
    pub token_life: u64,
    /// Rows of a page.
    pub page: usize,
    /// What the sixth create answers.
    pub cap: CapAnswer,
    /// What a take-over does to cloud sources.
    pub take_over: TakeOver,
    /// Whether expired secrets use up slots.
    pub expired_count: bool,
}

/// How lakekey is set up, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct ConfigPlan {
    /// Of one lease.
    pub lease: u64,
    /// Of a secret.
    pub lifetime: u64,
    /// Between rotations.
    pub rotate_every: u64,
    /// Before a superseded secret is deleted.
    pub grace: u64,
    /// Whether there is a second place for the value.
    pub copy: bool,
    /// Whether the store holds the people's secret at first, for lakekey to adopt.
    pub adopt: bool,
    /// The sizes of waves; none given is one wave.
    pub waves: &'static [&'static str],
    /// Whether datasets are refreshed afterwards, and whether their end is waited for.
    pub refresh: Option<bool>,
}

impl ConfigPlan {
    /// The shortest grace that this lease allows.
    pub fn shortest_grace(&self) -> u64 {
        (self.lease + self.lease / 4 + self.lease * 2 / 7 + 2).min(self.grace)
    }
}

/// One invocation of `lakekey rotate`.
#[derive(Clone, Copy, Debug)]
pub struct Shift {
    /// When it starts, in milliseconds after the start.
    pub at_ms: u64,
    /// By which runner.
    pub runner: usize,
    /// What it is asked.
    pub ask: Ask,
    /// When it dies.
    pub crash: Option<Crash>,
    /// When it stands still.
    pub freeze: Option<Freeze>,
    /// What a person does right after one of its effects.
    pub meanwhile: Option<(u64, Act)>,
    /// How its config differs.
    pub edit: Option<Edit>,
}

impl Shift {
    /// An invocation at the start, to which nothing happens.
    pub fn plain(ask: Ask) -> Self {
        Self { at_ms: 0, runner: 0, ask, crash: None, freeze: None, meanwhile: None, edit: None }
    }
}

/// How the config of one invocation differs from the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edit {
    /// Another grace, eight times as long if the lifetime allows.
    LongerGrace,
    /// The shortest grace that the lease allows.
    ShorterGrace,
    /// Only the data sources on one warehouse are selected.
    FewerTargets,
    /// Copies where there were none, none where there were some.
    OtherCopies,
    /// The value is kept in another place.
    OtherStore,
    /// Waves where there was one, one where there were several.
    OtherWaves,
    /// Secrets live twice as long and are rotated half as often.
    SlowerRhythm,
    /// No dataset is taken over any more.
    NoTakeOver,
    /// New secrets are not proved by a query.
    NoQuery,
    /// Another service principal.
    OtherPrincipal,
}

/// What an invocation is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `rotate`
    Rotate,
    /// `rotate --force`
    Force,
    /// `reapply`
    Reapply,
    /// `reapply --refresh`
    Refresh,
    /// `rollback`
    Rollback,
    /// `revoke`
    Revoke,
    /// `revoke --foreign`
    RevokeForeign,
}

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Makes a secret by hand.
    Mints,
    /// Deletes one of the secrets that people made.
    DeletesForeign,
    /// Deletes one of lakekey's, by its place in the list.
    DeletesOurs(usize),
    /// Points a data source elsewhere.
    Repoints(usize),
    /// Deletes a dataset that uses a data source.
    DeletesDataset(usize),
    /// Deletes a data source.
    DeletesSource(usize),
    /// Takes a dataset for themselves.
    Owns(usize),
    /// Stops the warehouses.
    StopsWarehouses,
    /// Takes the principal's right to use a warehouse away.
    RevokesUse,
    /// Takes lakekey's identity out of a data source's workspaces: its datasets disappear from all lists.
    Hides(usize),
    /// Puts it back into all of them.
    Shows,
    /// Makes lakekey's identity no longer an admin of a data source's gateway.
    TakesGateway(usize),
    /// Puts a secret into a data source that is none.
    Mistypes(usize),
    /// Adds a dataset with a data source like another one, whose secret is wrong.
    AddsSource(usize),
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        broader::plan(seed, Self::wide(seed))
    }

    /// The plan of a seed without what `broader` adds.
    pub fn wide(seed: u64) -> Self {
        wider::plan(seed, Self::narrow(seed))
    }

    /// The plan of a seed without what `wider` adds. What a seed once showed it shows as long as its plan stays as it was.
    pub fn narrow(seed: u64) -> Self {
        chance::plan(seed)
    }

    /// Whether one of the runs is asked for this.
    pub fn asks(&self, ask: Ask) -> bool {
        self.shifts.iter().any(|shift| shift.ask == ask)
    }

    /// Whether somebody does something of this kind.
    pub fn has_act(&self, is: impl Fn(Act) -> bool) -> bool {
        let meanwhile = self.shifts.iter().filter_map(|shift| shift.meanwhile);
        self.acts.iter().copied().chain(meanwhile).any(|(_, act)| is(act))
    }

    /// A day without any trouble, for measuring and for the crash matrix.
    pub fn calm(seed: u64, targets: usize, gateways: bool) -> Self {
        Self {
            seed,
            fleet: FleetPlan { targets, gateways, decoys: false, foreign: 0, shape: 0, hidden: false },
            services: ServicesPlan {
                latency: 0,
                list_lag: 0,
                settles: 1_000,
                token_life: 3_600_000,
                page: 3,
                cap: CapAnswer::LimitExceeded,
                take_over: TakeOver::Rebinds,
                expired_count: true,
            },
            config: ConfigPlan {
                lease: 900,
                lifetime: 14 * 86_400,
                rotate_every: 7 * 86_400,
                grace: 86_400,
                copy: false,
                adopt: false,
                waves: &[],
                refresh: None,
            },
            locked: true,
            skews_ms: vec![0],
            rules: Vec::new(),
            trouble: Trouble::default(),
            shifts: Vec::new(),
            acts: Vec::new(),
            rivals: Vec::new(),
            other_principal: false,
            calm_at_ms: 0,
            queue: None,
        }
    }

    /// How long a request may take before it is given up: the config's own rule.
    pub fn request_timeout_ms(&self) -> u64 {
        (self.config.lease * 1_000 / 4).min(60_000)
    }

    /// By how much clocks may differ: the config's own rule.
    pub fn skew_ms(&self) -> u64 {
        (self.config.lease * 1_000 / 7).min(120_000)
    }

    /// The plan for people to read, on a few lines.
    pub fn describe(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "seed {}: {:?}\n  {:?}\n  {:?}, lock: {}\n  clocks ahead by {:?} ms, storage trouble {:?}, faults end after {} s\n",
            self.seed,
            self.fleet,
            self.services,
            self.config,
            self.locked,
            self.skews_ms,
            self.trouble,
            self.calm_at_ms / 1_000
        );
        if let Some(queue) = &self.queue {
            let _ = writeln!(text, "  {queue:?}");
        }
        for rule in &self.rules {
            let _ = writeln!(text, "  fault  {}", describe(rule));
        }
        for shift in &self.shifts {
            let _ = writeln!(
                text,
                "  run    at {:.1} s by runner {}: {:?}{}{}{}{}",
                shift.at_ms as f64 / 1e3,
                shift.runner,
                shift.ask,
                shift.crash.map(|crash| format!(", dies at effect {} {:?}", crash.at, crash.when)).unwrap_or_default(),
                shift
                    .freeze
                    .map(|freeze| format!(", stands still after effect {} for {} s", freeze.at, freeze.ms / 1_000))
                    .unwrap_or_default(),
                shift.meanwhile.map(|(at, act)| format!(", a person after effect {at}: {act:?}")).unwrap_or_default(),
                shift.edit.map(|edit| format!(", config: {edit:?}")).unwrap_or_default(),
            );
        }
        for (at, act) in &self.acts {
            let _ = writeln!(text, "  person at {:.1} s: {act:?}", *at as f64 / 1e3);
        }
        for at in &self.rivals {
            let _ = writeln!(text, "  rival  at {:.1} s", *at as f64 / 1e3);
        }
        if self.other_principal {
            let _ = writeln!(text, "  another principal in the config after the faults");
        }
        text
    }
}

fn describe(rule: &Rule) -> String {
    let service = rule.service.as_deref().unwrap_or("any service");
    let method = rule.method.as_deref().unwrap_or("any method");
    let path = rule.path.as_deref().unwrap_or("any path");
    let share = rule.probability.unwrap_or(1.0) * 100.0;
    let times = rule.times.map(|times| format!(", {times} times")).unwrap_or_default();
    format!("{service} {method} {path}: {share:.1} %{times}: {:?}", rule.action)
}
