use std::time::Duration;

use bytes::Bytes;
use lakekey_sim::{Action, Cloud, Lost, Rule};
use tokio::time::timeout;

use crate::client::{Answer, DBX, PBI, admin, cloud, get, powerbi, secrets_url, try_send};

/// A create under that action, and how many secrets there are afterwards.
async fn create_under(action: Action) -> (Cloud, Result<Answer, Lost>, usize) {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    let before = secrets(&cloud);
    cloud.set_faults(vec![Rule::always(action).service("databricks").method("POST").path("/secrets").times(1)]);
    let answer = try_send(&cloud, "POST", &secrets_url(&cloud), &token, None).await;
    let made = secrets(&cloud) - before;
    (cloud, answer, made)
}

fn secrets(cloud: &Cloud) -> usize {
    cloud.secrets(&cloud.cast().principal.application_id).len()
}

#[tokio::test(start_paused = true)]
async fn each_action_has_its_effect_and_its_answer() {
    let status = |after_effect| Action::Status { status: 503, retry_after: Some("7".to_owned()), body: None, after_effect };
    for (action, made, outcome) in [
        (Action::Latency { ms: 500 }, 1, Ok(200)),
        (status(false), 0, Ok(503)),
        (status(true), 1, Ok(503)),
        (Action::Refuse, 0, Err(Lost { sent: false })),
        (Action::DropBefore, 0, Err(Lost { sent: true })),
        (Action::DropAfter, 1, Err(Lost { sent: true })),
        (Action::Html, 0, Ok(200)),
        (Action::Truncate, 1, Ok(200)),
        (Action::Duplicate, 2, Ok(200)),
        (Action::Late { ms: 30_000 }, 0, Err(Lost { sent: true })),
    ] {
        let (cloud, answer, count) = create_under(action.clone()).await;
        assert_eq!(count, made, "{action:?}");
        assert_eq!(answer.as_ref().map(|answer| answer.status).map_err(|lost| *lost), outcome, "{action:?}");
        match (&action, answer) {
            (Action::Status { .. }, Ok(answer)) => assert_eq!(answer.headers["retry-after"], "7"),
            (Action::Html | Action::Truncate, Ok(answer)) => assert!(answer.json.is_null() && !answer.text.is_empty()),
            (Action::Late { .. }, _) => {
                tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(31)).await;
                assert_eq!(secrets(&cloud), 2, "the effect lands after all");
            }
            _ => {}
        }
        assert!(cloud.requests().iter().any(|seen| seen.fault.is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hang_lasts_and_may_have_had_its_effect() {
    for after_effect in [false, true] {
        let cloud = cloud();
        let token = admin(&cloud, DBX).await;
        cloud.set_faults(vec![Rule::always(Action::Hang { after_effect }).path("/secrets")]);
        let asked = timeout(Duration::from_secs(600), try_send(&cloud, "POST", &secrets_url(&cloud), &token, None)).await;
        assert!(asked.is_err());
        assert_eq!(secrets(&cloud), 1 + usize::from(after_effect));
    }
}

#[tokio::test(start_paused = true)]
async fn the_cloud_goes_on_when_its_client_gives_up() {
    let cloud = cloud();
    let token = admin(&cloud, DBX).await;
    cloud.set_faults(vec![Rule::always(Action::Latency { ms: 60_000 }).path("/secrets")]);
    let asked = timeout(Duration::from_secs(30), try_send(&cloud, "POST", &secrets_url(&cloud), &token, None)).await;
    assert!(asked.is_err());
    assert_eq!(secrets(&cloud), 1);
    tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(31)).await;
    assert_eq!(secrets(&cloud), 2);
}

#[tokio::test(start_paused = true)]
async fn rules_count_and_the_same_seed_strikes_alike() {
    let strikes = async |rules: &str| {
        let cloud = cloud();
        let token = powerbi(&cloud).await;
        cloud.set_faults(Rule::parse(rules).expect("rules"));
        let mut struck = Vec::new();
        for at in 0..40 {
            if get(&cloud, &format!("{PBI}/groups"), &token).await.status != 200 {
                struck.push(at);
            }
        }
        struck
    };
    assert_eq!(strikes("service=powerbi,nth=3,do=status:500").await, [2]);
    assert_eq!(strikes("service=powerbi,times=2,do=status:500").await, [0, 1]);
    assert!(strikes("service=fabric,do=status:500").await.is_empty());
    let some = strikes("p=0.3,do=status:429:1").await;
    assert!((4..24).contains(&some.len()), "{some:?}");
    assert_eq!(some, strikes("p=0.3,do=status:429:1").await);
}

#[test]
fn fault_specs_are_read_or_refused() {
    for good in ["", "none", "mild", "hostile", "do=hang", "p=0.5,do=late:10; nth=2,do=status-after:502:9"] {
        assert!(Rule::parse(good).is_ok(), "{good}");
    }
    let json = r#"[{"service":"entra","action":{"latency":{"ms":5}}},{"action":"html"}]"#;
    assert_eq!(Rule::parse(json).map(|rules| rules.len()), Ok(2));
    for bad in ["do=explode", "p=2,do=html", "p=0.1", "color=red,do=html", "latency", "[{}]", "do=latency", "do=html:3"] {
        assert!(Rule::parse(bad).is_err(), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_at_an_unknown_address() {
    let request = http::Request::get("https://example.com/").body(Bytes::new()).expect("a request");
    assert_eq!(cloud().handle(request).await.err(), Some(Lost { sent: false }));
}
