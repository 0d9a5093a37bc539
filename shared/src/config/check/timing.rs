//! Times against each other: lease and skew, lifetime, rotation, grace and windows. The floors are those of the protocol
//! (`rotation.rs`): a write that was given up may still land until its timeout and the clocks' difference have passed.

use std::time::Duration;

use jiff::civil::Date;

use super::Checker;
use crate::config::document::{CredentialPart, DefaultsPart, DurationText, StateSettings, WindowPart};
use crate::config::duration::format;
use crate::config::problem::shown;
use crate::config::schedule::{Window, WindowError};
use crate::config::tree::Place;

const LEASE_DEFAULT: Duration = Duration::from_secs(15 * 60);
const LEASE_MIN: Duration = Duration::from_secs(30);
const SKEW_DEFAULT_MAX: Duration = Duration::from_secs(2 * 60);
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// What must be left of a lease for work, after the time that is kept back for a last request.
const LEASE_WORK_MIN: Duration = Duration::from_secs(5);

const LIFETIME_DEFAULT: Duration = Duration::from_secs(14 * 86_400);
const ROTATE_EVERY_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
const GRACE_DEFAULT: Duration = Duration::from_secs(86_400);

/// The lifetime fingerprint takes up to an hour off; a secret must outlive that.
const LIFETIME_MIN: Duration = Duration::from_secs(2 * 3_600);
const LIFETIME_MAX: Duration = Duration::from_secs(730 * 86_400);

/// Old secrets that a stuck target pins pile up, and Databricks has five slots.
const LIFETIME_ROTATIONS_MAX: u32 = 3;

pub(super) struct LeaseTiming {
    pub(super) lease: Duration,
    pub(super) skew: Duration,
    pub(super) request_timeout: Duration,
}

pub(super) struct CredentialTiming {
    pub(super) lifetime: Duration,
    pub(super) rotate_every: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) window: Option<Window>,
    pub(super) freeze: Vec<(Date, Date)>,
}

/// The section `defaults`, if there is one.
#[derive(Clone, Copy)]
pub(super) struct Defaults<'a> {
    pub(super) part: Option<&'a DefaultsPart>,
    pub(super) place: Place<'a>,
}

/// Where the values of a credential stand: with itself, else with the defaults.
#[derive(Clone, Copy)]
struct Sources<'a> {
    credential: Place<'a>,
    defaults: Place<'a>,
}

impl<'a> Sources<'a> {
    fn place(self, key: &str) -> Place<'a> {
        if !self.credential.has(key) && self.defaults.has(key) { self.defaults.key(key) } else { self.credential.key(key) }
    }
}

impl Checker<'_> {
    pub(super) fn lease_timing(&mut self, settings: &StateSettings, place: Place<'_>) -> LeaseTiming {
        let lease = self.duration_text(settings.lease.as_ref(), place.key("lease")).unwrap_or(LEASE_DEFAULT);
        let skew = self.duration_text(settings.skew.as_ref(), place.key("skew"));
        let skew = skew.unwrap_or_else(|| SKEW_DEFAULT_MAX.min(lease / 7));
        let request_timeout = REQUEST_TIMEOUT_MAX.min(lease / 4);
        let kept_back = request_timeout + skew + LEASE_WORK_MIN;
        if lease < LEASE_MIN {
            let message = format!("a lease of {} is too short", format(lease));
            self.problem(place.key("lease").at(), "lease-too-short", message, format!("give it at least {}", format(LEASE_MIN)));
        } else if lease <= kept_back {
            let at = if settings.skew.is_some() { place.key("skew") } else { place.key("lease") }.at();
            let message = format!(
                "a lease of {} leaves no time to work: a request may take {} and clocks differ by {}",
                format(lease),
                format(request_timeout),
                format(skew),
            );
            let missing = format(kept_back.saturating_sub(lease) + Duration::from_secs(1));
            self.problem(
                at,
                "lease-too-short",
                message,
                format!("make `lease` at least {missing} longer, or `skew` that much shorter"),
            );
        }
        LeaseTiming { lease, skew, request_timeout }
    }

    /// Checks the defaults by themselves, whether or not a credential uses them.
    pub(super) fn defaults(&mut self, Defaults { part, place }: Defaults<'_>) {
        let Some(part) = part else { return };
        self.duration_text(part.lifetime.as_ref(), place.key("lifetime"));
        self.duration_text(part.grace.as_ref(), place.key("grace"));
        if let Some(text) = part.rotate_every.as_deref().filter(|text| *text != "manual") {
            self.duration(text, place.key("rotate_every"));
        }
    }

    pub(super) fn timing(&mut self, part: &CredentialPart, place: Place<'_>, defaults: Defaults<'_>) -> CredentialTiming {
        let sources = Sources { credential: place, defaults: defaults.place };
        let defaults = defaults.part;
        let own_or = |own: &Option<DurationText>, pick: fn(&DefaultsPart) -> &Option<DurationText>| {
            own.clone().or_else(|| defaults.and_then(|defaults| pick(defaults).clone()))
        };
        let lifetime = own_or(&part.lifetime, |defaults| &defaults.lifetime);
        let lifetime = self.duration_text(lifetime.as_ref(), sources.place("lifetime"));
        let grace = own_or(&part.grace, |defaults| &defaults.grace);
        let grace = self.duration_text(grace.as_ref(), sources.place("grace"));
        let every = part.rotate_every.as_deref().or_else(|| defaults.and_then(|defaults| defaults.rotate_every.as_deref()));
        let every_place = sources.place("rotate_every");
        let rotate_every = match every {
            Some("manual") => None,
            Some(text) => Some(self.duration(text, every_place).unwrap_or(ROTATE_EVERY_DEFAULT)),
            None => Some(ROTATE_EVERY_DEFAULT),
        };
        let window = part.window.as_ref().and_then(|window| self.window(window, place.key("window")));
        let freeze = self.freeze(part.freeze.as_deref().unwrap_or_default(), place.key("freeze"));
        let timing = CredentialTiming {
            lifetime: lifetime.unwrap_or(LIFETIME_DEFAULT),
            rotate_every,
            grace: grace.unwrap_or(GRACE_DEFAULT),
            window,
            freeze,
        };
        self.times_fit(&timing, sources);
        timing
    }

    fn times_fit(&mut self, timing: &CredentialTiming, sources: Sources<'_>) {
        let CredentialTiming { lifetime, rotate_every, grace, window, .. } = timing;
        let lifetime_at = sources.place("lifetime").at();
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(lifetime) {
            let message = format!("a lifetime of {} is out of range", format(*lifetime));
            let hint = format!("give it {} to {}", format(LIFETIME_MIN), format(LIFETIME_MAX));
            self.problem(lifetime_at, "lifetime-out-of-range", message, hint);
        }
        if let Some(every) = rotate_every.filter(|every| *lifetime > *every * LIFETIME_ROTATIONS_MAX) {
            let message = format!(
                "a lifetime of {} spans more than {LIFETIME_ROTATIONS_MAX} rotations of {}, and a stuck target would fill the five slots",
                format(*lifetime),
                format(every),
            );
            let hint = format!(
                "set `lifetime` to at most {}, or `rotate_every` to at least {}",
                format(every * LIFETIME_ROTATIONS_MAX),
                format(Duration::from_secs(lifetime.as_secs().div_ceil(u64::from(LIFETIME_ROTATIONS_MAX)))),
            );
            self.problem(lifetime_at, "lifetime-too-long", message, hint);
        }
        let gap = window.as_ref().map_or(Duration::ZERO, Window::longest_gap);
        let needed = rotate_every.unwrap_or_default().saturating_add(gap).saturating_add(*grace);
        if needed > *lifetime {
            let every = rotate_every.map(|every| format!("`rotate_every` {}, ", format(every))).unwrap_or_default();
            let message = format!(
                "{every}the longest gap between windows {} and `grace` {} add up to {}, more than the lifetime of {}",
                format(gap),
                format(*grace),
                format(needed),
                format(*lifetime),
            );
            let hint =
                "make `lifetime` longer, or one of the others shorter: a secret must not expire before its successor is in place";
            self.problem(lifetime_at, "rotation-does-not-fit", message, hint);
        }
        let Some(state) = &self.state else { return };
        let floor = state.lease + state.request_timeout + state.skew * 2;
        if *grace < floor {
            let message = format!("a grace of {} is too short: a delayed write may still land after it", format(*grace));
            let hint = format!("give it at least {} (lease, request timeout and twice the skew)", format(floor));
            self.problem(sources.place("grace").at(), "grace-too-short", message, hint);
        }
    }

    fn window(&mut self, part: &WindowPart, place: Place<'_>) -> Option<Window> {
        let length = self.duration_text(part.length.as_ref(), place.key("length"));
        let (cron, zone) = (part.cron.as_deref()?, part.timezone.as_deref().unwrap_or("UTC"));
        // With a length that is wrong, the other two are still looked at.
        let window = Window::new(cron, zone, length.unwrap_or(crate::config::schedule::LENGTH_MIN));
        match window {
            Ok(window) => length.map(|_| window),
            Err(error) => {
                let (key, hint) = match error {
                    WindowError::Zone => ("timezone", "write an IANA name such as `Europe/Berlin`"),
                    WindowError::Cron => ("cron", "write for example `0 2 * * 1-5`: at 02:00 from Monday to Friday"),
                    WindowError::Never => ("cron", "name a day that exists"),
                    WindowError::Length => ("length", "give it `5m` to `31d`"),
                };
                self.problem(place.key(key).at(), "bad-window", error.to_string(), hint);
                None
            }
        }
    }

    fn freeze(&mut self, ranges: &[String], place: Place<'_>) -> Vec<(Date, Date)> {
        let mut freeze = Vec::new();
        for (index, text) in ranges.iter().enumerate() {
            let (first, last) = text.split_once("..").unwrap_or((text, text));
            match (first.trim().parse::<Date>(), last.trim().parse::<Date>()) {
                (Ok(first), Ok(last)) if first <= last => freeze.push((first, last)),
                (first, last) => {
                    let why = if first.is_ok() && last.is_ok() { "it ends before it begins" } else { "it has no valid dates" };
                    let message = format!("{} is not a range of days: {why}", shown(text));
                    self.problem(place.item(index).at(), "bad-freeze", message, "write it like `2026-12-20..2027-01-03`");
                }
            }
        }
        freeze
    }
}
