//! The real binary, killed or interrupted in each phase, over real sockets: the next run goes on at once.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use lakekey_cli::CliSurroundings;
use lakekey_core::clock::Clock;
use lakekey_core::random::Random;
use lakekey_sim::{Action, Rule};

use crate::town::{Town, ended, interrupt};

/// How a process is ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Interrupt,
}

fn hang() -> Rule {
    Rule::always(Action::Hang { after_effect: false }).times(1)
}

/// Starts a rotation, ends it where `trouble` holds it up, and lets the next run finish.
async fn ended_in(phase: &str, trouble: Rule, end: End, minted: usize) {
    let town = Town::new().await;
    let foreign = town.living();
    town.served.cloud.set_faults(vec![trouble]);
    end_rotation(&town, end).await;

    let (status, now) = town.one(&["status"]).await;
    assert_eq!((status, now["phase"].as_str()), (3, Some(phase)), "{now:#}");

    let (status, rotated) = resume_at_once(&town).await;
    assert_eq!((status, rotated["outcome"].as_str()), (0, Some("rotated")), "{rotated:#}");
    let current = rotated["secret_id"].as_str().unwrap();
    town.assert_all_hold(current);
    assert_eq!(town.minted(), minted, "{phase}");
    let mut expected = foreign;
    expected.push(current.to_owned());
    assert_eq!(town.living(), expected);
    assert_eq!(town.served.cloud.leaks(), Vec::<String>::new());
}

async fn end_rotation(town: &Town, end: End) {
    let mut child = town.start(&["rotate"]);
    town.struck().await;
    match end {
        End::Kill => child.kill().await.unwrap(),
        End::Interrupt => {
            interrupt(&child).await;
            let (status, stopped) = ended(child).await;
            assert_eq!((status, stopped["error"]["code"].as_str()), (3, Some("stopped")), "{stopped:#}");
            assert!(stopped["error"]["hint"].as_str().unwrap().contains("lakekey rotate"), "{stopped:#}");
        }
    }
    town.served.cloud.set_faults(Vec::new());
}

async fn resume_at_once(town: &Town) -> (i32, serde_json::Value) {
    #[expect(clippy::disallowed_methods, reason = "the time that a person waits is what is tested")]
    let begun = Instant::now();
    let answer = town.one(&["rotate"]).await;
    assert!(begun.elapsed() < Duration::from_secs(25), "it waited {:?}", begun.elapsed());
    answer
}

#[tokio::test]
async fn killed_while_planned_it_mints_once() {
    ended_in("planned", hang().service("databricks").method("POST").path("credentials/secrets"), End::Kill, 1).await;
}

#[tokio::test]
async fn killed_before_the_answer_to_its_create_it_deletes_the_lost_secret() {
    let hang = Rule::always(Action::Hang { after_effect: true }).times(1);
    ended_in("planned", hang.service("databricks").method("POST").path("credentials/secrets"), End::Kill, 2).await;
}

#[tokio::test]
async fn killed_while_minted_it_goes_on_with_the_same_secret() {
    ended_in("minted", hang().service("databricks").method("POST").path("/sql/statements"), End::Kill, 1).await;
}

#[tokio::test]
async fn killed_while_verified_it_goes_on_with_the_same_secret() {
    ended_in("verified", hang().service("powerbi").method("POST").path("Default.TakeOver"), End::Kill, 1).await;
}

#[tokio::test]
async fn killed_while_applying_it_goes_on_with_the_same_secret() {
    let second = Rule::always(Action::Hang { after_effect: true }).nth(2);
    ended_in("applying", second.service("powerbi").method("PATCH"), End::Kill, 1).await;
}

#[tokio::test]
async fn killed_while_promoted_it_goes_on_with_the_same_secret() {
    ended_in("promoted", hang().service("databricks").path("/secrets/put"), End::Kill, 1).await;
}

#[tokio::test]
async fn interrupted_while_planned_it_says_how_to_go_on() {
    ended_in("planned", hang().service("databricks").method("POST").path("credentials/secrets"), End::Interrupt, 1).await;
}

#[tokio::test]
async fn interrupted_while_applying_it_says_how_to_go_on() {
    ended_in("applying", hang().service("powerbi").method("PATCH"), End::Interrupt, 1).await;
}

#[tokio::test]
async fn killed_while_draining_it_deletes_exactly_what_was_condemned() {
    // A cloud of the day before, and two rotations by its clock, so that grace is over by now.
    let town = Town::at(Some(Clock::wall().now() - SignedDuration::from_hours(25))).await;
    let foreign = town.living();
    for _ in 0..2 {
        assert_eq!(rotate_a_day_ago(&town).await, 0);
    }
    town.served.cloud.advance(Duration::from_secs(25 * 3_600));
    let (_, before) = town.one(&["status"]).await;
    assert_eq!((before["phase"].as_str(), town.minted()), (Some("draining"), 2), "{before:#}");
    let current = before["secret_id"].as_str().unwrap().to_owned();

    let hang = Rule::always(Action::Hang { after_effect: true }).times(1);
    town.served.cloud.set_faults(vec![hang.service("databricks").method("DELETE")]);
    end_rotation(&town, End::Kill).await;
    let (_, now) = town.one(&["status"]).await;
    assert_eq!(now["phase"].as_str(), Some("draining"), "{now:#}");

    let (status, done) = resume_at_once(&town).await;
    assert_eq!((status, done["phase"].as_str(), done["retired"].as_array().unwrap().len()), (0, Some("idle"), 1), "{done:#}");
    town.assert_all_hold(&current);
    let mut expected = foreign;
    expected.push(current);
    assert_eq!((town.living(), town.minted()), (expected, 2));
}

/// `lakekey rotate --force` in this process, with a clock that is 25 hours behind.
async fn rotate_a_day_ago(town: &Town) -> u8 {
    let surroundings = CliSurroundings {
        environment: town.environment().iter().cloned().collect(),
        current_dir: town.folder.path().to_owned(),
        clock: Clock::wall().skewed(SignedDuration::from_hours(-25)),
        random: Random::system(),
        transport: None,
        stdin: None,
        stdout: Box::new(std::io::sink()),
        stderr: Box::new(std::io::sink()),
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        width: None,
        stop: Box::pin(std::future::pending()),
    };
    let arguments = ["lakekey", "rotate", "--force"].map(Into::into).to_vec();
    lakekey_cli::run(arguments, surroundings).await.code()
}
