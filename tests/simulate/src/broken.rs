//! Deliberate defects, put between lakekey and the world from outside, each of which some checker must catch. The product
//! has no switch for any of them.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use lakekey_core::http::transport::TransportError;
use lakekey_sim::Cloud;
use object_store::PutOptions;

use crate::universe::Universe;

/// One deliberate defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// A slot's write is acknowledged and dropped.
    LosesValues,
    /// The lock lets everybody in.
    IgnoresLock,
    /// Journal entries overwrite one another.
    Overwrites,
}

/// The request as the defect sends it.
pub fn request(_: &Universe, request: Request<Bytes>) -> Request<Bytes> {
    request
}

/// Sends, with the defect's own further requests.
pub async fn send<F>(
    universe: &Universe,
    request: Request<Bytes>,
    timeout: Duration,
    carry: impl Fn(Cloud, Request<Bytes>, Duration) -> F,
) -> Result<Response<Bytes>, TransportError>
where
    F: Future<Output = Result<Response<Bytes>, TransportError>>,
{
    carry(universe.cloud.clone(), request, timeout).await
}

/// How journal entries are put.
pub fn put_options(universe: &Universe, options: PutOptions) -> PutOptions {
    if universe.variant == Some(Variant::Overwrites) { PutOptions::default() } else { options }
}

/// Whether the lock holds nobody back.
pub fn ignores_lock(universe: &Universe) -> bool {
    universe.variant == Some(Variant::IgnoresLock)
}

/// Whether values get lost on their way into a slot.
pub fn loses_values(universe: &Universe) -> bool {
    universe.variant == Some(Variant::LosesValues)
}
