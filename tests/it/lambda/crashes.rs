//! A rotation that Secrets Manager leads, whose sandbox is taken away at any request of any step. Secrets Manager then asks for
//! the whole rotation again, in another sandbox, which has to wait for the lease of the dead one.

use std::collections::BTreeSet;
use std::sync::Arc;

use lakekey_core::command::Progress;
use lakekey_sim::Fleet;
use serde_json::json;

use super::scene::{NEXT_TOKEN, STEPS, Scene, TOKEN, order, schedule_in};
use crate::crashes::{all, assert_no_leak};
use crate::fuse::{Cut, Fuse};
use crate::support::{hours, minutes};

/// What a life came to.
struct Life {
    requests: usize,
    effects: Vec<usize>,
    crashed: bool,
}

/// A rotation that is led, and the fuse that its requests go through.
struct Led {
    scene: Scene,
    fuse: Arc<Fuse>,
    sandboxes: usize,
}

impl Led {
    async fn begun(fleet: &Fleet, cut: Cut) -> Self {
        let scene = Scene::rotating(fleet).await;
        let fuse = Fuse::over(scene.transport(), &scene.bench.cloud, cut);
        Self { scene, fuse, sandboxes: 0 }
    }

    /// One step in the present sandbox: `None` if it was taken away.
    async fn ask(&mut self, step: &str) -> Option<bool> {
        let app = self.scene.sandbox_over(self.fuse.clone(), &format!("sandbox-{}", self.sandboxes));
        let (order, progress) = (order(step), Progress::none());
        let Some(answer) = self.fuse.burn(Box::pin(app.step(&order, &progress))).await else {
            self.sandboxes += 1;
            return None;
        };
        match answer {
            Ok(_) => Some(true),
            Err(error) => {
                let kind = lakekey_aws::error_type(&error);
                assert!(kind.starts_with("Lakekey.Retryable."), "{step}: {error:?}");
                Some(false)
            }
        }
    }

    /// Asks until the step is done, after a crash or a failure from the first step on, as Secrets Manager does; and once more.
    async fn done(&mut self, last: usize) {
        let (mut at, mut asked) = (last, 0);
        while at <= last {
            match self.ask(STEPS[at]).await {
                Some(true) => at += 1,
                Some(false) => {
                    self.scene.bench.pass(minutes(6));
                    at = 0;
                }
                None => at = 0,
            }
            asked += 1;
            assert!(asked < 24, "{} does not come to an end", STEPS[last]);
        }
        while self.ask(STEPS[last]).await != Some(true) {
            self.scene.bench.pass(minutes(6));
            asked += 1;
            assert!(asked < 24, "{} can't be repeated", STEPS[last]);
        }
    }

    /// The schedule's event, until no dead sandbox's lease is in its way.
    async fn schedule(&mut self) {
        for _ in 0..8 {
            let app = self.scene.sandbox_over(self.fuse.clone(), &format!("sandbox-{}", self.sandboxes));
            match self.fuse.burn(Box::pin(schedule_in(&app))).await {
                Some(report) if report["error"]["code"] != "lease-held" => return,
                Some(_) => {}
                None => self.sandboxes += 1,
            }
            self.scene.bench.pass(minutes(6));
        }
        panic!("the schedule does not come to an end");
    }
}

/// A whole rotation with its retirement, cut off once; the cloud's own truth is looked at all along.
async fn live(fleet: &Fleet, cut: Cut) -> Life {
    let mut led = Led::begun(fleet, cut).await;
    let before = led.scene.living();
    let first = led.scene.holds("AWSCURRENT").unwrap();
    let foreign: BTreeSet<String> = before.iter().filter(|id| **id != first).cloned().collect();
    for (at, step) in STEPS.into_iter().enumerate() {
        led.done(at).await;
        let incoming = led.scene.holds("AWSPENDING").unwrap();
        assert_ne!(incoming, first, "{cut:?}");
        assert_eq!(led.scene.all_hold(&incoming), step != "createSecret", "{cut:?} {step}");
        assert_eq!(led.scene.holds("AWSCURRENT").unwrap() == incoming, step == "finishSecret", "{cut:?} {step}");
        // The schedule comes in between and leaves it alone.
        led.schedule().await;
        assert_eq!(led.scene.holds("AWSCURRENT").unwrap() == incoming, step == "finishSecret", "{cut:?} {step}");
        assert!(led.scene.living().contains(&first), "{cut:?} {step}: the old one lives");
    }
    let Led { scene, .. } = &led;
    assert_eq!(scene.secrets.labelled("AWSCURRENT").unwrap().0, TOKEN, "{cut:?}: the version that AWS made is the current one");
    let second = scene.holds("AWSCURRENT").unwrap();
    // All the time that crashes cost has passed by now; grace is counted from the last move.
    scene.bench.pass(hours(20));
    led.schedule().await;
    assert!(led.scene.living().contains(&first), "{cut:?}: it lives until grace has passed");
    led.scene.bench.pass(hours(6));
    led.schedule().await;
    check(&led, &foreign, &second, cut).await;
    Life { requests: led.fuse.requests(), effects: led.fuse.effects(), crashed: led.fuse.spent() }
}

async fn check(led: &Led, foreign: &BTreeSet<String>, second: &str, cut: Cut) {
    let Led { scene, fuse, .. } = led;
    assert_eq!(fuse.outages(), Vec::<String>::new(), "{cut:?}");
    scene.secrets.assert_proper();
    scene.bench.assert_all_hold(second);
    let expected: BTreeSet<String> = foreign.iter().cloned().chain([second.to_owned()]).collect();
    assert_eq!(scene.living(), expected, "{cut:?}: foreign ones and the current one live");
    let all = scene.bench.cloud.secrets(&scene.bench.cloud.cast().principal.application_id);
    assert!(all.len() - foreign.len() <= 3, "{cut:?}: one crash costs at most one secret: {all:?}");
    assert_no_leak(&scene.bench, &format!("{cut:?}"));
    let held = scene.secrets.slots();
    assert_eq!(held.len(), 1, "{cut:?}: slots of dead secrets remain: {held:?}");
    // AWS may rotate again.
    scene.secrets.begin_rotation(NEXT_TOKEN);
}

/// Cuts lives off at every request that changes something, and at every so many others.
async fn at_requests(every: usize, cut: fn(usize) -> Cut) {
    let fleet = Fleet { foreign_secrets: 1, ..Fleet::new(3, 5) };
    let whole = live(&fleet, Cut::Never).await;
    assert!(!whole.crashed && whole.effects.len() > 8, "{:?}", whole.effects);
    let others = (0..whole.requests).step_by(if all() { 1 } else { every });
    let points: BTreeSet<usize> = others.chain(whole.effects).collect();
    for point in &points {
        assert!(live(&fleet, cut(*point)).await.crashed, "{:?} was never sent", cut(*point));
    }
    assert!(points.len() > 15, "{points:?}");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_dies_before_a_request_is_asked_for_again_elsewhere() {
    at_requests(20, Cut::BeforeSend).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_dies_before_an_answer_is_asked_for_again_elsewhere() {
    at_requests(20, Cut::BeforeAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_dies_after_an_answer_is_asked_for_again_elsewhere() {
    at_requests(20, Cut::AfterAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn a_medium_fleet_is_led_through_a_rotation_in_which_every_step_dies_and_is_repeated() {
    for late in [0, 4, 9] {
        let mut led = Led::begun(&Fleet { foreign_secrets: 1, ..Fleet::medium(5) }, Cut::Never).await;
        assert!(led.scene.bench.targets().len() >= 40);
        let before = led.scene.living();
        let first = led.scene.holds("AWSCURRENT").unwrap();
        let foreign: BTreeSet<String> = before.iter().filter(|id| **id != first).cloned().collect();
        let mut died = Vec::new();
        for (at, step) in STEPS.into_iter().enumerate() {
            led.fuse.rearm(Cut::BeforeAnswer(late));
            led.done(at).await;
            died.extend(led.fuse.spent().then_some(step));
            assert!(led.scene.living().contains(&first), "{step}");
        }
        // Whoever has little to do has done it before its tenth request.
        assert!(died.len() == 4 || late == 9 && died.len() >= 2, "{late}: {died:?}");
        led.fuse.rearm(Cut::Never);
        let second = led.scene.holds("AWSCURRENT").unwrap();
        led.scene.bench.pass(hours(20));
        let report = led.scene.schedule().await;
        assert!(led.scene.living().contains(&first), "{report:#}");
        led.scene.bench.pass(hours(6));
        let report = led.scene.schedule().await;
        assert_eq!(report["retired"], json!([first]), "{report:#}");
        assert_eq!(led.fuse.outages(), Vec::<String>::new());
        led.scene.secrets.assert_proper();
        led.scene.bench.assert_all_hold(&second);
        let expected: BTreeSet<String> = foreign.into_iter().chain([second]).collect();
        assert_eq!(led.scene.living(), expected, "{late}");
    }
}
