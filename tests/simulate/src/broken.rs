//! Deliberate defects, each of which some checker must notice. Most are put between lakekey and the world from outside;
//! those of the decisions take the place of [`next`](lakekey_core::rotation::next::next) and change what it sees or says.

mod decide;
pub mod shown;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use lakekey_core::http::transport::TransportError;
use lakekey_sim::Cloud;
use object_store::PutOptions;

pub use decide::decide;

use crate::universe::Universe;

/// One deliberate defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// An attempt whose answer was lost is forgotten.
    MintsBlindly,
    /// Superseded secrets go although data sources hold them.
    DeletesBeforeMoved,
    /// A place that the last plan left out counts for nothing.
    ForgetsDropped,
    /// A verified secret is thrown away after a write whose answer was lost.
    CompensatesAmbiguous,
    /// A write whose answer was lost is taken for one that was never sent, and holds up no other generation.
    WritesOver,
    /// Grace is nothing.
    DrainsShort,
    /// A place that nobody can reach any more keeps every generation.
    PinnedByTheDead,
    /// Mints whatever the slots say.
    IgnoresSlots,
    /// A slot's write is acknowledged and dropped.
    LosesValues,
    /// All attempts share one slot.
    SharesSlot,
    /// The lock lets everybody in.
    IgnoresLock,
    /// Journal entries overwrite one another.
    Overwrites,
    /// A runner that lost its place in the journal goes on.
    StalledGoesOn,
    /// "Exists" after one's own append is taken for a lost race.
    DoubtsOwnAppend,
    /// Permissions are replaced, not added.
    ReplacesPermissions,
    /// Answers are logged with their bodies.
    LogsBodies,
    /// The journal's writes are garbled on their way.
    Garbles,
    /// What a rollback leaves goes without grace.
    DropsLoser,
}

impl Variant {
    /// Every one.
    pub const ALL: [Self; 18] = [
        Self::MintsBlindly,
        Self::DeletesBeforeMoved,
        Self::ForgetsDropped,
        Self::CompensatesAmbiguous,
        Self::WritesOver,
        Self::DrainsShort,
        Self::PinnedByTheDead,
        Self::IgnoresSlots,
        Self::LosesValues,
        Self::SharesSlot,
        Self::IgnoresLock,
        Self::Overwrites,
        Self::StalledGoesOn,
        Self::DoubtsOwnAppend,
        Self::ReplacesPermissions,
        Self::LogsBodies,
        Self::Garbles,
        Self::DropsLoser,
    ];

    /// The one that `--broken` calls so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// As `--broken` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MintsBlindly => "mints-blindly",
            Self::DeletesBeforeMoved => "deletes-before-moved",
            Self::ForgetsDropped => "forgets-dropped",
            Self::CompensatesAmbiguous => "compensates-ambiguous",
            Self::WritesOver => "writes-over",
            Self::DrainsShort => "drains-short",
            Self::PinnedByTheDead => "pinned-by-the-dead",
            Self::IgnoresSlots => "ignores-slots",
            Self::LosesValues => "loses-values",
            Self::SharesSlot => "shares-slot",
            Self::IgnoresLock => "ignores-lock",
            Self::Overwrites => "overwrites",
            Self::StalledGoesOn => "stalled-goes-on",
            Self::DoubtsOwnAppend => "doubts-own-append",
            Self::ReplacesPermissions => "replaces-permissions",
            Self::LogsBodies => "logs-bodies",
            Self::Garbles => "garbles",
            Self::DropsLoser => "drops-loser",
        }
    }

    /// What is wrong with it, in words.
    pub fn defect(self) -> &'static str {
        match self {
            Self::MintsBlindly => "a create whose answer was lost is forgotten and sent again",
            Self::DeletesBeforeMoved => "the old secret is deleted before its users have moved",
            Self::ForgetsDropped => "a data source that the selection or a shrunken list leaves out no longer gates",
            Self::CompensatesAmbiguous => "after a write whose answer was lost the new secret is thrown away",
            Self::WritesOver => "two generations are in flight to one place",
            Self::DrainsShort => "superseded secrets are deleted without grace, within a runner's life",
            Self::PinnedByTheDead => "one place that nobody can reach any more pins every generation",
            Self::IgnoresSlots => "mints into the last free slot",
            Self::LosesValues => "the journal names a secret whose value is in no slot",
            Self::SharesSlot => "two attempts share one slot of the store",
            Self::IgnoresLock => "the lock lets everybody in",
            Self::Overwrites => "journal entries overwrite one another",
            Self::StalledGoesOn => "a stalled runner that lost its place goes on with what another has taken over",
            Self::DoubtsOwnAppend => "\"exists\" is taken for a lost race when it was the runner's own append",
            Self::ReplacesPermissions => "permissions are replaced (PUT) where they should be added to (PATCH)",
            Self::LogsBodies => "a secret is in a line of the log",
            Self::Garbles => "journal entries lose their end on the way to the state",
            Self::DropsLoser => "the losing generation of a rollback is deleted at once",
        }
    }
}

fn is(universe: &Universe, variant: Variant) -> bool {
    universe.variant == Some(variant)
}

/// The request as the defect sends it.
pub fn request(universe: &Universe, mut request: Request<Bytes>) -> Request<Bytes> {
    let permissions = request.method() == Method::PATCH && request.uri().path().contains("/permissions/");
    if is(universe, Variant::ReplacesPermissions) && permissions {
        *request.method_mut() = Method::PUT;
    }
    request
}

/// Sends, with what the defect does besides.
pub async fn send<F>(
    universe: &Universe,
    request: Request<Bytes>,
    timeout: Duration,
    carry: impl Fn(Cloud, Request<Bytes>, Duration) -> F,
) -> Result<Response<Bytes>, TransportError>
where
    F: Future<Output = Result<Response<Bytes>, TransportError>>,
{
    let writes = request.method() == Method::PATCH;
    let answer = match carry(universe.cloud.clone(), request, timeout).await {
        Err(TransportError::Ambiguous(source)) if is(universe, Variant::WritesOver) && writes => {
            Err(TransportError::NotSent(source))
        }
        answer => answer,
    };
    if is(universe, Variant::LogsBodies)
        && let Ok(answer) = &answer
    {
        tracing::trace!(body = %String::from_utf8_lossy(answer.body()), "answered");
    }
    answer
}

/// What is put for a journal entry.
pub fn payload(universe: &Universe, payload: object_store::PutPayload) -> object_store::PutPayload {
    if !is(universe, Variant::Garbles) {
        return payload;
    }
    let bytes = Bytes::from(payload);
    bytes.slice(..bytes.len() / 2).into()
}

/// How journal entries are put.
pub fn put_options(universe: &Universe, options: PutOptions) -> PutOptions {
    if is(universe, Variant::Overwrites) { PutOptions::default() } else { options }
}

/// What a runner makes of the answer to an append.
pub fn append_answer<T>(
    universe: &Universe,
    answer: object_store::Result<T>,
    done: impl FnOnce() -> T,
    exists: impl FnOnce() -> object_store::Error,
) -> object_store::Result<T> {
    match answer {
        Err(object_store::Error::AlreadyExists { .. }) if is(universe, Variant::StalledGoesOn) => Ok(done()),
        Ok(_) if is(universe, Variant::DoubtsOwnAppend) => Err(exists()),
        answer => answer,
    }
}

/// Whether what was read back is taken for somebody else's.
pub fn doubts_own_append(universe: &Universe) -> bool {
    is(universe, Variant::DoubtsOwnAppend)
}

/// Whether the lock holds nobody back.
pub fn ignores_lock(universe: &Universe) -> bool {
    is(universe, Variant::IgnoresLock)
}

/// Whether values get lost on their way into a slot.
pub fn loses_values(universe: &Universe) -> bool {
    is(universe, Variant::LosesValues)
}

/// Whether a value goes where the one before it was.
pub fn shares_slot(universe: &Universe) -> bool {
    is(universe, Variant::SharesSlot)
}
