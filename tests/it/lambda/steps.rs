//! Whole rotations that Secrets Manager leads, step by step, over a strict fake of it: steps that are repeated, cut off, out of
//! order, foreign, abandoned.

use std::sync::{Arc, Mutex};

use lakekey_aws::error_type;
use lakekey_core::app::{App, StepOrder, Surroundings};
use lakekey_core::command::{Command, Progress};
use lakekey_core::config::env_vars::Environment;
use lakekey_core::config::{Config, ConfigSource};
use lakekey_core::error::Error;
use lakekey_core::http::transport::Transport;
use lakekey_core::random::Random;
use lakekey_core::report::MoveReport;
use lakekey_core::rotation::next::next;
use lakekey_core::runner;
use lakekey_core::storage::Places;
use lakekey_sim::Fleet;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::secrets::{ARN, Carrier, NAME, Secrets};
use crate::support::{Bench, InProcess, days, hours, minutes};

const TOKEN: &str = "8f14e45f-ceea-467f-a834-1d9b0a2c3d4e";
const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

/// A customer whose secret AWS rotates by lakekey.
struct Scene {
    bench: Bench,
    secrets: Secrets,
}

impl Scene {
    /// With generation 1 everywhere, and AWS about to rotate.
    async fn rotating(targets: u16) -> Self {
        let scene = Self::new(targets);
        scene.schedule().await;
        scene.secrets.set_rotation(Some(true));
        scene.secrets.begin_rotation(TOKEN);
        scene
    }

    fn new(targets: u16) -> Self {
        let mut bench = Bench::new(&Fleet::new(targets.into(), 5));
        bench.credential()["store"] = json!(format!("awssm:{NAME}"));
        let aws = [("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "key")];
        bench.environment.extend(aws.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self { bench, secrets: Secrets::default() }
    }

    /// A process of its own, which falls silent after so many requests.
    fn process(&self, left: Option<u32>) -> (App, Arc<Notify>) {
        self.bench.write_config();
        let environment: Environment = self.bench.environment.iter().cloned().collect();
        let source = ConfigSource::Flag("lakekey.yaml".to_owned());
        let config = Config::load(&source, &environment, self.bench.folder.path()).unwrap();
        let silent = Arc::new(Notify::new());
        let inner = InProcess(self.bench.cloud.clone());
        let carrier = Carrier { inner, secrets: self.secrets.clone(), left: Mutex::new(left), silent: Arc::clone(&silent) };
        let (transport, clock, random) = (Arc::new(carrier) as Arc<dyn Transport>, self.bench.clock.clone(), Random::system());
        let storage = Arc::new(Places::new(&config, &environment, &transport, &clock).unwrap());
        let runner = runner::id(&environment, &random);
        let surroundings = Surroundings { transport, storage, clock, random, environment, runner, decide: next, sign_ins: None };
        (App::new(config, surroundings).unwrap(), silent)
    }

    async fn step(&self, step: &str) -> Result<MoveReport, Error> {
        self.ask(order(step)).await
    }

    async fn ask(&self, order: StepOrder) -> Result<MoveReport, Error> {
        let (app, _) = self.process(None);
        Box::pin(app.step(&order, &Progress::none())).await
    }

    /// A step whose process dies at its request of this number; whether it came to that.
    async fn dies(&self, step: &str, request: u32) -> bool {
        let (app, silent) = self.process(Some(request));
        let (order, progress) = (order(step), Progress::none());
        tokio::select! {
            biased;
            () = silent.notified() => true,
            _ = app.step(&order, &progress) => false,
        }
    }

    /// What the schedule's event does.
    async fn schedule(&self) -> Value {
        let rotate = Command::Rotate { names: Vec::new(), force: false };
        let outcome = self.process(None).0.run(rotate, &Progress::none()).await.unwrap();
        let lakekey_core::command::Outcome::Moved(report) = outcome else { panic!("no report") };
        json!(report)["credentials"][0].clone()
    }

    /// The id of the secret that the version with a label holds.
    fn holds(&self, label: &str) -> Option<String> {
        let (_, value) = self.secrets.labelled(label)?;
        let value: Value = serde_json::from_str(&value?).unwrap();
        Some(value["oauthSecretId"].as_str().unwrap().to_owned())
    }

    fn all_hold(&self, secret_id: &str) -> bool {
        self.bench.targets().iter().all(|source| source.secret_id.as_deref() == Some(secret_id))
    }
}

fn order(step: &str) -> StepOrder {
    StepOrder { step: step.to_owned(), secret_id: ARN.to_owned(), token: TOKEN.to_owned(), rotation_token: None }
}

fn kind(answer: Result<MoveReport, Error>) -> String {
    error_type(&answer.expect_err("a refusal"))
}

#[tokio::test(start_paused = true)]
async fn each_step_may_die_and_be_asked_for_again_and_the_old_secret_lives_until_grace_has_passed() {
    for request in [1, 6, 11, 17] {
        let scene = Scene::rotating(12).await;
        let first = scene.holds("AWSCURRENT").unwrap();
        let mut died = 0;
        for step in STEPS {
            died += u32::from(Box::pin(scene.dies(step, request)).await);
            scene.bench.assert_no_outage();
            for _ in 0..2 {
                scene.step(step).await.unwrap_or_else(|error| panic!("{step} after a death at {request}: {error:?}"));
            }
            let incoming = scene.holds("AWSPENDING").unwrap();
            assert_ne!(incoming, first);
            assert_eq!(scene.all_hold(&incoming), step != "createSecret", "{step}");
            assert_eq!(scene.holds("AWSCURRENT").unwrap() == incoming, step == "finishSecret", "{step}");
            // The schedule comes in between and leaves it alone.
            let report = scene.schedule().await;
            assert_eq!(scene.holds("AWSCURRENT").unwrap() == incoming, step == "finishSecret", "{step}: {report:#}");
            assert!(scene.bench.living().contains(&first), "{step}");
        }
        assert!(died >= 2, "deaths at {request}");
        scene.secrets.assert_proper();
        assert_eq!(scene.secrets.labelled("AWSCURRENT").unwrap().0, TOKEN, "the version that AWS made is the current one");
        let second = scene.holds("AWSCURRENT").unwrap();
        // Before grace has passed the old one lives, after it the schedule retires it.
        scene.bench.pass(hours(23));
        scene.schedule().await;
        assert!(scene.bench.living().contains(&first), "{request}");
        scene.bench.pass(hours(3));
        let report = scene.schedule().await;
        assert_eq!(report["retired"], json!([first]), "{report:#}");
        scene.bench.assert_all_hold(&second);
        // AWS may rotate again.
        scene.secrets.begin_rotation("c9f0f895-fb98-4b91-9f6d-0a1b2c3d4e5f");
    }
}

#[tokio::test(start_paused = true)]
async fn what_secrets_manager_abandons_the_schedule_finishes_and_unblocks_the_next_rotation() {
    for last in 0..STEPS.len() - 1 {
        let scene = Scene::rotating(3).await;
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
        scene.secrets.begin_rotation("c9f0f895-fb98-4b91-9f6d-0a1b2c3d4e5f");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_not_due_is_refused_and_changes_nothing() {
    let scene = Scene::rotating(2).await;
    let minted = scene.bench.living().len();
    for step in &STEPS[1..] {
        assert_eq!(kind(scene.step(step).await), "Lakekey.Permanent.step-too-early", "{step} before createSecret");
    }
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
    let scene = Scene::rotating(2).await;
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
    let scene = Scene::rotating(2).await;
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
    let scene = Scene::rotating(2).await;
    scene.secrets.throttle(1_000);
    assert_eq!(kind(scene.step("createSecret").await), "Lakekey.Retryable.throttled");
    scene.secrets.throttle(0);
    scene.step("createSecret").await.unwrap();
}
