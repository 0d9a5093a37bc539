//! When rotations may start: recurring windows and freezes. Pure; the time is passed in.
//!
//! A window's starts are civil times. A start that daylight saving skips happens at the moment of the change, one that it
//! repeats happens once, at the first pass; so every start of the cron expression happens exactly once.

use std::time::Duration;

use aws_lc_rs::digest;
use cronexpr::{Crontab, MakeTimestamp};
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// Shortest window: the scheduler must get a chance to run inside it.
pub(super) const LENGTH_MIN: Duration = Duration::from_secs(5 * 60);

/// Longest window; a longer one would leave hardly anything outside it.
pub(super) const LENGTH_MAX: Duration = Duration::from_secs(31 * 86_400);

/// Over how many days from `GAP_SCAN_START` gaps are looked for; more than a year, so that both changes of clocks count.
const GAP_SCAN_DAYS: i64 = 370;
const GAP_SCAN_START: Date = Date::constant(2027, 1, 1);

/// A recurring window.
#[derive(Clone, Debug)]
pub struct Window {
    /// As written, for messages.
    cron: String,
    /// Evaluated in civil time, hence parsed as UTC.
    starts: Crontab,
    zone: TimeZone,
    length: Duration,
}

impl Window {
    /// A window that opens whenever `cron` (five fields) fires in `timezone` (an IANA name) and stays open for `length`.
    pub fn new(cron: &str, timezone: &str, length: Duration) -> Result<Self, WindowError> {
        let zone = TimeZone::get(timezone).map_err(|_| WindowError::Zone)?;
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            return Err(WindowError::Length);
        }
        if cron.split_whitespace().count() != 5 {
            return Err(WindowError::Cron);
        }
        let starts = cronexpr::parse_crontab(&format!("{cron} UTC")).map_err(|_| WindowError::Cron)?;
        let window = Self { cron: cron.to_owned(), starts, zone, length };
        let scan = utc(GAP_SCAN_START.at(0, 0, 0, 0)).ok_or(WindowError::Never)?;
        window.start_after(scan).ok_or(WindowError::Never)?;
        Ok(window)
    }

    /// Whether a rotation may start now.
    pub fn is_open(&self, now: Timestamp) -> bool {
        // Open means that a start lies in (now - length, now].
        let earliest = now.saturating_sub(self.length).unwrap_or(Timestamp::MIN);
        self.start_after(earliest).is_some_and(|start| start <= now)
    }

    /// The first moment from `now` on at which a rotation may start; `None` if there is none within four years.
    pub fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_open(now) { Some(now) } else { self.start_after(now) }
    }

    /// The longest time between the end of a window and the start of the next, over a fixed year; zero if they overlap.
    pub fn longest_gap(&self) -> Duration {
        let Some(mut open_until) = utc(GAP_SCAN_START.at(0, 0, 0, 0)) else { return Duration::MAX };
        let scan_end = open_until.saturating_add(SignedDuration::from_hours(24 * GAP_SCAN_DAYS)).unwrap_or(Timestamp::MAX);
        let mut longest = SignedDuration::ZERO;
        let mut first = true;
        while open_until < scan_end {
            let Some(start) = self.last_start_before_closing(open_until) else { return Duration::MAX };
            // The scan begins in the middle of nowhere: what precedes the first window is no gap between two.
            if !first {
                longest = longest.max(start.duration_since(open_until));
            }
            first = false;
            let Ok(end) = start.saturating_add(self.length) else { return Duration::MAX };
            open_until = end;
        }
        Duration::try_from(longest).unwrap_or(Duration::ZERO)
    }

    /// The cron expression, as written.
    pub fn cron(&self) -> &str {
        &self.cron
    }

    /// The zone in which the window's starts are meant.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// How long the window stays open.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// The last start up to `open_until` that keeps the window open beyond it, else the first one after it.
    fn last_start_before_closing(&self, open_until: Timestamp) -> Option<Timestamp> {
        let mut low = open_until.saturating_sub(self.length).ok()?;
        let mut found = self.start_after(low)?;
        let mut high = open_until;
        // "A start follows within the window" holds up to the last such start: bisect for it, to the minute.
        while found <= high && high.duration_since(low) > SignedDuration::from_mins(1) {
            let middle = low + high.duration_since(low) / 2;
            match self.start_after(middle)? {
                start if start <= open_until => (low, found) = (middle.max(found), start),
                _ => high = middle,
            }
        }
        Some(found)
    }

    /// The first start strictly after `after`.
    fn start_after(&self, after: Timestamp) -> Option<Timestamp> {
        // `moment` never decreases, and the civil time of `after` maps to `after` or before: only later ones can qualify.
        let mut civil = self.zone.to_datetime(after);
        loop {
            let next = self.starts.find_next(MakeTimestamp(utc(civil)?)).ok()?;
            civil = next.datetime();
            let moment = self.moment(civil)?;
            if moment > after {
                return Some(moment);
            }
        }
    }

    fn moment(&self, civil: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(civil).ok()
            }
            AmbiguousOffset::Gap { after, .. } => {
                let before_change = after.to_timestamp(civil).ok()?;
                self.zone.following(before_change).next().map(|change| change.timestamp())
            }
        }
    }
}

/// Why a window is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// No such time zone.
    #[error("the time zone is not known")]
    Zone,
    /// No cron expression of five fields.
    #[error("the cron expression is not five valid fields: minute, hour, day of month, month, day of week")]
    Cron,
    /// Too short or too long.
    #[error("a window is between 5m and 31d long")]
    Length,
    /// The expression never fires.
    #[error("the cron expression never fires")]
    Never,
}

/// Whether a day of `freeze` (both ends included, civil days in `zone`) has begun and not ended.
pub fn in_freeze(freeze: &[(Date, Date)], zone: &TimeZone, now: Timestamp) -> bool {
    let today = zone.to_datetime(now).date();
    freeze.iter().any(|(first, last)| (*first..=*last).contains(&today))
}

/// The first moment from `now` on that lies in the window, if there is one, and in no freeze. Days of a freeze are days
/// in the window's zone, else in UTC.
pub fn next_start(window: Option<&Window>, freeze: &[(Date, Date)], now: Timestamp) -> Option<Timestamp> {
    let zone = window.map_or(TimeZone::UTC, |window| window.zone().clone());
    let mut moment = now;
    // Each turn leaves at least one range behind, or ends.
    for _ in 0..=freeze.len() {
        moment = window.map_or(Some(moment), |window| window.next_open(moment))?;
        let today = zone.to_datetime(moment).date();
        let Some((_, last)) = freeze.iter().find(|(first, last)| (*first..=*last).contains(&today)) else {
            return Some(moment);
        };
        moment = last.tomorrow().ok()?.to_zoned(zone.clone()).ok()?.timestamp();
    }
    None
}

/// When the rotations of one credential may start, and where among the others of its kind.
#[derive(Clone, Debug, Default)]
pub struct Calendar {
    window: Option<Window>,
    freeze: Vec<(Date, Date)>,
    /// In thousandths: where in a range this credential's turn is.
    turn: u16,
}

impl Calendar {
    /// The calendar of the credential with this name. The turn is a hash of the name, so that a hundred credentials that were
    /// set up together do not start in the same minute, and each has the same turn on every machine.
    pub fn new(window: Option<Window>, freeze: Vec<(Date, Date)>, name: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, name.as_bytes());
        let number = hash.as_ref().iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        Self { window, freeze, turn: u16::try_from(number % 1_000).unwrap_or(0) }
    }

    /// The first moment from `now` on that lies in the window and in no freeze; `None` if there is none.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        next_start(self.window.as_ref(), &self.freeze, now)
    }

    /// Whether a freeze, rather than the window alone, decides when that is.
    pub fn is_frozen(&self, now: Timestamp) -> bool {
        self.next(now) != next_start(self.window.as_ref(), &[], now)
    }

    /// The same as `next`, at this credential's turn in its window. An hourly timer still comes by while the window is open.
    pub fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        let start = self.next(now)?;
        let Some(window) = &self.window else { return Some(start) };
        let turn = self.share(window.length.saturating_sub(TIMER).min(WINDOW_SPREAD_MAX));
        let Some(opened) = window.start_after(start.saturating_sub(window.length).ok()?) else { return Some(start) };
        Some(opened.saturating_add(turn).ok()?.max(start))
    }

    /// Where in a range of this length the credential's turn is.
    pub fn share(&self, range: Duration) -> SignedDuration {
        SignedDuration::try_from(range * u32::from(self.turn) / 1_000).unwrap_or(SignedDuration::ZERO)
    }
}

/// What must be left of a window when a turn begins: an hourly timer, and what it may be late.
const TIMER: Duration = Duration::from_secs(65 * 60);
/// Turns in a window lie in its first two hours.
const WINDOW_SPREAD_MAX: Duration = Duration::from_secs(2 * 3_600);

fn utc(civil: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn window(cron: &str, zone: &str, length: Duration) -> Window {
        Window::new(cron, zone, length).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_is_open_from_its_start_until_just_before_its_end() {
        let nightly = window("0 2 * * 1-5", "Europe/Berlin", 3 * HOUR);
        assert!(!nightly.is_open(at("2026-11-23T00:59:59.999Z")));
        assert!(nightly.is_open(at("2026-11-23T01:00:00Z")));
        assert!(nightly.is_open(at("2026-11-23T03:59:59.999Z")));
        assert!(!nightly.is_open(at("2026-11-23T04:00:00Z")));
        assert_eq!(nightly.next_open(at("2026-11-27T04:00:00Z")), Some(at("2026-11-30T01:00:00Z")));
        assert_eq!(nightly.next_open(at("2026-11-30T01:30:00Z")), Some(at("2026-11-30T01:30:00Z")));
    }

    #[test]
    fn a_start_that_daylight_saving_skips_happens_at_the_change() {
        let nightly = window("30 2 * * *", "Europe/Berlin", HOUR);
        assert_eq!(nightly.next_open(at("2027-03-28T00:00:00Z")), Some(at("2027-03-28T01:00:00Z")));
        assert!(nightly.is_open(at("2027-03-28T01:59:00Z")));
        assert!(!nightly.is_open(at("2027-03-28T02:00:00Z")));
        let often = window("15,30 2-3 * * *", "Europe/Berlin", HOUR / 12);
        assert_eq!(often.next_open(at("2027-03-28T00:00:00Z")), Some(at("2027-03-28T01:00:00Z")));
        assert_eq!(often.next_open(at("2027-03-28T01:05:00Z")), Some(at("2027-03-28T01:15:00Z")));
    }

    #[test]
    fn a_start_that_daylight_saving_repeats_happens_once() {
        let nightly = window("30 2 * * *", "Europe/Berlin", Duration::from_secs(600));
        assert_eq!(nightly.next_open(at("2026-10-25T00:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
        assert!(!nightly.is_open(at("2026-10-25T01:30:00Z")));
        assert_eq!(nightly.next_open(at("2026-10-25T01:00:00Z")), Some(at("2026-10-26T01:30:00Z")));
    }

    #[test]
    fn the_longest_gap_is_the_weekend_and_an_hour_when_clocks_go_back() {
        // Friday 05:00 to Monday 02:00; on the Sunday in October the day has 25 hours.
        assert_eq!(window("0 2 * * 1-5", "Europe/Berlin", 3 * HOUR).longest_gap(), 70 * HOUR);
        assert_eq!(window("0 2 * * 1-5", "UTC", 3 * HOUR).longest_gap(), 69 * HOUR);
        assert_eq!(window("0 0 1 * *", "UTC", 24 * HOUR).longest_gap(), 30 * 24 * HOUR);
        assert_eq!(window("0 0,6,12,18 * * *", "UTC", 7 * HOUR).longest_gap(), Duration::ZERO);
        assert_eq!(window("* 2-4 * * *", "UTC", HOUR).longest_gap(), 24 * HOUR - 2 * HOUR - 59 * HOUR / 60 - HOUR);
        assert_eq!(window("* * * * *", "UTC", HOUR).longest_gap(), Duration::ZERO);
        assert_eq!(window("* * * 1 *", "UTC", 24 * HOUR).longest_gap(), (365 - 31) * 24 * HOUR - 24 * HOUR + HOUR / 60);
    }

    #[test]
    fn a_hundred_credentials_take_turns_in_a_window_and_an_hour_of_it_is_left() {
        let nightly = window("0 2 * * *", "UTC", 3 * HOUR);
        let opens = at("2026-11-23T02:00:00Z");
        let starts: std::collections::BTreeSet<Timestamp> = (0..100)
            .map(|number| Calendar::new(Some(nightly.clone()), Vec::new(), &format!("credential-{number}")))
            .map(|calendar| calendar.next_turn(opens - SignedDuration::from_hours(5)).unwrap())
            .collect();
        assert!(starts.len() > 60, "{}", starts.len());
        assert!(starts.iter().all(|start| (opens..opens + SignedDuration::from_mins(115)).contains(start)), "{starts:?}");
        let own = Calendar::new(Some(nightly), Vec::new(), "sales-bi");
        let turn = own.next_turn(opens).unwrap();
        assert_eq!(own.next_turn(turn), Some(turn), "it stays open from there");
        assert_eq!(own.next_turn(opens + SignedDuration::from_mins(179)), Some(opens + SignedDuration::from_mins(179)));
        let short = Calendar::new(Some(window("0 2 * * *", "UTC", HOUR)), Vec::new(), "sales-bi");
        assert_eq!(short.next_turn(opens), Some(opens), "a timer must be able to meet it");
        assert_eq!(Calendar::default().next_turn(opens), Some(opens));
    }

    #[test]
    fn what_is_no_window_says_why() {
        let error = |cron, zone, length| Window::new(cron, zone, length).map(|_| ()).unwrap_err();
        assert_eq!(error("0 2 * * *", "Europe/Berlino", HOUR), WindowError::Zone);
        assert_eq!(error("0 2 * *", "UTC", HOUR), WindowError::Cron);
        assert_eq!(error("0 2 * * * UTC", "UTC", HOUR), WindowError::Cron);
        assert_eq!(error("61 2 * * *", "UTC", HOUR), WindowError::Cron);
        assert_eq!(error("0 2 30 2 *", "UTC", HOUR), WindowError::Never);
        assert_eq!(error("0 2 * * *", "UTC", HOUR / 60), WindowError::Length);
    }

    #[test]
    fn a_freeze_includes_both_its_days_in_the_zone_of_the_window() {
        let freeze = [("2026-12-20".parse().unwrap(), "2027-01-03".parse().unwrap())];
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        assert!(!in_freeze(&freeze, &berlin, at("2026-12-19T22:59:59Z")));
        assert!(in_freeze(&freeze, &berlin, at("2026-12-19T23:00:00Z")));
        assert!(in_freeze(&freeze, &berlin, at("2027-01-03T22:59:59Z")));
        assert!(!in_freeze(&freeze, &berlin, at("2027-01-03T23:00:00Z")));

        let nightly = window("0 2 * * 1-5", "Europe/Berlin", 3 * HOUR);
        assert_eq!(next_start(Some(&nightly), &freeze, at("2026-12-24T12:00:00Z")), Some(at("2027-01-04T01:00:00Z")));
        assert_eq!(next_start(None, &freeze, at("2026-12-24T12:00:00Z")), Some(at("2027-01-04T00:00:00Z")));
        assert_eq!(next_start(None, &[], at("2026-12-24T12:00:00Z")), Some(at("2026-12-24T12:00:00Z")));
    }
}
