//! What somebody with write access to the state may do, and what shows it.

use object_store::PutMode;

use super::super::entry::{Position, decode, encode};
use super::*;

const KEY: &str = "0123456789abcdef";

/// Three entries, and the hash of the last.
async fn written(key: Option<Arc<StateKey>>) -> (Arc<dyn ObjectStore>, String) {
    let store = memory();
    let mut journal = open(&store, key).await.unwrap();
    append(&mut journal, "one", Event::Started).await.unwrap();
    append(&mut journal, "one", minted("a")).await.unwrap();
    let head = append(&mut journal, "one", minted("b")).await.unwrap();
    (store, head)
}

async fn remove(store: &Arc<dyn ObjectStore>, seq: u64) {
    store.delete(&path(NAME, seq)).await.unwrap();
}

#[tokio::test]
async fn every_edit_of_one_byte_shows() {
    for signed in [false, true] {
        let state_key = || if signed { key(KEY) } else { None };
        let (store, head) = written(state_key()).await;
        for seq in 1..=3 {
            let original = bytes(&store, seq).await;
            for (index, mask) in (0..original.len()).flat_map(|index| [0x01, 0x20, 0x80].map(|mask| (index, mask))) {
                let mut edited = original.clone();
                edited[index] ^= mask;
                put(&store, seq, &edited).await;
                match open(&store, state_key()).await {
                    Err(JournalError::Broken { .. }) => {}
                    Err(error) => panic!("another error: {error}"),
                    // Nothing follows the last entry: without a key, only its hash in the store gives it away.
                    Ok(journal) => assert!(seq == 3 && !signed && !journal.contains(&head), "entry {seq}, byte {index}"),
                }
            }
            put(&store, seq, &original).await;
        }
        assert!(open(&store, state_key()).await.unwrap().contains(&head));
    }
}

#[tokio::test]
async fn bytes_added_or_cut_off_show() {
    let (store, _) = written(None).await;
    let original = bytes(&store, 3).await;
    for garbage in [&b"\n"[..], b" ", b"{}", b"\0", b"{}\n"] {
        put(&store, 3, &[&original, garbage].concat()).await;
        assert!(matches!(broken(&store, None).await, (3, BrokenReason::Unreadable(_))));
    }
    for length in 0..original.len() {
        put(&store, 3, &original[..length]).await;
        assert!(matches!(broken(&store, None).await, (3, BrokenReason::Unreadable(_))));
    }
    put(&store, 3, &vec![b' '; (32 << 20) + 1]).await;
    assert_eq!(broken(&store, None).await, (3, BrokenReason::Oversize));
}

#[tokio::test]
async fn a_missing_first_or_middle_entry_shows() {
    for seq in [1, 2] {
        let (store, _) = written(None).await;
        remove(&store, seq).await;
        assert_eq!(broken(&store, None).await, (seq, BrokenReason::Missing));
    }
}

#[tokio::test]
async fn a_journal_cut_off_at_its_end_shows_only_by_a_hash_kept_elsewhere() {
    for state_key in [None, key(KEY)] {
        let (store, head) = written(state_key.clone()).await;
        let running = open(&store, state_key.clone()).await.unwrap();
        remove(&store, 3).await;
        let journal = open(&store, state_key).await.unwrap();
        assert_eq!(journal.len(), 2);
        assert!(!journal.contains(&head));
        assert!(matches!(running.confirm(3).await, Err(JournalError::Broken { seq: 3, reason: BrokenReason::Missing })));
    }
}

#[tokio::test]
async fn what_comes_before_a_break_can_be_shown() {
    let (store, _) = written(None).await;
    remove(&store, 2).await;
    let (entries, verified) = Journal::<Event>::inspect(store, NAME, None).await;
    assert_eq!(entries.len(), 1);
    assert!(matches!(verified, Err(JournalError::Broken { seq: 2, reason: BrokenReason::Missing })));
}

#[tokio::test]
async fn a_swap_shows() {
    let (store, _) = written(None).await;
    let (two, three) = (bytes(&store, 2).await, bytes(&store, 3).await);
    put(&store, 2, &three).await;
    put(&store, 3, &two).await;
    assert_eq!(broken(&store, None).await, (2, BrokenReason::Sequence(3)));
}

#[tokio::test]
async fn an_entry_of_another_journal_shows_though_signed_with_the_same_key() {
    for state_key in [None, key(KEY)] {
        let (store, _) = written(state_key.clone()).await;
        let mut other: Journal<Event> = Journal::open(store.clone(), "other", state_key.clone(), |_| {}).await.unwrap();
        append(&mut other, "one", Event::Started).await.unwrap();
        let foreign = store.get(&path("other", 1)).await.unwrap().bytes().await.unwrap();
        put(&store, 1, &foreign).await;
        assert_eq!(broken(&store, state_key).await, (1, BrokenReason::Chain));
    }
}

#[test]
fn a_signature_holds_in_its_own_journal_only() {
    let state_key = key(KEY);
    let position = |name| Position { name, seq: 1, prev: "the same".to_owned(), key: state_key.as_deref() };
    let signed = encode(&position("a"), "nonce", Timestamp::UNIX_EPOCH, &RunnerId::new("one"), &Event::Started).unwrap();
    assert!(decode::<Event>(&position("a"), &signed).is_ok());
    assert_eq!(decode::<Event>(&position("b"), &signed).unwrap_err(), BrokenReason::Signature);
}

#[tokio::test]
async fn a_whole_rewrite_shows_by_the_kept_hash_and_at_once_with_a_key() {
    let (_, head) = written(None).await;
    let (rewritten, _) = written(None).await;
    assert!(!open(&rewritten, None).await.unwrap().contains(&head));
    assert_eq!(broken(&rewritten, key(KEY)).await, (3, BrokenReason::Unsigned));
    let (forged, _) = written(key("another-key-012345")).await;
    assert_eq!(broken(&forged, key(KEY)).await, (1, BrokenReason::Signature));
}

#[tokio::test]
async fn an_entry_rewritten_under_a_running_reader_shows() {
    let (store, _) = written(None).await;
    let mut journal = open(&store, None).await.unwrap();
    let (other, _) = written(None).await;
    put(&store, 3, &bytes(&other, 3).await).await;
    assert!(matches!(journal.confirm(3).await, Err(JournalError::Broken { seq: 3, reason: BrokenReason::Chain })));
    put(&store, 5, b"{}").await;
    assert!(matches!(journal.refresh().await, Err(JournalError::Broken { seq: 4, reason: BrokenReason::Missing })));
    assert_eq!(journal.len(), 3);
}

#[tokio::test]
async fn a_signed_journal_reads_without_its_key_but_is_not_continued() {
    let (store, head) = written(key(KEY)).await;
    let mut journal = open(&store, None).await.unwrap();
    assert!(journal.contains(&head) && journal.known.iter().all(|entry| entry.signed));
    assert!(matches!(append(&mut journal, "two", Event::Started).await, Err(JournalError::KeyMissing)));
    assert_eq!(open(&store, key(KEY)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_unsigned_entry_after_a_signed_one_shows_with_and_without_the_key() {
    let (store, _) = written(key(KEY)).await;
    let signed = String::from_utf8(bytes(&store, 3).await).unwrap();
    let body = signed.split_once(r#","mac""#).unwrap().0;
    put(&store, 3, format!("{body}}}\n").as_bytes()).await;
    assert_eq!(broken(&store, key(KEY)).await, (3, BrokenReason::Unsigned));
    assert_eq!(broken(&store, None).await, (3, BrokenReason::Unsigned));
}

#[tokio::test]
async fn a_key_introduced_later_vouches_for_what_was_unsigned() {
    let (store, _) = written(None).await;
    assert_eq!(broken(&store, key(KEY)).await, (3, BrokenReason::Unsigned));
    let mut journal: Journal<Event> = Journal::open_trusting_unsigned(store.clone(), NAME, key(KEY), |_| {}).await.unwrap();
    append(&mut journal, "one", Event::Started).await.unwrap();
    assert_eq!(open(&store, key(KEY)).await.unwrap().len(), 4);

    remove(&store, 4).await;
    assert_eq!(broken(&store, key(KEY)).await, (3, BrokenReason::Unsigned));
}

#[tokio::test]
async fn an_unsigned_entry_by_a_runner_without_the_key_is_not_taken() {
    let store = memory();
    let mut keyed = open(&store, key(KEY)).await.unwrap();
    let mut keyless = open(&store, None).await.unwrap();
    append(&mut keyless, "two", Event::Started).await.unwrap();
    assert!(matches!(keyed.refresh().await, Err(JournalError::Broken { seq: 1, reason: BrokenReason::Unsigned })));
    assert!(keyed.is_empty());
}

#[tokio::test]
async fn an_unknown_version_or_name_is_not_read_past() {
    let (store, _) = written(None).await;
    let text = String::from_utf8(bytes(&store, 3).await).unwrap();
    put(&store, 3, text.replacen(r#""v":1"#, r#""v":2"#, 1).as_bytes()).await;
    assert_eq!(broken(&store, None).await, (3, BrokenReason::Version(2)));
    put(&store, 3, text.replacen("minted", "molten", 1).as_bytes()).await;
    assert!(matches!(broken(&store, None).await, (3, BrokenReason::Unreadable(_))));
    put(&store, 3, text.as_bytes()).await;

    for name in ["3.json", "000000000000.json", "0000000000004.json", "+00000000004.json", "notes.txt", "000000000004.json/x"] {
        let stray = Path::from(format!("{}/{name}", Path::from_iter(["journal", NAME])));
        let stray = Path::parse(stray.as_ref().replace("%25", "%")).unwrap();
        store.put_opts(&stray, PutPayload::new(), PutMode::Create.into()).await.unwrap();
        assert!(matches!(broken(&store, None).await, (1, BrokenReason::Name(_))), "{name}");
        store.delete(&stray).await.unwrap();
    }
}
