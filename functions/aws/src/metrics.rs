//! Metrics as lines of stdout in CloudWatch's embedded metric format: no request, nothing to flush, nothing lost when the
//! process freezes.

use jiff::Timestamp;
use lakekey_core::report::{CredentialMove, MoveOutcome, MoveReport, TargetOutcome};
use serde_json::{Value, json};

/// One line for each credential that a run was about. Zeros are counted too: an alarm on a day without any datum is how a
/// schedule that has stopped is noticed.
pub(crate) fn lines(service: &str, report: &MoveReport, began: Timestamp, now: Timestamp) -> Vec<Value> {
    report.credentials.iter().map(|credential| line(service, credential, began, now)).collect()
}

fn line(service: &str, credential: &CredentialMove, began: Timestamp, now: Timestamp) -> Value {
    let targets = |wanted: TargetOutcome| credential.targets.iter().filter(|target| target.outcome == wanted).count();
    let mut names = vec![
        ("Rotations", "Count", json!(u8::from(credential.outcome == MoveOutcome::Rotated))),
        ("Failures", "Count", json!(u8::from(credential.outcome == MoveOutcome::Failed))),
        ("TargetsMoved", "Count", json!(targets(TargetOutcome::Updated))),
        ("TargetsFailed", "Count", json!(targets(TargetOutcome::Failed))),
        ("TargetsParked", "Count", json!(targets(TargetOutcome::Parked))),
        ("SecretsRetired", "Count", json!(credential.retired.len())),
        ("Duration", "Milliseconds", json!(u64::try_from(now.duration_since(began).as_millis()).unwrap_or_default())),
    ];
    if let Some(expires_at) = credential.expires_at {
        names.push(("SecondsToExpiry", "Seconds", json!(expires_at.duration_since(now).as_secs())));
    }
    let metrics: Vec<Value> = names.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": [["service", "credential"]], "Metrics": metrics }],
        },
        "service": service,
        "credential": credential.name,
    });
    for (name, _, value) in names {
        line[name] = value;
    }
    line
}

const NAMESPACE: &str = "lakekey";

#[cfg(test)]
mod tests {
    use lakekey_core::ids::{CredentialName, TargetId};
    use lakekey_core::report::{Phase, TargetMove};

    use super::*;

    #[test]
    fn each_metric_that_is_declared_has_its_value_beside_it() {
        let target = |outcome| TargetMove { id: TargetId::new("powerbi:a/b"), outcome, attempts: 1, error: None, refresh: None };
        let now: Timestamp = "2026-03-02T08:00:05Z".parse().expect("a time");
        let credential = CredentialMove {
            name: CredentialName::new("sales-bi"),
            outcome: MoveOutcome::Rotated,
            phase: Phase::Draining,
            generation: None,
            secret_id: None,
            expires_at: Some("2026-03-02T09:00:05Z".parse().expect("a time")),
            targets: vec![target(TargetOutcome::Updated), target(TargetOutcome::Updated), target(TargetOutcome::Parked)],
            retired: Vec::new(),
            retire_after: None,
            error: None,
        };
        let line = line("keys", &credential, "2026-03-02T08:00:00Z".parse().expect("a time"), now);
        let declared = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("a list").clone();
        assert!(declared.iter().all(|metric| line[metric["Name"].as_str().expect("a name")].is_number()), "{line}");
        for (name, value) in [
            ("Rotations", 1),
            ("TargetsMoved", 2),
            ("TargetsParked", 1),
            ("TargetsFailed", 0),
            ("SecondsToExpiry", 3_600),
            ("Duration", 5_000),
        ] {
            assert_eq!(line[name], json!(value), "{name}");
        }
        assert_eq!((&line["credential"], &line["service"]), (&json!("sales-bi"), &json!("keys")));
    }
}
