//! A rotation in the functions of a platform: invocations that end at a known time, and messages that go on with what they
//! left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lakekey_core::command::{Command, Outcome, Progress};
use lakekey_core::http::transport::Transport;
use lakekey_core::report::CredentialMove;
use lakekey_core::work::Worked;
use lakekey_sim::Fleet;
use serde_json::Value;

use crate::belt::Belt;
use crate::crashes::assert_no_leak;
use crate::fuse::{Cut, Fuse};
use crate::support::{Bench, InProcess, days, hours, minutes};

/// How long an invocation of a platform lasts, where that is not what a test is about.
const LASTS: Duration = minutes(10);

#[tokio::test(start_paused = true)]
async fn a_rotation_goes_on_over_as_many_invocations_as_it_takes() {
    let bench = Bench::new(&Fleet::new(24, 7));
    let belt = Belt::new(&bench);
    let lasts = Duration::from_secs(8);
    let cloud = || Arc::new(InProcess(bench.cloud.clone()));
    let began = bench.clock.now();
    bench.invocation(cloud(), &belt, lasts).tick().await.unwrap();
    assert!(bench.clock.now().duration_since(began).as_secs() < 8, "it left in time");

    let mut invocations = 1;
    while let Some(text) = belt.take(&bench) {
        let began = bench.clock.now();
        let worked = bench.invocation(cloud(), &belt, lasts).work(&text).await.unwrap();
        assert_eq!(worked, Worked::Done);
        assert!(bench.clock.now().duration_since(began).as_secs() < 8, "it left in time");
        invocations += 1;
        assert!(invocations < 50, "it does not get on");
    }
    assert!(invocations > 2, "{invocations}");
    let (status, now) = bench.one(&["status"]).await;
    assert_eq!((status, now["phase"].as_str(), now["generation"].as_u64()), (0, Some("draining"), Some(1)), "{now:#}");
    bench.assert_all_hold(now["secret_id"].as_str().unwrap());
}

/// A customer whose targets make several slices; some must be taken over first.
fn many() -> Bench {
    Bench::new(&Fleet { foreign_secrets: 1, ..Fleet::new(90, 7) })
}

impl Bench {
    fn in_process(&self) -> Arc<dyn Transport> {
        Arc::new(InProcess(self.cloud.clone()))
    }

    async fn tick(&self, belt: &Arc<Belt>) {
        self.invocation(self.in_process(), belt, LASTS).tick().await.unwrap();
    }

    async fn deliver(&self, belt: &Arc<Belt>, text: &str) {
        let worked = self.invocation(self.in_process(), belt, LASTS).work(text).await.unwrap();
        assert_eq!(worked, Worked::Done, "{text}");
    }

    /// Delivers what is on the belt until nothing is.
    async fn deliver_all(&self, belt: &Arc<Belt>) {
        let mut delivered = 0;
        while let Some(text) = belt.take(self) {
            self.deliver(belt, &text).await;
            delivered += 1;
            assert!(delivered < 100, "it does not come to rest");
        }
    }

    /// What a person asks for elsewhere, meanwhile.
    async fn ask(&self, command: Command) -> CredentialMove {
        let app = self.elsewhere(self.in_process(), "person", self.clock.clone());
        let Outcome::Moved(report) = app.run(command, &Progress::none()).await.unwrap() else { panic!("it moves nothing") };
        report.credentials[0].clone()
    }

    /// The words for what happened, in order.
    async fn events(&self) -> Vec<String> {
        let (_, history) = self.one(&["history", "--verify"]).await;
        assert_eq!(history["verified"], true);
        history["entries"].as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap().to_owned()).collect()
    }

    /// Every target has moved, and the credential is `draining`.
    async fn assert_moved(&self, generation: u64) -> Value {
        let (status, now) = self.one(&["status"]).await;
        assert_eq!((status, &now["phase"], &now["generation"]), (0, &"draining".into(), &generation.into()), "{now:#}");
        self.assert_all_hold(now["secret_id"].as_str().unwrap());
        now
    }

    /// Updates of data sources so far.
    fn writes(&self) -> u32 {
        self.cloud.sources().iter().map(|source| source.writes).sum()
    }

    /// What no take-over left bare was written once.
    fn assert_written_once(&self) {
        let targets = self.targets();
        let again: Vec<_> = targets.iter().filter(|target| target.datasets.len() == 1 && target.writes != 1).collect();
        assert!(again.is_empty(), "{again:?}");
    }

    /// A rotation whose big wave has just been sent out: the messages of its slices.
    async fn sent_out(&self, belt: &Arc<Belt>) -> Vec<String> {
        self.tick(belt).await;
        let slices = belt.take_slices();
        assert!(slices.len() > 1, "{slices:?}");
        slices
    }
}

fn count(events: &[String], event: &str) -> usize {
    events.iter().filter(|told| *told == event).count()
}

#[tokio::test(start_paused = true)]
async fn a_wave_is_written_by_many_workers_and_ended_by_the_last() {
    let bench = many();
    let belt = Belt::new(&bench);
    let slices = bench.sent_out(&belt).await;
    let before = bench.events().await;
    assert_eq!(before.last().unwrap(), "wave-started", "the lease stays");
    for text in &slices[1..] {
        bench.deliver(&belt, text).await;
    }
    assert_eq!(bench.events().await, before, "workers write no entry, however many targets they have");
    bench.deliver(&belt, &slices[0]).await;
    let events = bench.events().await;
    assert_eq!(count(&events, "wave-ended"), count(&before, "wave-started"));
    bench.assert_moved(1).await;

    let results: Vec<String> = bench.files("state/slices").into_iter().map(|(path, _)| path).collect();
    assert_eq!(results.len(), slices.len(), "one object for each delivery: {results:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_may_be_lost_repeated_reordered_and_late() {
    let bench = many();
    let belt = Belt::new(&bench);
    let slices = bench.sent_out(&belt).await;
    // The first is lost; the others come in the wrong order, each twice.
    for text in slices[1..].iter().rev().flat_map(|text| [text, text]) {
        bench.deliver(&belt, text).await;
    }
    bench.deliver_all(&belt).await;
    bench.assert_moved(1).await;
    let (writes, events) = (bench.writes(), bench.events().await);
    for text in &slices {
        bench.deliver(&belt, text).await;
    }
    assert_eq!((bench.writes(), bench.events().await), (writes, events), "late ones do nothing");
    bench.assert_written_once();
}

#[tokio::test(start_paused = true)]
async fn a_lost_wave_is_sent_out_again_under_another_lease_and_its_old_workers_write_nothing() {
    let bench = many();
    let belt = Belt::new(&bench);
    let old = bench.sent_out(&belt).await;
    bench.deliver(&belt, &old[0]).await;
    belt.lose_all();
    bench.pass(minutes(18));
    // The schedule finds the lease over: what was heard of counts, the rest is sent out or written anew.
    bench.tick(&belt).await;
    let writes = bench.writes();
    for text in &old {
        bench.deliver(&belt, text).await;
    }
    assert_eq!(bench.writes(), writes);
    bench.deliver_all(&belt).await;
    bench.assert_moved(1).await;
    bench.assert_written_once();
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_of_ours_is_refused_and_changes_nothing() {
    let bench = many();
    let belt = Belt::new(&bench);
    let slices = bench.sent_out(&belt).await;
    let (writes, events) = (bench.writes(), bench.events().await);
    let other = |from: &str, to: &str| slices[0].replace(from, to);
    for (text, code) in [
        ("{}".to_owned(), "message-unreadable"),
        (other("\"v\":1", "\"v\":9"), "message-version"),
        (other("sales-bi", "no-such"), "message-outdated"),
    ] {
        match bench.invocation(bench.in_process(), &belt, LASTS).work(&text).await.unwrap() {
            Worked::Refused(problem) => assert_eq!(problem.code, code),
            Worked::Done => panic!("{text} was taken"),
        }
    }
    // Well formed, but not what the journal says.
    for text in
        [other("\"epoch\":1", "\"epoch\":7"), other("\"generation\":1", "\"generation\":2"), other("\"slice\":0", "\"slice\":99")]
    {
        assert!(!slices.contains(&text));
        bench.deliver(&belt, &text).await;
    }
    assert_eq!((bench.writes(), bench.events().await), (writes, events));
}

/// A second rotation whose wave is out, one slice of it written.
async fn half_way() -> (Bench, Arc<Belt>, Vec<String>) {
    let bench = many();
    let belt = Belt::new(&bench);
    bench.tick(&belt).await;
    bench.deliver_all(&belt).await;
    bench.assert_moved(1).await;
    bench.pass(days(7));
    let slices = bench.sent_out(&belt).await;
    bench.deliver(&belt, &slices[0]).await;
    (bench, belt, slices)
}

#[tokio::test(start_paused = true)]
async fn a_rollback_in_mid_wave_ends_its_workers_and_waits_for_what_may_land() {
    let (bench, belt, slices) = half_way().await;
    let began = bench.clock.now();
    let asked = bench.ask(Command::Rollback { names: Vec::new() }).await;
    assert_eq!(asked.error.unwrap().code, "lease-held", "it is in the journal, and waits for the workers' lease");
    let writes = bench.writes();
    for text in &slices[1..] {
        bench.deliver(&belt, text).await;
        assert_eq!(bench.writes(), writes, "a worker that hears of it writes nothing more");
    }
    bench.deliver_all(&belt).await;
    let now = bench.assert_moved(1).await;
    assert!(bench.clock.now().duration_since(began).as_secs() > 15 * 60, "no sooner than the lease's end");
    assert_eq!((bench.writes() - writes) as usize, bench.targets().len(), "whatever may hold the new one went back: {now:#}");
    bench.assert_no_outage();
}

#[tokio::test(start_paused = true)]
async fn a_revoke_in_mid_wave_takes_over_and_leaves_one_secret() {
    let (bench, belt, slices) = half_way().await;
    let asked = bench.ask(Command::Revoke { names: Vec::new(), foreign: false }).await;
    assert_eq!(asked.error.unwrap().code, "lease-held");
    for text in &slices[1..] {
        bench.deliver(&belt, text).await;
    }
    bench.deliver_all(&belt).await;
    let (_, now) = bench.one(&["status"]).await;
    assert_eq!(now["generation"], 3, "{now:#}");
    bench.assert_all_hold(now["secret_id"].as_str().unwrap());
    assert_eq!(bench.living().len(), 1 + 2, "the new one, and the two foreign ones");
}

/// What a life came to.
struct Life {
    requests: usize,
    polls: usize,
    crashed: bool,
}

/// A life in functions that is cut off once: two rotations and a retirement, with the schedule every hour, and messages that
/// come again when whoever took one has died.
async fn live(cut: Cut) -> Life {
    let bench = many();
    let (fuse, belt) = (Fuse::new(&bench.cloud, cut), Belt::new(&bench));
    let foreign: BTreeSet<String> = bench.living().into_iter().collect();
    let mut last = Value::Null;
    for (stage, phases) in [(hours(0), ["draining", "idle"]), (days(7), ["draining", "idle"]), (hours(26), ["idle", "idle"])] {
        bench.pass(stage);
        for hour in 0.. {
            assert!(hour < 12, "{cut:?}: it does not come to rest: {:#}", bench.one(&["status"]).await.1);
            let tick = bench.invocation(fuse.clone(), &belt, LASTS);
            let _ = fuse.burn(tick.tick()).await;
            let mut delivered = 0;
            while let Some(text) = belt.take(&bench) {
                delivered += 1;
                assert!(delivered < 100, "{cut:?}: messages go round in circles");
                let worker = bench.invocation(fuse.clone(), &belt, LASTS);
                if !matches!(fuse.burn(worker.work(&text)).await, Some(Ok(_))) {
                    belt.put_back(&text, minutes(10));
                }
                if delivered % 5 == 0 {
                    let again = bench.invocation(fuse.clone(), &belt, LASTS);
                    let _ = fuse.burn(again.work(&text)).await;
                }
            }
            let (status, now) = bench.one(&["status"]).await;
            let fresh = stage == hours(26) || now["secret_id"] != last;
            if status == 0 && fresh && phases.contains(&now["phase"].as_str().unwrap()) {
                last = now["secret_id"].clone();
                break;
            }
            bench.pass(hours(1));
        }
    }
    assert_eq!(fuse.outages(), Vec::<String>::new(), "{cut:?}");
    bench.assert_all_hold(last.as_str().unwrap());
    let expected: BTreeSet<String> = foreign.into_iter().chain([last.as_str().unwrap().to_owned()]).collect();
    assert_eq!(bench.living().into_iter().collect::<BTreeSet<_>>(), expected, "{cut:?}");
    bench.events().await;
    assert_no_leak(&bench, &format!("{cut:?}"));
    Life { requests: fuse.requests(), polls: fuse.polls(), crashed: fuse.spent() }
}

#[tokio::test(start_paused = true)]
async fn invocations_that_die_before_an_answer_are_made_good_by_others() {
    let whole = live(Cut::Never).await;
    for point in (whole.requests / 12..whole.requests).step_by(whole.requests / 6) {
        assert!(live(Cut::BeforeAnswer(point)).await.crashed, "{point}");
    }
}

#[tokio::test(start_paused = true)]
async fn invocations_that_die_at_an_await_are_made_good_by_others() {
    // How many awaits there are differs a little from life to life.
    let whole = live(Cut::Poll(400)).await;
    for point in (whole.polls / 8..whole.polls * 9 / 10).step_by(whole.polls / 5) {
        assert!(live(Cut::Poll(point)).await.crashed, "{point}");
    }
}
