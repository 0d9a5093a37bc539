//! What carries a request: reqwest in production, an in-process router in simulation.

use std::time::Duration;

use bytes::Bytes;

/// Bytes of an answer that are read; a longer one is an error.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An extension of a request whose answer may be longer than [`BODY_BYTES_MAX`].
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub usize);

/// Carries one request and its whole answer. Redirects are not followed; the body is bounded.
#[async_trait::async_trait]
pub trait Transport: Send + Sync {
    /// Sends `request` and reads the answer to its end, giving up after `timeout`.
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError>;
}

/// Why no whole answer came back. Only `NotSent` is certain to have had no effect.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The request never reached the service.
    #[error("no connection to the service")]
    NotSent(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request may have taken effect.
    #[error("no whole answer came back")]
    Ambiguous(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer within the time given; the request may have taken effect.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is larger than lakekey reads.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
}
