//! Two runners, failing stores and names, on every kind of store; `tamper` has the edits that must show.

mod flaky;
mod tamper;

use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{BrokenReason, Entry, Journal, JournalError, StateKey, list, names, place};
use crate::error::{Error, ErrorKind};
use crate::ids::{CredentialName, RunnerId};
use crate::random::Random;
use crate::secret::Secret;
use flaky::{Fault, Flaky};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Event {
    Started,
    Minted { secret: String },
}

const NAME: &str = "adb-1.7.azuredatabricks.net/42";

fn minted(secret: &str) -> Event {
    Event::Minted { secret: secret.to_owned() }
}

fn key(text: &str) -> Option<Arc<StateKey>> {
    Some(Arc::new(StateKey::new(&Secret::new(text)).unwrap()))
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(object_store::memory::InMemory::new())
}

fn stores() -> (TempDir, [Arc<dyn ObjectStore>; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let local = place::open_state(&folder.path().join("state")).unwrap();
    (folder, [memory(), local])
}

async fn append(journal: &mut Journal<Event>, by: &str, event: Event) -> Result<String, JournalError> {
    let at: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    journal.append(&Random::system(), at, &RunnerId::new(by), event).await.map(|entry| entry.hash)
}

async fn open(store: &Arc<dyn ObjectStore>, key: Option<Arc<StateKey>>) -> Result<Journal<Event>, JournalError> {
    Journal::open(store.clone(), NAME, key, |_| {}).await
}

/// Why a journal that must not open does not.
async fn broken(store: &Arc<dyn ObjectStore>, key: Option<Arc<StateKey>>) -> (u64, BrokenReason) {
    match open(store, key).await {
        Err(JournalError::Broken { seq, reason }) => (seq, reason),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("it opened"),
    }
}

fn path(name: &str, seq: u64) -> Path {
    Path::from_iter(["journal", name, &format!("{seq:012}.json")])
}

async fn bytes(store: &Arc<dyn ObjectStore>, seq: u64) -> Vec<u8> {
    store.get(&path(NAME, seq)).await.unwrap().bytes().await.unwrap().to_vec()
}

async fn put(store: &Arc<dyn ObjectStore>, seq: u64, bytes: &[u8]) {
    store.put(&path(NAME, seq), PutPayload::from(bytes.to_vec())).await.unwrap();
}

#[tokio::test]
async fn entries_come_back_in_order_after_a_restart() {
    let (_folder, stores) = stores();
    for store in stores {
        for key in [None, key("0123456789abcdef")] {
            let name = if key.is_some() { "signed" } else { "plain" };
            let mut journal = Journal::open(store.clone(), name, key.clone(), |_| {}).await.unwrap();
            assert_eq!((journal.len(), journal.head()), (0, None));
            for number in 0..40 {
                append(&mut journal, "one", minted(&number.to_string())).await.unwrap();
            }
            let mut events = Vec::new();
            let reader = |entry: Entry<Event>| events.push((entry.seq, entry.event));
            let again = Journal::open(store.clone(), name, key, reader).await.unwrap();
            assert_eq!(again.head(), journal.head());
            assert!(events.into_iter().eq((0..40).map(|number| (number + 1, minted(&number.to_string())))));
            for seq in 1..=40 {
                again.confirm(seq).await.unwrap();
            }
            assert!(matches!(again.confirm(41).await, Err(JournalError::Broken { seq: 41, .. })));
        }
    }
}

#[tokio::test]
async fn of_two_appenders_one_wins_and_the_other_sees_what_won() {
    let (_folder, stores) = stores();
    for store in stores {
        let (mut one, mut two) = (open(&store, None).await.unwrap(), open(&store, None).await.unwrap());
        append(&mut one, "one", Event::Started).await.unwrap();
        assert!(matches!(append(&mut two, "two", minted("b")).await, Err(JournalError::Lost { seq: 1 })));
        assert!(two.is_empty());

        let fresh = two.refresh().await.unwrap();
        assert_eq!((fresh.len(), fresh[0].by.as_str(), &fresh[0].event), (1, "one", &Event::Started));
        append(&mut two, "two", minted("b")).await.unwrap();
        assert_eq!(one.refresh().await.unwrap()[0].by.as_str(), "two");
        assert!(one.refresh().await.unwrap().is_empty());
        assert_eq!(one.head(), two.head());
    }
}

#[tokio::test]
async fn of_many_appenders_at_once_exactly_one_wins_each_place() {
    let (_folder, stores) = stores();
    for store in stores {
        let mut wins = 0;
        for round in 1..=5 {
            let attempts = (0..8).map(|runner| {
                let store = store.clone();
                async move {
                    let mut journal = open(&store, None).await.unwrap();
                    append(&mut journal, &runner.to_string(), Event::Started).await.is_ok()
                }
            });
            wins += join_all(attempts).await.into_iter().filter(|won| *won).count();
            assert_eq!(open(&store, None).await.unwrap().len(), wins as u64);
            assert!(wins >= round, "somebody always wins");
        }
    }
}

#[tokio::test]
async fn a_put_that_worked_is_a_success_whatever_was_answered() {
    for fault in [Fault::WorksThenExists, Fault::WorksThenFails] {
        let flaky = Arc::new(Flaky::default());
        let store: Arc<dyn ObjectStore> = flaky.clone();
        let mut journal = open(&store, None).await.unwrap();
        flaky.next_put(fault);
        append(&mut journal, "one", Event::Started).await.unwrap();
        append(&mut journal, "one", minted("a")).await.unwrap();
        assert_eq!(open(&store, None).await.unwrap().head(), journal.head());
    }
}

#[tokio::test]
async fn a_put_that_did_not_work_leaves_the_place_free_and_one_that_lost_is_lost() {
    let flaky = Arc::new(Flaky::default());
    let store: Arc<dyn ObjectStore> = flaky.clone();
    let (mut one, mut two) = (open(&store, None).await.unwrap(), open(&store, None).await.unwrap());
    flaky.next_put(Fault::Fails);
    let error = append(&mut one, "one", Event::Started).await.unwrap_err();
    assert!(matches!(error, JournalError::Unavailable(_)));
    assert_eq!(Error::from(error).code(), "state-unavailable");
    append(&mut one, "one", Event::Started).await.unwrap();

    flaky.next_put(Fault::Fails);
    let error = append(&mut two, "two", Event::Started).await.unwrap_err();
    assert!(matches!(error, JournalError::Lost { seq: 1 }), "the answer was lost, the other's entry is there");
    assert_eq!(Error::from(error).kind(), ErrorKind::Unfinished);
}

#[tokio::test]
async fn an_entry_that_comes_late_from_ourselves_is_seen() {
    let flaky = Arc::new(Flaky::default());
    let store: Arc<dyn ObjectStore> = flaky.clone();
    let mut journal = open(&store, None).await.unwrap();
    flaky.next_put(Fault::Later);
    assert!(matches!(append(&mut journal, "one", minted("late")).await, Err(JournalError::Unavailable(_))));
    flaky.land().await;
    assert!(matches!(append(&mut journal, "one", minted("new")).await, Err(JournalError::Lost { seq: 1 })));
    assert_eq!(journal.refresh().await.unwrap()[0].event, minted("late"));
}

#[tokio::test]
async fn a_listing_that_lacks_an_entry_before_a_later_one_is_no_gap() {
    let flaky = Arc::new(Flaky::default());
    let store: Arc<dyn ObjectStore> = flaky.clone();
    let mut journal = open(&store, None).await.unwrap();
    for secret in ["a", "b", "c"] {
        append(&mut journal, "one", minted(secret)).await.unwrap();
    }
    flaky.hide(&path(NAME, 2));
    assert_eq!(open(&store, None).await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_entry_that_nobody_could_read_back_is_not_written() {
    let store = memory();
    let mut journal = open(&store, None).await.unwrap();
    let huge = minted(&"x".repeat(32 << 20));
    assert!(matches!(append(&mut journal, "one", huge).await, Err(JournalError::TooLarge { seq: 1 })));
    append(&mut journal, "one", Event::Started).await.unwrap();
    assert_eq!(open(&store, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn journals_and_their_credentials_are_found_by_name() {
    let (_folder, stores) = stores();
    for store in stores {
        assert!(list(&*store).await.unwrap().is_empty());
        let odd = ["a/b", "ü %2F#1", "..", "plain"];
        let credential = CredentialName::new("sales/bi");
        assert!(names::journals_of(&*store, &credential).await.unwrap().is_empty());
        for name in odd {
            let mut journal = Journal::open(store.clone(), name, None, |_| {}).await.unwrap();
            append(&mut journal, "one", Event::Started).await.unwrap();
            names::remember(&*store, &credential, name).await.unwrap();
            names::remember(&*store, &credential, name).await.unwrap();
        }
        let mut sorted = odd;
        sorted.sort();
        assert_eq!(list(&*store).await.unwrap(), sorted);
        assert_eq!(names::journals_of(&*store, &credential).await.unwrap(), sorted);
        assert!(names::journals_of(&*store, &CredentialName::new("sales")).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_a_crashed_append_left_in_the_folder_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let store = place::open_state(folder.path()).unwrap();
    let mut journal = Journal::<Event>::open(store.clone(), "j", None, |_| {}).await.unwrap();
    append(&mut journal, "one", Event::Started).await.unwrap();
    std::fs::write(folder.path().join("journal/j/000000000002.json#1"), "{half").unwrap();
    append(&mut journal, "one", minted("a")).await.unwrap();
    assert_eq!(Journal::<Event>::open(store, "j", None, |_| {}).await.unwrap().len(), 2);
}

#[tokio::test]
async fn every_future_may_move_between_threads() {
    fn movable<T: Send>(future: T) -> T {
        future
    }
    let store = memory();
    let mut journal = movable(open(&store, None)).await.unwrap();
    movable(append(&mut journal, "one", Event::Started)).await.unwrap();
    movable(journal.refresh()).await.unwrap();
    movable(journal.confirm(1)).await.unwrap();
    movable(list(&*store)).await.unwrap();
}

#[test]
fn a_short_state_key_is_refused_without_repeating_it() {
    let error = StateKey::new(&Secret::new("dose-secret")).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Usage, "state-key-short"));
    assert!(!format!("{error:?}").contains("dose-secret"));
    assert!(!format!("{:?}", key("dose-secret-0123456789")).contains("dose-secret"));
}

#[tokio::test]
async fn what_was_prepared_before_another_entry_is_lost_and_leaves_nothing() {
    let store = memory();
    let mut journal = open(&store, None).await.unwrap();
    let prepare = |journal: &Journal<Event>, secret| {
        journal.prepare(&Random::system(), "2026-11-01T00:00:00Z".parse().unwrap(), &RunnerId::new("a"), minted(secret)).unwrap()
    };
    let (first, second) = (prepare(&journal, "1"), prepare(&journal, "2"));
    journal.put(&first).await.unwrap();
    assert!(matches!(journal.put(&second).await, Err(JournalError::Lost { seq: 1 })));
    assert_eq!((journal.len(), open(&store, None).await.unwrap().head()), (1, journal.head()));
}
