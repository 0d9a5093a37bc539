//! Networks that lie: answers lost, late, doubled, cut short or replaced; services that throttle, lag behind, round.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use lakekey_sim::{Action, Fleet, Rule, Settings};
use serde_json::Value;

use crate::crashes::assert_no_leak;
use crate::support::{Bench, InProcess, days, hours, minutes};

fn customer(settings: Settings) -> Bench {
    Bench::with(&Fleet { foreign_secrets: 1, ..Fleet::new(3, 5) }, settings)
}

fn create() -> Rule {
    Rule::always(Action::Html).service("databricks").method("POST").path("credentials/secrets")
}

fn doing(rule: Rule, action: Action) -> Rule {
    Rule { action, ..rule }
}

fn answered(status: u16, after_effect: bool) -> Action {
    Action::Status { status, retry_after: None, body: None, after_effect }
}

/// Rotates until that ends 0; the last answer.
async fn converge(bench: &Bench) -> Value {
    let mut last = Value::Null;
    for _ in 0..12 {
        let (status, answer) = bench.one(&["rotate"]).await;
        if status == 0 {
            return answer;
        }
        last = answer;
        bench.pass(minutes(6));
    }
    panic!("it did not finish: {last:#}");
}

/// All is as it should be: every target holds the current secret, which lives beside the foreign ones alone.
async fn assert_settled(bench: &Bench, foreign: &[String], what: &str) {
    let (_, now) = bench.one(&["status"]).await;
    let current = now["secret_id"].as_str().unwrap_or_else(|| panic!("{what}: {now:#}")).to_owned();
    bench.assert_all_hold(&current);
    let expected: BTreeSet<String> = foreign.iter().cloned().chain([current]).collect();
    assert_eq!(bench.living().into_iter().collect::<BTreeSet<_>>(), expected, "{what}: {now:#}");
    assert_no_leak(bench, what);
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_a_create_no_stray_remains() {
    let lies = [
        Action::DropAfter,
        Action::DropBefore,
        Action::Refuse,
        Action::Late { ms: 30_000 },
        Action::Late { ms: 90_000 },
        Action::Duplicate,
        Action::Hang { after_effect: true },
        Action::Hang { after_effect: false },
        Action::Truncate,
        Action::Html,
        answered(500, true),
        answered(500, false),
        answered(503, true),
        answered(429, false),
        Action::Latency { ms: 59_000 },
    ];
    for lie in lies {
        for list_lag in [0, 45] {
            let what = format!("{lie:?}, lists {list_lag} s late");
            let bench = customer(Settings { list_lag: Duration::from_secs(list_lag), ..Settings::default() });
            bench.clock.sleep(minutes(2)).await;
            let foreign = bench.living();
            bench.cloud.set_faults(vec![doing(create(), lie.clone()).times(1)]);
            let mut statuses = vec![bench.one(&["rotate"]).await.0];
            while *statuses.last().unwrap() != 0 {
                assert!(statuses.len() < 6, "{what}: {statuses:?}");
                bench.pass(minutes(6));
                statuses.push(bench.one(&["rotate"]).await.0);
            }
            // What was late has landed by then; the hourly run finds it.
            bench.clock.sleep(minutes(3)).await;
            converge(&bench).await;
            bench.clock.sleep(minutes(3)).await;
            converge(&bench).await;
            assert_settled(&bench, &foreign, &what).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_a_write_every_target_holds_the_new_secret() {
    let lies = [
        Action::DropAfter,
        Action::DropBefore,
        Action::Refuse,
        Action::Late { ms: 30_000 },
        Action::Late { ms: 90_000 },
        Action::Duplicate,
        Action::Hang { after_effect: true },
        Action::Hang { after_effect: false },
        Action::Truncate,
        Action::Html,
        answered(500, true),
        answered(502, false),
        answered(503, true),
        answered(404, false),
    ];
    for lie in lies {
        let what = format!("{lie:?}");
        let bench = customer(Settings::default());
        let foreign = bench.living();
        for generation in 1..=2 {
            let write = Rule::always(lie.clone()).service("powerbi").method("PATCH").times(2);
            bench.cloud.set_faults(vec![write]);
            let rotated = converge(&bench).await;
            assert_eq!(rotated["generation"], generation, "{what}: {rotated:#}");
            bench.assert_all_hold(rotated["secret_id"].as_str().unwrap());
            bench.pass(days(7));
        }
        bench.clock.sleep(minutes(2)).await;
        bench.assert_no_outage();
        // The third rotation is due; it retires what the second superseded.
        bench.cloud.set_faults(Vec::new());
        converge(&bench).await;
        bench.pass(hours(25));
        converge(&bench).await;
        assert_settled(&bench, &foreign, &what).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_other_generation_is_sent_where_a_late_write_may_still_land() {
    let bench = customer(Settings::default());
    let late = Rule::always(Action::Late { ms: 200_000 }).service("powerbi").method("PATCH").times(1);
    bench.cloud.set_faults(vec![late]);
    let first = converge(&bench).await;
    assert_eq!(first["generation"], 1);

    let (status, second) = bench.one(&["rotate", "--force"]).await;
    assert_eq!((status, second["error"]["code"].as_str()), (3, Some("waiting")), "{second:#}");
    assert!(second["error"]["message"].as_str().unwrap().contains("may still land"), "{second:#}");

    bench.clock.sleep(minutes(6)).await;
    let second = converge(&bench).await;
    assert_eq!(second["generation"], 2, "{second:#}");
    bench.assert_all_hold(second["secret_id"].as_str().unwrap());
    bench.clock.sleep(minutes(10)).await;
    bench.assert_all_hold(second["secret_id"].as_str().unwrap());
}

#[tokio::test(start_paused = true)]
async fn every_service_may_ask_to_wait_in_every_way() {
    let date = "Mon, 02 Mar 2026 08:00:40 GMT";
    for (service, nth) in [("databricks", 3), ("entra", 1), ("powerbi", 3), ("fabric", 1)] {
        for (asked, seconds) in [(Some("7"), 7), (Some(date), 30), (None, 0), (Some("315360000"), 0)] {
            let what = format!("{service} asks {asked:?}");
            let bench = customer(Settings::default());
            let foreign = bench.living();
            let action = Action::Status { status: 429, retry_after: asked.map(str::to_owned), body: None, after_effect: false };
            bench.cloud.set_faults(vec![Rule::always(action).service(service).nth(nth)]);
            converge(&bench).await;
            converge(&bench).await;
            assert_settled(&bench, &foreign, &what).await;
            let log = bench.cloud.requests();
            let told =
                log.iter().find(|seen| seen.fault.is_some()).unwrap_or_else(|| panic!("{what}: it was never told to wait"));
            let soonest = told.at + SignedDuration::from_secs(seconds);
            let same = log.iter().filter(|seen| seen.service == told.service && seen.at > told.at && seen.method == told.method);
            let next = same.map(|seen| seen.at).min();
            assert!(next.is_none_or(|next| next >= soonest), "{what}: told at {}, came again at {next:?}", told.at);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn token_endpoints_that_fail_for_a_while_only_delay() {
    for (service, path) in [("databricks", "oidc/v1/token"), ("entra", "oauth2/v2.0/token")] {
        for action in [answered(500, false), answered(503, false), Action::DropBefore, Action::Html] {
            let what = format!("{service} {action:?}");
            let bench = customer(Settings::default());
            let foreign = bench.living();
            bench.cloud.set_faults(vec![Rule::always(action).service(service).path(path).times(3)]);
            let mut last = 1;
            for _ in 0..5 {
                last = bench.run(&["rotate"]).await.status;
                if last == 0 {
                    break;
                }
            }
            assert_eq!(last, 0, "{what}");
            assert_settled(&bench, &foreign, &what).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_may_take_a_while_to_be_accepted() {
    for seconds in [1, 20] {
        let bench = customer(Settings { secret_settles: Duration::from_secs(seconds), ..Settings::default() });
        let foreign = bench.living();
        let (status, rotated) = bench.one(&["rotate"]).await;
        assert_eq!((status, rotated["outcome"].as_str()), (0, Some("rotated")), "{seconds}: {rotated:#}");
        assert_settled(&bench, &foreign, &format!("{seconds} s")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_that_is_never_accepted_is_deleted_and_no_target_is_touched() {
    let bench = customer(Settings::default());
    let foreign = bench.living();
    let before = bench.targets();
    bench.cloud.configure(|settings| settings.secret_settles = days(10));
    let (status, failed) = bench.one(&["rotate"]).await;
    assert_eq!(
        (status, failed["outcome"].as_str(), failed["error"]["code"].as_str()),
        (1, Some("failed"), Some("verification-failed")),
        "{failed:#}"
    );
    bench.cloud.configure(|settings| settings.secret_settles = Duration::ZERO);
    assert_eq!((bench.living(), bench.targets()), (foreign.clone(), before));

    converge(&bench).await;
    assert_settled(&bench, &foreign, "when it is accepted again").await;
}

#[tokio::test(start_paused = true)]
async fn stale_lists_cost_no_secret_and_leave_none() {
    for lag in [30, 300] {
        let bench = customer(Settings { list_lag: Duration::from_secs(lag), ..Settings::default() });
        bench.clock.sleep(minutes(6)).await;
        let foreign = bench.living();
        for generation in 1..=2 {
            let rotated = converge(&bench).await;
            assert_eq!(rotated["generation"], generation, "{lag}: {rotated:#}");
            bench.pass(days(7));
        }
        converge(&bench).await;
        bench.pass(hours(25));
        converge(&bench).await;
        bench.clock.sleep(minutes(6)).await;
        converge(&bench).await;
        assert_settled(&bench, &foreign, &format!("{lag} s")).await;
        let all = bench.cloud.secrets(&bench.cloud.cast().principal.application_id);
        assert_eq!(all.len(), foreign.len() + 3, "three rotations need three secrets");
    }
}

#[tokio::test(start_paused = true)]
async fn where_lifetimes_are_rounded_a_lost_secret_is_left_to_a_person() {
    let bench = customer(Settings { lifetime_rounding: hours(24), ..Settings::default() });
    let foreign = bench.living();
    let first = converge(&bench).await;
    bench.pass(days(7));
    bench.cloud.set_faults(vec![doing(create(), Action::DropAfter).times(1)]);

    let (status, stopped) = bench.one(&["rotate"]).await;
    let known: BTreeSet<String> = foreign.iter().cloned().chain([first["secret_id"].as_str().unwrap().to_owned()]).collect();
    let lost: Vec<String> = bench.living().into_iter().filter(|id| !known.contains(id)).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!((status, stopped["phase"].as_str()), (3, Some("quarantined")), "{stopped:#}");
    assert_eq!(stopped["error"]["code"], "strays-unrecognisable");
    let hint = stopped["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("`lakekey rotate sales-bi --force`") && hint.contains("keeps the secret that it holds"), "{hint}");
    assert!(stopped["error"]["message"].as_str().unwrap().contains(&lost[0]), "{stopped:#}");
    bench.assert_all_hold(first["secret_id"].as_str().unwrap());
    let (status, again) = bench.one(&["rotate"]).await;
    assert_eq!((status, bench.living().len()), (3, known.len() + 1), "nothing is deleted or minted meanwhile: {again:#}");

    assert!(bench.cloud.person_deletes_secret(&lost[0]));
    converge(&bench).await;
    bench.pass(hours(25));
    converge(&bench).await;
    assert_settled(&bench, &foreign, "when the person has deleted it").await;
}

#[tokio::test(start_paused = true)]
async fn clocks_may_differ_within_skew() {
    for (first, second) in [(100, -100), (-100, 100), (110, 110)] {
        let bench = customer(Settings::default());
        let foreign = bench.living();
        for stage in [hours(0), days(7), hours(26)] {
            bench.pass(stage);
            for (runner, skew) in [("one", first), ("two", second)] {
                let clock = bench.clock.skewed(SignedDuration::from_secs(skew));
                let transport = Arc::new(InProcess(bench.cloud.clone()));
                let ran = bench.rotate_elsewhere_at(transport, runner, clock).await;
                assert_eq!(ran.status, 0, "{skew}: {ran:?}");
                bench.assert_no_outage();
            }
        }
        assert_settled(&bench, &foreign, &format!("{first} s and {second} s")).await;
    }
}
