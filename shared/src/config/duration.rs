//! Durations as the config writes them: one whole number and one unit, `90s 15m 24h 14d`. Parsing never overflows, and
//! what [`format()`] prints parses back to the same duration.

use std::time::Duration;

/// Units from the largest, with their length in seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Longest duration that a config may name: a century, so that adding a few of them cannot overflow.
const DURATION_MAX: Duration = Duration::from_secs(36_500 * 86_400);

/// Parses `90s`, `15m`, `24h` or `14d`; the error is a phrase that says what is wrong.
pub fn parse(text: &str) -> Result<Duration, String> {
    let unit = text.chars().next_back().and_then(|last| UNITS.iter().find(|(unit, _)| *unit == last));
    let Some((unit, seconds)) = unit else {
        return Err("a duration is a whole number and one of `s`, `m`, `h`, `d`".to_owned());
    };
    let digits = text.strip_suffix(*unit).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a duration is a whole number before the `{unit}`"));
    }
    let duration = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(*seconds)).map(Duration::from_secs);
    match duration {
        Some(Duration::ZERO) => Err("a duration is more than nothing".to_owned()),
        Some(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err("the duration is longer than a century".to_owned()),
    }
}

/// Prints a duration in the largest unit that keeps it whole; fractions of a second are rounded up.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    let whole = |(_, length): &&(char, u64)| seconds > 0 && seconds.is_multiple_of(*length);
    let (unit, length) = UNITS.iter().find(whole).copied().unwrap_or(('s', 1));
    format!("{}{unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_units_parse_and_print_alike() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("25h", 90_000), ("14d", 1_209_600)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)));
            assert_eq!(format(Duration::from_secs(seconds)), text);
        }
        assert_eq!(format(Duration::from_millis(4_285)), "5s");
        assert_eq!(format(Duration::from_secs(86_400)), "1d");
        assert_eq!(format(Duration::ZERO), "0s");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["", "d", "14", "1.5h", "-1d", "+1d", "1 d", "1w", "1d2h", "0s", "99999999999999999999d", "40000d", "1д", "٣d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
