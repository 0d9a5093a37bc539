//! When a timer of this process ticks: a cron expression in UTC. The platforms have timers of their own.

use cronexpr::{Crontab, MakeTimestamp};
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::error::Error;

/// When to tick.
#[derive(Clone, Debug)]
pub struct Timetable(Crontab);

impl Timetable {
    /// Five fields; or six, as Azure has them, whose seconds are 0.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let five = match fields[..] {
            ["0", minute, hour, day, month, weekday] => [minute, hour, day, month, weekday],
            [minute, hour, day, month, weekday] => [minute, hour, day, month, weekday],
            _ => return Err(wrong(text)),
        };
        cronexpr::parse_crontab(&format!("{} UTC", five.join(" "))).map(Self).map_err(|_| wrong(text))
    }

    /// The first tick after `now`; `None` for a day that never comes.
    pub fn after(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.0.find_next(MakeTimestamp(now)).ok()?.timestamp())
    }
}

/// Waits until `at` by the clock, also where the machine slept meanwhile.
pub async fn wait_until(clock: &Clock, at: Timestamp) {
    loop {
        let left = at.duration_since(clock.now());
        if left <= SignedDuration::ZERO {
            return;
        }
        clock.sleep(left.min(NAP).unsigned_abs()).await;
    }
}

fn wrong(text: &str) -> Error {
    Error::usage("bad-schedule", format!("`{text}` is not a schedule of five cron fields"))
        .hint("write `0 * * * *` for hourly, `*/15 * * * *` for every quarter of an hour; it is read in UTC")
}

const NAP: SignedDuration = SignedDuration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_comes_after_the_one_before() {
        let after = |text: &str, now: &str| {
            Timetable::parse(text).unwrap().after(now.parse().unwrap()).map(|at| at.to_string()).unwrap_or_default()
        };
        assert_eq!(after("0 * * * *", "2026-03-02T08:00:00Z"), "2026-03-02T09:00:00Z");
        assert_eq!(after("0 0 * * * *", "2026-03-02T08:59:59Z"), "2026-03-02T09:00:00Z");
        assert_eq!(after("*/15 * * * *", "2026-03-02T08:01:00Z"), "2026-03-02T08:15:00Z");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in ["", "hourly", "0 * * *", "30 0 * * * *", "61 * * * *", "* * * * * * *"] {
            assert_eq!(Timetable::parse(text).unwrap_err().code(), "bad-schedule", "{text}");
        }
    }
}
