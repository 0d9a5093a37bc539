//! Whether the journal at hand is the one that the stored values were written under. Each value names the entry that was
//! the journal's head then: one that this journal lacks means that it was rewritten, cut off or replaced.

use crate::config::{Credential, StoreLocation};
use crate::error::Error;
use crate::journal::Journal;
use crate::rotation::event::{Event, Place};
use crate::rotation::state::State;
use crate::storage::Storage;

/// A value that names an entry which the journal lacks.
struct Stranger {
    hash: String,
    place: String,
}

/// Fails when a stored value was written under another journal. Reads only.
pub async fn check_stores(
    storage: &dyn Storage,
    credential: &Credential,
    journal: &Journal<Event>,
    state: &State,
) -> Result<(), Error> {
    match strangers(storage, credential, journal, state).await?.first() {
        Some(stranger) => Err(not_this_journal(&stranger.place, state.begun.is_none())),
        None => Ok(()),
    }
}

/// The same for a runner about to work. Others may have appended since the journal was read, so it is read on first. With
/// `force`, a journal that has not begun may take the place of one that is lost: the hashes that this forgives.
pub(super) async fn check_before_work(
    storage: &dyn Storage,
    credential: &Credential,
    (journal, state): (&mut Journal<Event>, &mut State),
    force: bool,
) -> Result<Vec<String>, Error> {
    if strangers(storage, credential, journal, state).await?.is_empty() {
        return Ok(Vec::new());
    }
    super::fold(state, &journal.refresh().await?)?;
    let strangers = strangers(storage, credential, journal, state).await?;
    match strangers.first() {
        Some(stranger) if !force || state.begun.is_some() => Err(not_this_journal(&stranger.place, state.begun.is_none())),
        _ => Ok(strangers.into_iter().map(|stranger| stranger.hash).collect()),
    }
}

async fn strangers(
    storage: &dyn Storage,
    credential: &Credential,
    journal: &Journal<Event>,
    state: &State,
) -> Result<Vec<Stranger>, Error> {
    let mut places: Vec<Place> = state.living().map(|(_, known)| known.minted.store.clone()).collect();
    places.push(Place::from(&credential.store));
    places.sort();
    places.dedup();
    let mut strangers = Vec::new();
    for place in &places {
        let store = storage.store(&StoreLocation::from(place))?;
        let mut named = Vec::new();
        if let Some(value) = store.current().await? {
            named.push((value.journal, store.place()));
        }
        for id in store.staged_ids().await? {
            if let Some(value) = store.staged(&id).await? {
                named.push((value.journal, format!("{} (slot `{id}`)", store.place())));
            }
        }
        let known = |hash: &String| journal.contains(hash) || state.forgiven.contains(hash);
        strangers.extend(
            named.into_iter().filter_map(|(hash, place)| Some(Stranger { hash: hash.filter(|hash| !known(hash))?, place })),
        );
    }
    Ok(strangers)
}

fn not_this_journal(place: &str, none_yet: bool) -> Error {
    match none_yet {
        true => Error::quarantined(
            "journal-missing",
            format!("the value in {place} was written under a journal that is not in this state"),
        )
        .hint("point `state` at the journal's place, or restore it"),
        false => Error::quarantined(
            "journal-mismatch",
            format!("the value in {place} was written after journal entries that this journal does not have: it was rewritten, cut off or replaced"),
        )
        .hint("restore the state from a backup that is at least as new as the store; `lakekey history --verify` shows what there is"),
    }
}
