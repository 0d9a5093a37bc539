//! The JSON of the contract, letter by letter: each text is read into its struct and must come out unchanged, so that a
//! field that is renamed, moved, dropped or left out when empty shows here.

use serde::de::DeserializeOwned;

use super::*;
use crate::ids::{CredentialName, RunnerId};

fn survives<T: DeserializeOwned + Serialize>(text: &str) {
    // Indentation is for the reader of this file; no value below has two spaces or a line break in it.
    let compact: String = text.lines().map(str::trim_start).collect();
    let report: T = serde_json::from_str(&compact).expect("the text is what the struct reads");
    assert_eq!(serde_json::to_string(&report).expect("reports are JSON"), compact);
}

#[test]
fn plan() {
    survives::<PlanReport>(
        r#"{"credentials":[{"name":"sales-bi","phase":"idle","due":true,"reason":"the last rotation was 8 days ago",
        "service_principal":{"id":"1234567890123456789","application_id":"0f1c2d3e-0000-4000-8000-000000000001","exists":true},
        "secrets":{"used":2,"cap":5,"foreign":1},
        "steps":[{"action":"mint","subject":"https://adb-1.1.azuredatabricks.net","detail":"lives for 14 days"},
        {"action":"verify","subject":"https://adb-1.1.azuredatabricks.net","detail":null}],
        "targets":[{"id":"powerbi:g1/d1","kind":"cloud","host":"adb-1.1.azuredatabricks.net","warehouse":"1234567890abcdef",
        "wave":1,"datasets":[{"workspace":"Sales","name":"Orders","id":"ds-1"}]},
        {"id":"powerbi:g2/d2","kind":"gateway","host":"adb-1.1.azuredatabricks.net","warehouse":null,"wave":2,"datasets":[]},
        {"id":"powerbi:g3/d3","kind":"vnet","host":"adb-1.1.azuredatabricks.net","warehouse":null,"wave":2,"datasets":[]},
        {"id":"fabric:c4","kind":"connection","host":"adb-1.1.azuredatabricks.net","warehouse":null,"wave":2,"datasets":[]}],
        "left":[{"id":"powerbi:g5/d5","reason":"a dataset in a personal workspace uses it"}],
        "problems":[{"code":"warehouse-not-usable","message":"the principal may not use `w2`","hint":null}]},
        {"name":"new","phase":"planned","due":false,"reason":"rotation is manual",
        "service_principal":{"id":null,"application_id":null,"exists":false},"secrets":{"used":0,"cap":5,"foreign":0},
        "steps":[],"targets":[],"left":[],"problems":[]}]}"#,
    );
}

#[test]
fn movement() {
    survives::<MoveReport>(
        r#"{"credentials":[{"name":"sales-bi","outcome":"incomplete","phase":"applying","generation":4,"secret_id":"s-4",
        "expires_at":"2026-12-07T08:00:00Z","targets":[
        {"id":"powerbi:g1/d1","outcome":"updated","attempts":1,"error":null,"refresh":"started"},
        {"id":"powerbi:g1/d2","outcome":"failed","attempts":3,"error":
        {"code":"not-owner","message":"only the owner may update it","hint":"allow `take_over`"},"refresh":null},
        {"id":"powerbi:g1/d3","outcome":"parked","attempts":9,"error":null,"refresh":"failed"},
        {"id":"powerbi:g1/d4","outcome":"pending","attempts":0,"error":null,"refresh":"completed"}],
        "retired":["s-2"],"retire_after":"2026-11-24T08:00:00Z",
        "error":{"code":"targets-left","message":"2 targets are left","hint":"run `lakekey rotate` again"}},
        {"name":"other","outcome":"unchanged","phase":"idle","generation":null,"secret_id":null,"expires_at":null,
        "targets":[],"retired":[],"retire_after":null,"error":null}]}"#,
    );
}

#[test]
fn status() {
    survives::<StatusReport>(
        r#"{"credentials":[{"name":"sales-bi","phase":"draining","generation":4,"secret_id":"s-4",
        "rotated_at":"2026-11-23T08:00:00Z","expires_at":"2026-12-07T08:00:00Z","next_rotation_at":"2026-11-30T08:00:00Z",
        "reason":"the previous secret lives until 2026-11-24 08:00","targets":
        {"total":3,"current":2,"stale":1,"failed":0,"parked":1},
        "secrets":[{"id":"s-4","role":"current","created_at":"2026-11-23T07:58:00.125Z","expires_at":"2026-12-07T07:58:00Z"},
        {"id":"s-3","role":"previous","created_at":null,"expires_at":null},
        {"id":"s-5","role":"next","created_at":null,"expires_at":null},
        {"id":"s-1","role":"condemned","created_at":null,"expires_at":null},
        {"id":"f-1","role":"foreign","created_at":null,"expires_at":null}],"error":null},
        {"name":"new","phase":"idle","generation":null,"secret_id":null,"rotated_at":null,"expires_at":null,
        "next_rotation_at":null,"reason":null,"targets":{"total":0,"current":0,"stale":0,"failed":0,"parked":0},"secrets":[],
        "error":{"code":"sign-in-refused","message":"Entra refused `powerbi`","hint":null}}]}"#,
    );
}

#[test]
fn history() {
    survives::<HistoryReport>(
        r#"{"credentials":[{"name":"sales-bi","verified":true,"entries":[
        {"seq":1,"at":"2026-11-23T08:00:00Z","by":"host:1:abc","event":"planned","generation":1,"detail":"3 targets"},
        {"seq":2,"at":"2026-11-23T08:00:01Z","by":"host:1:abc","event":"lease","generation":null,"detail":null}]},
        {"name":"other","verified":null,"entries":[]}]}"#,
    );
}

#[test]
fn failure() {
    survives::<FailureReport>(
        r#"{"error":{"code":"config-invalid","message":"the config has 1 problem","hint":null},"problems":[
        {"code":"unknown-key","message":"`credentails` is no key","hint":"did you mean `credentials`","file":"lakekey.yaml",
        "line":3,"column":1},{"code":"no-credentials","message":"no credential","hint":null,"file":null,"line":null,
        "column":null}]}"#,
    );
}

#[test]
fn a_failure_says_what_the_error_says() {
    let error = Error::failed("sign-in-refused", "Entra refused `powerbi`").hint("check its client secret");
    let json = serde_json::to_value(FailureReport::from(&error)).expect("a failure is JSON");
    let expected = serde_json::json!({
        "error": {"code": "sign-in-refused", "message": "Entra refused `powerbi`", "hint": "check its client secret"},
        "problems": [],
    });
    assert_eq!(json, expected);
}

#[test]
fn times_have_at_most_milliseconds() {
    let entry = HistoryEntry {
        seq: 1,
        at: "2026-11-23T08:00:00.123456789Z".parse().expect("a time"),
        by: RunnerId::new("host:1:abc"),
        event: "planned".to_owned(),
        generation: None,
        detail: None,
    };
    let report = CredentialHistory { name: CredentialName::new("a"), verified: None, entries: vec![entry] };
    let json = serde_json::to_value(report).expect("a report is JSON");
    assert_eq!(json["entries"][0]["at"], "2026-11-23T08:00:00.123Z");
}

#[test]
fn words_in_text_are_the_words_in_json() {
    fn same<T: Serialize + Copy>(values: &[T], word: impl Fn(T) -> &'static str) {
        for value in values {
            assert_eq!(serde_json::to_value(value).expect("a word"), word(*value));
        }
    }
    use {MoveOutcome as M, Phase as P, RefreshOutcome as R, SecretRole as S, TargetOutcome as T};
    same(&[P::Idle, P::Planned, P::Minted, P::Verified, P::Applying, P::Promoted, P::Draining, P::Quarantined], P::as_str);
    same(&[M::Rotated, M::Reapplied, M::RolledBack, M::Revoked, M::Unchanged, M::Incomplete, M::Failed], M::as_str);
    same(&[T::Updated, T::Failed, T::Parked, T::Pending], T::as_str);
    same(&[R::Started, R::Completed, R::Failed], R::as_str);
    same(&[S::Current, S::Previous, S::Next, S::Condemned, S::Foreign], S::as_str);
}
