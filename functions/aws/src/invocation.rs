//! One invocation, as the platform describes it.

use jiff::{SignedDuration, Timestamp};
use lambda_runtime::Context;
use tracing::{Span, info_span};

/// When the platform ends an invocation. Not every host tells the time since 1970: some tell how long it may take, which a
/// real one cannot mean.
pub(crate) fn ends(context: &Context, now: Timestamp) -> Timestamp {
    let told = i64::try_from(context.deadline).unwrap_or(i64::MAX);
    if told < A_TIME_MS {
        return now.saturating_add(SignedDuration::from_millis(told)).unwrap_or(Timestamp::MAX);
    }
    Timestamp::from_millisecond(told).unwrap_or(Timestamp::MAX)
}

/// What every line of the log says of the invocation, in the words of Powertools.
pub(crate) fn span(context: &Context, cold_start: bool) -> Span {
    let config = &context.env_config;
    info_span!(
        "invocation",
        function_request_id = context.request_id,
        function_arn = context.invoked_function_arn,
        function_name = config.function_name,
        function_memory_size = config.memory,
        cold_start,
        xray_trace_id = context.xray_trace_id.as_deref().map(trace),
    )
}

/// `Root=1-…;Parent=…;Sampled=1`: the root is what other lines know a trace by.
fn trace(header: &str) -> &str {
    header.split(';').find_map(|part| part.trim().strip_prefix("Root=")).unwrap_or(header)
}

/// September 2001: less is no time of an invocation.
const A_TIME_MS: i64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_time_and_where_it_is_none_a_duration() {
        let now: Timestamp = "2026-03-02T08:00:00Z".parse().expect("a time");
        let told = |deadline: u64| {
            let mut context = Context::default();
            context.deadline = deadline;
            ends(&context, now).to_string()
        };
        assert_eq!(told(1_772_438_700_000), "2026-03-02T08:05:00Z");
        assert_eq!(told(1_772_438_100_000), "2026-03-02T07:55:00Z", "one that is over");
        assert_eq!(told(600_000), "2026-03-02T08:10:00Z", "ten minutes, as cargo-lambda tells it");
        assert_eq!(told(0), "2026-03-02T08:00:00Z");
        assert_eq!(told(u64::MAX), Timestamp::MAX.to_string());
    }

    #[test]
    fn a_trace_is_known_by_its_root() {
        assert_eq!(trace("Root=1-5e;Parent=53;Sampled=1"), "1-5e");
        assert_eq!(trace("1-5e"), "1-5e");
    }
}
