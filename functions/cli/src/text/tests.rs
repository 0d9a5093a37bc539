//! What people see, without the colours; names that came from outside are hostile here.

use anstream::adapter::strip_str;
use insta::assert_snapshot;
use lakekey_core::error::Error;
use lakekey_core::report::{HistoryReport, MoveReport, PlanReport, StatusReport};
use serde_json::json;

use super::*;
use crate::failure::Failure;

fn plain(text: &str) -> String {
    strip_str(text).to_string()
}

fn plan_report() -> Outcome {
    let target = |id: &str, wave: u32, dataset: &str| {
        json!({
            "id": id, "kind": "cloud", "host": "adb-1.1.azuredatabricks.net", "warehouse": "1234567890abcdef", "wave": wave,
            "datasets": [{"workspace": "Sales", "name": dataset, "id": "ds-1"}],
        })
    };
    let report: PlanReport = serde_json::from_value(json!({"credentials": [{
        "name": "sales-bi", "phase": "idle", "due": true, "reason": "the last rotation was 8 days ago",
        "service_principal": {"id": "42", "application_id": "0f1c2d3e-0000-4000-8000-000000000001", "exists": true},
        "secrets": {"used": 2, "cap": 5, "foreign": 1},
        "steps": [
            {"action": "mint", "subject": "https://adb-1.1.azuredatabricks.net", "detail": "lives for 14 days"},
            {"action": "verify", "subject": "https://adb-1.1.azuredatabricks.net", "detail": null},
        ],
        "targets": [target("powerbi:g1/d1", 1, "Orders"), target("powerbi:g1/d2", 2, "\u{1b}[2J\u{202e}evil\nname")],
        "left": [{"id": "powerbi:g5/d5", "reason": "a dataset in a personal workspace uses it"}],
        "problems": [{"code": "x", "message": "the principal may not use `w2`", "hint": "give it CAN_USE"}],
    }, {
        "name": "new", "phase": "quarantined", "due": false, "reason": "canary-failed",
        "service_principal": {"id": null, "application_id": null, "exists": false},
        "secrets": {"used": 0, "cap": 5, "foreign": 0}, "steps": [], "targets": [], "left": [], "problems": [],
    }]}))
    .expect("a report");
    Outcome::Plan(report)
}

#[test]
fn a_plan_goes_target_by_target() {
    assert_snapshot!(plain(&outcome(&plan_report(), None)), @r#"
    sales-bi  idle, due: the last rotation was 8 days ago
      principal: id 42, application 0f1c2d3e-0000-4000-8000-000000000001
      secrets: 2 of 5 used, 1 foreign
      steps:
        ACTION  SUBJECT                              DETAIL
        mint    https://adb-1.1.azuredatabricks.net  lives for 14 days
        verify  https://adb-1.1.azuredatabricks.net
      targets: 2
        WAVE  TARGET         KIND   HOST                         WAREHOUSE         USED BY
        1     powerbi:g1/d1  cloud  adb-1.1.azuredatabricks.net  1234567890abcdef  Sales / Orders
        2     powerbi:g1/d2  cloud  adb-1.1.azuredatabricks.net  1234567890abcdef  Sales / \u{1b}[2J\u{202e}evil\nname
      not covered:
        powerbi:g5/d5: a dataset in a personal workspace uses it
      error: the principal may not use `w2`
      hint: give it CAN_USE

    new  quarantined, not due: canary-failed
      principal: id -, application -, does not exist yet
      secrets: 0 of 5 used, 0 foreign
    "#);
}

#[test]
fn a_narrow_terminal_cuts_what_nobody_copies() {
    let text = plain(&outcome(&plan_report(), Some(100)));
    assert_snapshot!(text.lines().filter(|line| line.contains("powerbi:g1")).collect::<Vec<_>>().join("\n"), @r#"
    1     powerbi:g1/d1  cloud  adb-1.1.azuredatabricks.net  1234567890abcdef  Sales / Orders
    2     powerbi:g1/d2  cloud  adb-1.1.azuredatabricks.net  1234567890abcdef  Sales / \u{1b}[2J\u{…
    "#);
}

#[test]
fn a_rotation_says_what_happens_next() {
    let report: MoveReport = serde_json::from_value(json!({"credentials": [{
        "name": "sales-bi", "outcome": "rotated", "phase": "draining", "generation": 4, "secret_id": "s-4",
        "expires_at": "2026-12-07T08:00:00Z", "targets": [
            {"id": "powerbi:g1/d1", "outcome": "updated", "attempts": 1, "error": null, "refresh": "started"},
            {"id": "powerbi:g1/d2", "outcome": "parked", "attempts": 9,
             "error": {"code": "x", "message": "only \u{9b}31mthe owner may update it", "hint": "allow `take_over`"}, "refresh": null},
        ],
        "retired": ["s-2"], "retire_after": "2026-11-24T08:00:00Z", "error": null,
    }, {
        "name": "open", "outcome": "incomplete", "phase": "applying", "generation": 2, "secret_id": "s-9", "expires_at": null,
        "targets": [], "retired": [], "retire_after": null,
        "error": {"code": "waiting", "message": "Power BI asks to wait until 08:10", "hint": "run `lakekey rotate` then"},
    }, {
        "name": "stuck", "outcome": "failed", "phase": "quarantined", "generation": null, "secret_id": null, "expires_at": null,
        "targets": [], "retired": [], "retire_after": null, "error": null,
    }, {
        "name": "calm", "outcome": "unchanged", "phase": "idle", "generation": 1, "secret_id": "s-1", "expires_at": null,
        "targets": [], "retired": [], "retire_after": null, "error": null,
    }]}))
    .expect("a report");
    assert_snapshot!(plain(&outcome(&Outcome::Moved(report), None)), @r#"
    sales-bi  rotated, now draining: generation 4, secret s-4, expires 2026-12-07 08:00:00 UTC
      TARGET         OUTCOME  ATTEMPTS  REFRESH  WHY
      powerbi:g1/d1  updated  1         started
      powerbi:g1/d2  parked   9         -        only \u{9b}31mthe owner may update it; allow `take_over`
      deleted secret s-2
      next: `lakekey rotate` deletes the previous secret after 2026-11-24 08:00:00 UTC

    open  incomplete, now applying: generation 2, secret s-9
      error: Power BI asks to wait until 08:10
      hint: run `lakekey rotate` then
      next: `lakekey rotate` goes on where this stopped

    stuck  failed, now quarantined
      next: nothing, until a person has acted; then `lakekey rotate`

    calm  unchanged, now idle: generation 1, secret s-1
    "#);
}

#[test]
fn status_is_a_table_and_one_credential_shows_its_secrets() {
    let sales = json!({
        "name": "sales-bi", "phase": "draining", "generation": 4, "secret_id": "s-4", "rotated_at": "2026-11-23T08:00:00Z",
        "expires_at": "2026-12-07T08:00:00Z", "next_rotation_at": "2026-11-30T08:00:00Z",
        "reason": "the previous secret lives until 2026-11-24 08:00:00 UTC",
        "targets": {"total": 3, "current": 2, "stale": 1, "failed": 0, "parked": 1},
        "secrets": [
            {"id": "s-4", "role": "current", "created_at": "2026-11-23T07:58:00Z", "expires_at": "2026-12-07T07:58:00Z"},
            {"id": "f-1", "role": "foreign", "created_at": null, "expires_at": null},
        ],
        "error": null,
    });
    let new = json!({
        "name": "new", "phase": "idle", "generation": null, "secret_id": null, "rotated_at": null, "expires_at": null,
        "next_rotation_at": null, "reason": null,
        "targets": {"total": 0, "current": 0, "stale": 0, "failed": 0, "parked": 0}, "secrets": [],
        "error": {"code": "x", "message": "Entra refused `powerbi`", "hint": null},
    });
    let shown = |credentials: serde_json::Value| {
        let report: StatusReport = serde_json::from_value(json!({"credentials": credentials})).expect("a report");
        plain(&outcome(&Outcome::Status(report), None))
    };
    assert_snapshot!(shown(json!([sales, new])), @"
    NAME      PHASE     GENERATION  TARGETS                ROTATED                  EXPIRES                  NEXT ROTATION
    sales-bi  draining  4           2/3 current, 1 parked  2026-11-23 08:00:00 UTC  2026-12-07 08:00:00 UTC  2026-11-30 08:00:00 UTC
    new       idle      -           0/0 current            -                        -                        -

    sales-bi: the previous secret lives until 2026-11-24 08:00:00 UTC

    new:
      error: Entra refused `powerbi`
    ");
    assert_snapshot!(shown(json!([sales])), @"
    NAME      PHASE     GENERATION  TARGETS                ROTATED                  EXPIRES                  NEXT ROTATION
    sales-bi  draining  4           2/3 current, 1 parked  2026-11-23 08:00:00 UTC  2026-12-07 08:00:00 UTC  2026-11-30 08:00:00 UTC

    sales-bi: the previous secret lives until 2026-11-24 08:00:00 UTC

    SECRET  ROLE     CREATED                  EXPIRES
    s-4     current  2026-11-23 07:58:00 UTC  2026-12-07 07:58:00 UTC
    f-1     foreign  -                        -
    ");
    assert_eq!(shown(json!([])), "no credentials\n");
}

#[test]
fn history_is_a_line_for_each_entry() {
    let report: HistoryReport = serde_json::from_value(json!({"credentials": [
        {"name": "sales-bi", "verified": true, "entries": [
            {"seq": 1, "at": "2026-11-23T08:00:00Z", "by": "host:1:abc", "event": "planned", "generation": 1, "detail": "3 targets"},
            {"seq": 2, "at": "2026-11-23T08:00:01.5Z", "by": "host:1:abc", "event": "lease", "generation": null, "detail": null},
        ]},
        {"name": "broken", "verified": false, "entries": []},
        {"name": "unasked", "verified": null, "entries": []},
    ]}))
    .expect("a report");
    assert_snapshot!(plain(&outcome(&Outcome::History(report), None)), @"
    sales-bi  verified: the journal is whole
      SEQ  AT                       EVENT    GENERATION  BY          DETAIL
      1    2026-11-23 08:00:00 UTC  planned  1           host:1:abc  3 targets
      2    2026-11-23 08:00:01 UTC  lease    -           host:1:abc

    broken  broken: the journal is not what lakekey wrote
      no entries

    unasked  not verified
      no entries
    ");
}

#[test]
fn an_error_shows_its_causes_and_its_hint() {
    let cause = std::io::Error::other("connection reset\u{7}");
    let error = Error::failed("unreachable", "Databricks can't be reached").hint("check the proxy").caused_by(cause);
    assert_snapshot!(plain(&failure(&error.into())), @r#"
    error: Databricks can't be reached
      caused by: connection reset\u{7}
    hint: check the proxy
    "#);
}

#[test]
fn a_config_shows_every_problem_with_its_place() {
    let problem = |message: &str, hint: Option<&str>, line| lakekey_core::config::ConfigProblem {
        code: "unknown-key".to_owned(),
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        file: "lakekey.yaml".to_owned(),
        line,
        column: 5,
    };
    let problems = vec![problem("`credentails` is no key", Some("did you mean `credentials`?"), 3), problem("no state", None, 9)];
    let config = Failure::from(problems);
    assert_snapshot!(plain(&failure(&config)), @"
    lakekey.yaml:3:5: `credentails` is no key [unknown-key]
      hint: did you mean `credentials`?
    lakekey.yaml:9:5: no state [unknown-key]
    error: the config has 2 problems
    ");
    assert_snapshot!(serde_json::to_string_pretty(&config.report()).expect("JSON"), @r#"
    {
      "error": {
        "code": "config-invalid",
        "message": "the config has 2 problems",
        "hint": "see `problems`"
      },
      "problems": [
        {
          "code": "unknown-key",
          "message": "`credentails` is no key",
          "hint": "did you mean `credentials`?",
          "file": "lakekey.yaml",
          "line": 3,
          "column": 5
        },
        {
          "code": "unknown-key",
          "message": "no state",
          "hint": null,
          "file": "lakekey.yaml",
          "line": 9,
          "column": 5
        }
      ]
    }
    "#);
}

#[test]
fn nothing_that_a_terminal_obeys_gets_through() {
    for hostile in ["\u{1b}]0;title\u{7}", "\u{9b}31m", "a\r\nb", "\u{202e}abc", "\u{7f}", "\u{2066}x", "\u{feff}", "\u{200b}"] {
        let safe = printable(hostile);
        assert!(safe.chars().all(|character| !character.is_control() && !reorders(character)), "{safe}");
    }
    assert_eq!(printable("Verkäufe – 売上 ✓"), "Verkäufe – 売上 ✓");
}
