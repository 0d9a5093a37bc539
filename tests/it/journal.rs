//! Journals that somebody edited, cut off, rewrote, put back or took away: what can be seen stops everything and deletes
//! nothing; what cannot be seen is said to be so.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use lakekey_sim::Fleet;
use serde_json::{Value, json};

use crate::fuse::{Cut, Fuse};
use crate::support::{Bench, days, hours};

const KEY: (&str, &str) = ("STATE_KEY", "0123456789abcdef0123456789abcdef");

/// With or without a state key.
fn customer(seed: u64, signed: bool) -> Bench {
    let mut bench = Bench::new(&Fleet { foreign_secrets: 1, ..Fleet::new(3, seed) });
    if signed {
        sign(&mut bench);
    }
    bench
}

fn sign(bench: &mut Bench) {
    bench.config["state"] = json!({ "url": "file:state", "key": format!("env:{}", KEY.0) });
    bench.environment.push((KEY.0.to_owned(), KEY.1.to_owned()));
}

/// Two rotations; the second one drains, and its grace is over.
async fn draining(signed: bool) -> Bench {
    let bench = customer(13, signed);
    rotated(&bench).await;
    bench.pass(days(7));
    rotated(&bench).await;
    bench.pass(hours(30));
    bench
}

async fn rotated(bench: &Bench) {
    let (status, answer) = bench.one(&["rotate"]).await;
    assert_eq!((status, answer["outcome"].as_str()), (0, Some("rotated")), "{answer:#}");
}

/// Paths of the entries, oldest first.
fn entries(bench: &Bench) -> Vec<PathBuf> {
    bench.files("state/journal").into_iter().map(|(path, _)| path.into()).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The word of an entry's event.
fn event(path: &Path) -> String {
    let event = &read(path)["event"];
    match event.as_object() {
        Some(object) => object
            .get("event")
            .or_else(|| object.get("type"))
            .and_then(Value::as_str)
            .map_or_else(|| object.keys().next().unwrap().clone(), str::to_owned),
        None => event.as_str().unwrap().to_owned(),
    }
}

/// The last entry of such an event.
fn last(bench: &Bench, word: &str) -> usize {
    let words: Vec<String> = entries(bench).iter().map(|path| event(path)).collect();
    words.iter().rposition(|found| found == word).unwrap_or_else(|| panic!("no `{word}` in {words:?}"))
}

/// Everything that a run could have changed.
fn outside(bench: &Bench) -> (Vec<String>, Vec<u32>) {
    (bench.living(), bench.cloud.sources().into_iter().map(|source| source.writes).collect())
}

/// `rotate`, twice and with time between, stops with this code and changes nothing; `history --verify` says so.
async fn assert_stops(bench: &Bench, codes: &[&str], what: &str) {
    let before = outside(bench);
    for _ in 0..2 {
        let (status, answer) = bench.one(&["rotate"]).await;
        assert_eq!((status, answer["phase"].as_str()), (3, Some("quarantined")), "{what}: {answer:#}");
        let code = answer["error"]["code"].as_str().unwrap();
        assert!(codes.contains(&code), "{what}: {answer:#}");
        let hint = answer["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("`lakekey rotate sales-bi") && hint.contains("keeps the secret that it holds"), "{what}: {hint}");
        assert_eq!(outside(bench), before, "{what}");
        bench.pass(hours(12));
    }
    let (status, history) = bench.one(&["history", "--verify"]).await;
    assert_eq!((status, history["verified"].as_bool()), (3, Some(false)), "{what}: {history:#}");
    bench.assert_no_outage();
}

/// What is put at `path` in place of a text in it.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Makes the hashes from the entry after this one on fit again; without the key, signatures stay as they were or go.
fn rechain(bench: &Bench, from: usize, keep_signatures: bool) {
    let paths = entries(bench);
    for pair in paths[from..].windows(2) {
        let hash: String =
            digest(&SHA256, &fs::read(&pair[0]).unwrap()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let text = fs::read_to_string(&pair[1]).unwrap();
        let prev = read(&pair[1])["prev"].as_str().unwrap().to_owned();
        let mut text = text.replacen(&prev, &hash, 1);
        if !keep_signatures && let Some(at) = text.find(",\"mac\":") {
            text.truncate(at);
            text.push_str("}\n");
        }
        fs::write(&pair[1], text).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_edited_entry_stops_everything() {
    for signed in [false, true] {
        let bench = draining(signed).await;
        edit(&entries(&bench)[last(&bench, "planned")], "\"grace_s\":86400", "\"grace_s\":1");
        assert_stops(&bench, &["journal-broken"], "grace edited").await;

        let bench = draining(signed).await;
        let path = &entries(&bench)[last(&bench, "minted")];
        fs::write(path, "").unwrap();
        assert_stops(&bench, &["journal-broken"], "an entry emptied").await;
    }
}

#[tokio::test(start_paused = true)]
async fn entries_missing_in_the_middle_or_before_the_store_was_written_stop_everything() {
    for signed in [false, true] {
        let bench = draining(signed).await;
        fs::remove_file(&entries(&bench)[3]).unwrap();
        assert_stops(&bench, &["journal-broken"], "one missing").await;

        let bench = draining(signed).await;
        // The value names the head as it was just before the promotion.
        let cut = last(&bench, "promoted") - 1;
        entries(&bench)[cut..].iter().for_each(|path| fs::remove_file(path).unwrap());
        assert_stops(&bench, &["journal-mismatch"], "cut off before the promotion").await;
    }
}

/// The documented gap: nothing outside the journal knows of what came after the store was last written.
#[tokio::test(start_paused = true)]
async fn entries_cut_off_after_the_store_was_last_written_are_not_missed_and_no_target_suffers() {
    for signed in [false, true] {
        let bench = draining(signed).await;
        let current = bench.one(&["status"]).await.1["secret_id"].as_str().unwrap().to_owned();
        let cut = last(&bench, "promoted");
        entries(&bench)[cut..].iter().for_each(|path| fs::remove_file(path).unwrap());
        let (_, history) = bench.one(&["history", "--verify"]).await;
        assert_eq!(history["verified"], true);
        for _ in 0..3 {
            bench.one(&["rotate"]).await;
            bench.assert_no_outage();
            bench.pass(hours(26));
        }
        bench.assert_all_hold(&current);
        assert_eq!(bench.living().len(), 3, "two foreign ones and the current one");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rewritten_journal_stops_everything() {
    // Unsigned, the store's copy of the head shows it.
    let bench = draining(false).await;
    let at = last(&bench, "planned");
    edit(&entries(&bench)[at], "\"grace_s\":86400", "\"grace_s\":1");
    rechain(&bench, at, true);
    assert_stops(&bench, &["journal-mismatch"], "rewritten from the plan on").await;

    // Signed, the signatures show it, whether they are kept or dropped, and also where the store cannot.
    for (word, from, to) in
        [("planned", "\"grace_s\":86400", "\"grace_s\":1"), ("promoted", "\"generation\":2", "\"generation\":1")]
    {
        for keep in [true, false] {
            let bench = draining(true).await;
            let at = last(&bench, word);
            edit(&entries(&bench)[at], from, to);
            rechain(&bench, at, keep);
            assert_stops(&bench, &["journal-broken", "journal-mismatch"], &format!("{word} rewritten, kept {keep}")).await;
        }
    }
}

/// The documented gap: without a key, whoever rewrites what came after the store was last written is not seen.
#[tokio::test(start_paused = true)]
async fn without_a_key_a_rewritten_end_is_not_seen() {
    let bench = draining(false).await;
    let at = last(&bench, "promoted");
    edit(&entries(&bench)[at], "\"at\":\"2026-03-09", "\"at\":\"2026-03-08");
    rechain(&bench, at, true);
    let (status, history) = bench.one(&["history", "--verify"]).await;
    assert_eq!((status, history["verified"].as_bool()), (0, Some(true)), "{history:#}");
}

#[tokio::test(start_paused = true)]
async fn an_older_copy_of_the_whole_state_put_back_stops_everything() {
    for signed in [false, true] {
        let bench = customer(13, signed);
        let (state, saved) = (bench.folder.path().join("state"), bench.folder.path().join("saved"));
        rotated(&bench).await;
        copy(&state, &saved);
        bench.pass(days(7));
        rotated(&bench).await;
        bench.pass(hours(30));
        fs::remove_dir_all(&state).unwrap();
        copy(&saved, &state);
        assert_stops(&bench, &["journal-mismatch"], "an older copy").await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_principals_journal_in_its_place_stops_everything() {
    for signed in [false, true] {
        let bench = draining(signed).await;
        let other = customer(14, signed);
        rotated(&other).await;
        let journal = entries(&bench)[0].parent().unwrap().to_owned();
        fs::remove_dir_all(&journal).unwrap();
        copy(entries(&other)[0].parent().unwrap(), &journal);
        assert_stops(&bench, &["journal-broken"], "another principal's journal").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_wrong_or_missing_stops_everything_and_one_introduced_by_force_signs() {
    let mut bench = draining(true).await;
    let before = outside(&bench);
    bench.environment.last_mut().unwrap().1 = "another key of sufficient length".to_owned();
    assert_stops(&bench, &["journal-broken"], "a wrong key").await;
    bench.config["state"] = json!({ "url": "file:state" });
    let (status, answer) = bench.one(&["rotate"]).await;
    assert_ne!(status, 0, "{answer:#}");
    assert_eq!(answer["error"]["code"], "state-key-missing", "{answer:#}");
    assert_eq!(outside(&bench), before);

    let mut bench = draining(false).await;
    sign(&mut bench);
    assert_stops(&bench, &["journal-broken"], "a key for an unsigned journal").await;
    let (status, forced) = bench.one(&["rotate", "--force"]).await;
    assert_eq!((status, forced["outcome"].as_str()), (0, Some("rotated")), "{forced:#}");
    let (status, history) = bench.one(&["history", "--verify"]).await;
    assert_eq!((status, history["verified"].as_bool()), (0, Some(true)), "{history:#}");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_written_stops_before_anything_is_made() {
    let mut bench = customer(13, false);
    let before = outside(&bench);
    fs::write(bench.folder.path().join("file"), "").unwrap();
    bench.config["state"] = json!({ "url": "file:file/state" });
    let ran = bench.run(&["rotate", "--output", "json"]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.contains("state-not-writable"), "{ran:?}");
    assert_eq!(outside(&bench), before);

    // A journal whose folder has become a file, in the middle of a customer's life.
    let bench = draining(false).await;
    let before = outside(&bench);
    let journal = entries(&bench)[0].parent().unwrap().to_owned();
    fs::remove_dir_all(&journal).unwrap();
    fs::write(&journal, "").unwrap();
    let ran = bench.run(&["rotate", "--output", "json"]).await;
    assert!(ran.status == 1 || ran.status == 3, "{ran:?}");
    assert_eq!(outside(&bench), before);
}

#[tokio::test(start_paused = true)]
async fn a_lost_state_is_named_and_force_adopts_what_the_store_holds() {
    for signed in [false, true] {
        let bench = draining(signed).await;
        let held = bench.one(&["status"]).await.1["secret_id"].as_str().unwrap().to_owned();
        let living = bench.living();
        fs::remove_dir_all(bench.folder.path().join("state")).unwrap();
        assert_stops(&bench, &["journal-missing"], "the state is gone").await;

        // Whose the fourth is nobody can say any more, and the fifth slot stays free.
        let (status, full) = bench.one(&["rotate", "--force"]).await;
        assert_eq!((status, full["error"]["code"].as_str()), (1, Some("slots-full")), "{full:#}");
        assert_eq!((bench.living(), full["secret_id"].as_str()), (living.clone(), Some(held.as_str())));
        let forgotten =
            living.iter().find(|id| **id != held && full["error"]["message"].as_str().unwrap().contains(*id)).unwrap();
        assert!(bench.cloud.person_deletes_secret(forgotten));

        let (status, adopted) = bench.one(&["rotate", "--force"]).await;
        assert_eq!(
            (status, adopted["outcome"].as_str(), adopted["generation"].as_u64()),
            (0, Some("rotated"), Some(2)),
            "{adopted:#}"
        );
        let current = adopted["secret_id"].as_str().unwrap().to_owned();
        bench.assert_all_hold(&current);
        bench.pass(hours(30));
        let (status, done) = bench.one(&["rotate"]).await;
        assert_eq!((status, done["retired"].clone()), (0, json!([held])), "{done:#}");
        let left: Vec<String> = living.iter().filter(|id| **id != held && *id != forgotten).cloned().chain([current]).collect();
        assert_eq!(bench.living(), left, "the journal that knew them is lost, so all others are foreign");
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_begun_in_place_of_a_lost_one_may_be_cut_off_anywhere() {
    for request in (0..60).step_by(2) {
        let bench = Bench::new(&Fleet::new(2, 13));
        rotated(&bench).await;
        fs::remove_dir_all(bench.folder.path().join("state")).unwrap();
        let fuse = Fuse::new(&bench.cloud, Cut::BeforeAnswer(request));
        let cut_off = fuse.burn(bench.run_over(fuse.clone(), &["rotate", "--force", "--output", "json"])).await;
        assert!(cut_off.is_none() == fuse.spent(), "{request}");

        // A journal that has begun needs no force any more.
        let (status, answer) = bench.one(&["rotate"]).await;
        let begun = entries(&bench).iter().any(|path| event(path) == "begun");
        assert_eq!((status, begun), if begun { (0, true) } else { (3, false) }, "{request}: {answer:#}");
        bench.pass(days(7));
        let (status, answer) = bench.one(&["rotate", "--force"]).await;
        assert_eq!((status, answer["outcome"].as_str()), (0, Some("rotated")), "{request}: {answer:#}");
        bench.assert_all_hold(answer["secret_id"].as_str().unwrap());
        assert_eq!(fuse.outages(), Vec::<String>::new());
        if !fuse.spent() {
            return;
        }
    }
    panic!("a rotation of two targets needs fewer requests");
}
