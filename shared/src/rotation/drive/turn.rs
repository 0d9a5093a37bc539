//! A change of direction that a person asks for: journaled first, whoever is at work; then the lease is taken. A runner that
//! is at work hears of it at its next entry and leaves; what it had under way is waited out as after any lost lease.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::{Ports, Run, read, trust};
use crate::error::Error;
use crate::journal::JournalError;
use crate::rotation::event::{Event, Turn};
use crate::rotation::next::{Goal, past};
use crate::rotation::state::State;

/// For how long a runner that is at work may take to hear of it: a request, and what it does until its next entry.
const HEARD_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// How often it is looked whether it has left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Entries that others may write meanwhile.
const RACES_MAX: u32 = 16;

impl<'a> Run<'a> {
    /// Asks for the turn that `decide` finds right and takes the lease. `None` asks for nothing new.
    pub async fn open_turned(
        ports: &'a Ports,
        goal: Goal,
        reason: &str,
        decide: impl Fn(&State) -> Result<Option<Turn>, Error>,
    ) -> Result<Self, Error> {
        ask(ports, reason, decide).await?;
        let until = past(ports.clock.now(), HEARD_WITHIN);
        loop {
            match Self::open_leased(ports, goal).await {
                Err(error) if error.code() == "lease-held" && ports.clock.now() < until => ports.clock.sleep(LOOK_EVERY).await,
                Err(error) if error.code() == "lease-held" => {
                    return Err(error.hint(
                        "what you asked for is in the journal, and the other runner stops at its next entry; `lakekey rotate` carries it out",
                    ));
                }
                opened => return opened,
            }
        }
    }
}

async fn ask(ports: &Ports, reason: &str, decide: impl Fn(&State) -> Result<Option<Turn>, Error>) -> Result<(), Error> {
    let name = ports.principal.application_id.as_str();
    let operation = ports.asked.as_ref().map(|asked| asked.operation.clone());
    for _ in 0..RACES_MAX {
        let (mut journal, mut state) = read(Arc::clone(&ports.state), name, ports.state_key.clone(), false).await?;
        trust::check_stores(&*ports.storage, &ports.credential, &journal, &state).await?;
        if operation.is_some() && state.turned_for == operation {
            // Its runner died: what it asked for is under way, or done.
            return Ok(());
        }
        let Some(turn) = decide(&state)? else { return Ok(()) };
        let at = ports.clock.now();
        let seq = journal.len() + 1;
        let event = Event::Turned { turn, reason: reason.to_owned(), operation: operation.clone() };
        state.apply(seq, at, &ports.runner, &event).map_err(|error| {
            Error::unfinished("journal-inconsistent", "what was asked for cannot follow what the journal says before it")
                .hint("this is a defect of lakekey; nothing was changed; please report it with `lakekey history`")
                .caused_by(error)
        })?;
        match journal.append(&ports.random, at, &ports.runner, event).await {
            Err(JournalError::Lost { .. }) => {}
            appended => return appended.map(drop).map_err(Error::from),
        }
    }
    Err(Error::unfinished("lost-race", "other runners kept writing the journal first").hint("run this again"))
}
