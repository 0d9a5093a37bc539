//! Whole rotations that Secrets Manager leads, step by step, over a strict fake of it: steps that are repeated, late, out of order,
//! foreign, abandoned. `crashes.rs` has those that are cut off.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use lakekey_core::app::StepOrder;
use lakekey_core::command::Progress;
use lakekey_core::error::Error;
use lakekey_core::work::{Message, WorkQueue};
use lakekey_sim::Fleet;
use serde_json::{Value, json};

use super::scene::{NEXT_TOKEN, STEPS, Scene, TOKEN, kind, order, schedule_in};
use super::secrets::ARN;
use crate::belt::Belt;
use crate::support::{days, hours, minutes};

fn few() -> Fleet {
    Fleet::new(3, 5)
}

#[tokio::test(start_paused = true)]
async fn what_secrets_manager_abandons_the_schedule_finishes_and_unblocks_the_next_rotation() {
    for last in 0..STEPS.len() - 1 {
        let scene = Scene::rotating(&few()).await;
        for step in &STEPS[..=last] {
            scene.step(step).await.unwrap();
        }
        let incoming = scene.holds("AWSPENDING").unwrap();
        scene.bench.pass(minutes(90));
        scene.schedule().await;
        assert_ne!(scene.holds("AWSCURRENT").unwrap(), incoming, "Secrets Manager may still ask");
        scene.bench.pass(minutes(60));
        scene.schedule().await;
        scene.bench.assert_all_hold(&incoming);
        assert_eq!(scene.secrets.labelled("AWSCURRENT").unwrap().0, TOKEN);
        // It does ask again: all is done.
        for step in STEPS {
            scene.step(step).await.unwrap();
        }
        scene.secrets.assert_proper();
        scene.secrets.begin_rotation(NEXT_TOKEN);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_not_due_is_refused_and_changes_nothing() {
    let scene = Scene::rotating(&few()).await;
    let minted = scene.bench.living().len();
    let other = |change: fn(&mut StepOrder)| {
        let mut order = order("createSecret");
        change(&mut order);
        order
    };
    for (order, code) in [
        (other(|order| order.step = "create_secret".to_owned()), "unknown-step"),
        (other(|order| order.secret_id = ARN.replace("sales-bi-", "other-")), "unknown-secret"),
        (other(|order| order.secret_id = ARN.replace("123456789012", "210987654321")), "unknown-secret"),
        (other(|order| order.token = "00000000-0000-4000-8000-000000000000".to_owned()), "unknown-token"),
    ] {
        assert_eq!(kind(scene.ask(order).await), format!("Lakekey.Permanent.{code}"));
    }
    for rotates in [None, Some(false)] {
        scene.secrets.set_rotation(rotates);
        assert_eq!(kind(scene.step("createSecret").await), "Lakekey.Permanent.rotation-not-enabled");
    }
    scene.secrets.set_rotation(Some(true));
    assert_eq!(scene.bench.living().len(), minted, "nothing was minted");

    scene.step("createSecret").await.unwrap();
    assert_eq!(kind(scene.step("testSecret").await), "Lakekey.Permanent.step-too-early");
    scene.step("setSecret").await.unwrap();
    assert_eq!(kind(scene.step("finishSecret").await), "Lakekey.Permanent.step-too-early");
    scene.bench.assert_no_outage();
    scene.secrets.assert_proper();
}

#[tokio::test(start_paused = true)]
async fn a_pending_value_of_somebody_else_is_not_sent_anywhere() {
    let scene = Scene::rotating(&few()).await;
    scene.step("createSecret").await.unwrap();
    let (_, own) = scene.secrets.labelled("AWSPENDING").unwrap();
    let mut value: Value = serde_json::from_str(&own.unwrap()).unwrap();
    for (key, other, code) in [
        ("clientId", "11111111-2222-4333-8444-555555555555", "pending-foreign"),
        ("oauthSecretId", "unheard-of", "pending-outdated"),
    ] {
        let mut foreign = value.clone();
        foreign[key] = json!(other);
        scene.secrets.tamper(TOKEN, Some(foreign.to_string()));
        for step in STEPS {
            assert_eq!(kind(scene.step(step).await), format!("Lakekey.Permanent.{code}"), "{step}");
        }
    }
    scene.secrets.tamper(TOKEN, Some("no credential".to_owned()));
    assert_eq!(kind(scene.step("setSecret").await), "Lakekey.Permanent.pending-unusable");
    assert!(!scene.all_hold(value["oauthSecretId"].take().as_str().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_only_tried_out_tests_the_secret_that_is_current() {
    let scene = Scene::rotating(&few()).await;
    let (_, current) = scene.secrets.labelled("AWSCURRENT").unwrap();
    scene.secrets.tamper(TOKEN, current);
    let before = scene.bench.living();
    scene.step("testSecret").await.unwrap();
    assert_eq!(scene.bench.living(), before);
    // Tried out where the secret is gone, it fails.
    scene.bench.pass(days(800));
    assert!(scene.step("testSecret").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_throttled_step_is_worth_asking_again() {
    let scene = Scene::rotating(&few()).await;
    for step in STEPS {
        scene.secrets.throttle(1_000);
        assert_eq!(kind(scene.step(step).await), "Lakekey.Retryable.throttled", "{step}");
        scene.secrets.throttle(0);
        scene.step(step).await.unwrap();
    }
    scene.bench.assert_all_hold(&scene.holds("AWSCURRENT").unwrap());
    scene.secrets.assert_proper();
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_frozen_between_two_steps_goes_on_with_tokens_that_have_ended_meanwhile() {
    // An hour is a token's life; after two hours the schedule would finish what nobody asks for any more.
    for (asleep, meanwhile) in [(minutes(90), false), (hours(5), false), (hours(5), true)] {
        let scene = Scene::rotating(&few()).await;
        let first = scene.holds("AWSCURRENT").unwrap();
        let sandbox = scene.sandbox();
        let ask = async |step: &str| Box::pin(sandbox.step(&order(step), &Progress::none())).await;
        ask("createSecret").await.unwrap();
        ask("setSecret").await.unwrap();
        scene.bench.pass(asleep);
        if meanwhile {
            scene.schedule().await;
        }
        for step in ["testSecret", "finishSecret", "testSecret"] {
            ask(step).await.unwrap_or_else(|error| panic!("{step} after {asleep:?}: {error:?}"));
        }
        let second = scene.holds("AWSCURRENT").unwrap();
        assert_ne!(second, first);
        scene.bench.assert_all_hold(&second);
        assert!(scene.bench.living().contains(&first), "{asleep:?}");
        scene.secrets.assert_proper();
        scene.bench.pass(hours(26));
        assert_eq!(schedule_in(&sandbox).await["retired"], json!([first]), "{asleep:?}");
    }
}

/// A function without a work queue.
struct NoQueue;

#[async_trait::async_trait]
impl WorkQueue for NoQueue {
    async fn send(&self, _: &Message, _: Duration) -> Result<(), Error> {
        Err(Error::failed("queue-missing", "no work queue is set up"))
    }
}

/// A rotation of a medium fleet at services so slow that no invocation has the time for all of it.
async fn slow() -> Scene {
    let scene = Scene::rotating(&Fleet::medium(5)).await;
    scene.step("createSecret").await.unwrap();
    scene.bench.cloud.configure(|settings| settings.latency = LATENCY);
    scene
}

/// Asks for `setSecret` until it is done: how often that was. What an invocation leaves to the queue is worked off before the next.
async fn set_within(scene: &Scene, queue: &Arc<dyn WorkQueue>, belt: &Arc<Belt>) -> usize {
    let incoming = scene.holds("AWSPENDING").unwrap();
    let moved = || scene.bench.targets().iter().filter(|source| source.secret_id.as_ref() == Some(&incoming)).count();
    let invocation = || {
        let ends = scene.bench.clock.now().saturating_add(LASTS).unwrap();
        (scene.sandbox().within(ends, Arc::clone(queue)), ends)
    };
    for asked in 1..40 {
        let before = moved();
        let (sandbox, ends) = invocation();
        let answer = Box::pin(sandbox.step(&order("setSecret"), &Progress::none())).await;
        assert!(scene.bench.clock.now() < ends, "it answers before it is ended");
        assert!(moved() >= before);
        scene.bench.assert_no_outage();
        if answer.is_ok() {
            assert!(scene.all_hold(&incoming));
            return asked;
        }
        assert!(kind(answer).starts_with("Lakekey.Retryable."));
        for _ in 0..4 {
            let Some(text) = belt.take(&scene.bench) else { break };
            invocation().0.work(&text).await.unwrap();
        }
    }
    panic!("it does not get on: {} have moved", moved());
}

#[tokio::test(start_paused = true)]
async fn a_set_secret_without_the_time_for_every_target_fails_retryably_and_keeps_its_progress() {
    for has_queue in [false, true] {
        let scene = slow().await;
        let belt = Belt::new(&scene.bench);
        let queue: Arc<dyn WorkQueue> = if has_queue { belt.clone() } else { Arc::new(NoQueue) };
        let asked = set_within(&scene, &queue, &belt).await;
        assert!(asked > 1, "with a queue: {has_queue}; it had to be asked for more than once");
        for step in ["testSecret", "finishSecret"] {
            scene.step(step).await.unwrap();
        }
        assert_eq!(scene.secrets.labelled("AWSCURRENT").unwrap().0, TOKEN);
        scene.secrets.assert_proper();
    }
}

const LATENCY: Duration = Duration::from_millis(1_500);
const LASTS: SignedDuration = SignedDuration::from_secs(40);

#[tokio::test(start_paused = true)]
async fn a_secret_in_the_shape_of_awss_own_type_is_taken_over_and_can_be_given_back() {
    const ACCOUNT: &str = "7a3a0000-0000-4000-8000-000000000000";
    // Of one data source alone: another that may hold what is taken over would keep it alive.
    let mut scene = Scene::new(&Fleet { decoys: false, ..Fleet::small(3) });
    let source = scene.bench.gateway_source();
    scene.bench.select_source(&source);
    let principal = scene.bench.cloud.cast().principal.clone();
    let (id, secret) = scene.bench.cloud.person_mints(&principal.application_id, days(90)).unwrap();
    let of_aws = json!({
        "accountId": ACCOUNT, "servicePrincipalId": principal.id.to_string(), "clientId": principal.application_id,
        "clientSecret": secret, "oauthSecretId": id,
    });
    scene.secrets.put_by_hand(of_aws.to_string());
    scene.secrets.set_rotation(Some(true));
    scene.secrets.begin_rotation(TOKEN);
    // What it has taken over moves the targets to a secret of its own, which AWS leads.
    for step in STEPS {
        scene.step(step).await.unwrap();
    }
    let (token, value) = scene.secrets.labelled("AWSCURRENT").unwrap();
    let value: Value = serde_json::from_str(&value.unwrap()).unwrap();
    assert_eq!(token, TOKEN);
    let second = value["oauthSecretId"].as_str().unwrap();
    assert_ne!(second, id);
    assert_eq!(scene.bench.source(&source.id).secret_id.as_deref(), Some(second));
    // All that AWS's own rotation reads, under its names.
    for key in ["accountId", "servicePrincipalId", "clientId"] {
        assert_eq!(value[key], of_aws[key], "{key}");
    }
    assert_eq!(value["clientSecret"], json!(scene.bench.cloud.minted_values()[second]));
    scene.bench.pass(hours(26));
    let report = scene.schedule().await;
    assert_eq!(report["retired"], json!([id]), "what was taken over is retired in its turn: {report:#}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_pending_version_is_filled_once_and_only_by_create_secret() {
    let scene = Scene::rotating(&few()).await;
    assert_eq!(scene.secrets.labelled("AWSPENDING"), Some((TOKEN.to_owned(), None)));
    for step in &STEPS[1..] {
        assert_eq!(kind(scene.step(step).await), "Lakekey.Permanent.step-too-early", "{step}");
    }
    scene.step("createSecret").await.unwrap();
    let filled = scene.secrets.labelled("AWSPENDING");
    assert!(filled.as_ref().is_some_and(|(_, value)| value.is_some()));
    scene.step("createSecret").await.unwrap();
    assert_eq!(scene.secrets.labelled("AWSPENDING"), filled);
    scene.secrets.assert_proper();
}
