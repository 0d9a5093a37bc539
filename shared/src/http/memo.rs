//! Answers to reads, kept for the length of one look: credentials that ask a service the same are answered once, and look
//! at the same state of things. What a service definitely refused is kept too; any other failure is its asker's own, and
//! whoever asks next asks anew.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::sync::OnceCell;

use super::problem::ServiceProblem;
use super::{Failure, HttpError};

/// What was answered so far; clones share it.
#[derive(Clone)]
pub struct Memo {
    kept: Arc<Mutex<HashMap<String, Arc<OnceCell<Kept>>>>>,
    askers: usize,
}

#[derive(Clone)]
enum Kept {
    /// What was made of the answer.
    Answer(Arc<dyn Any + Send + Sync>),
    Refusal(StatusCode, ServiceProblem),
}

impl Memo {
    /// For so many credentials; nothing is kept yet.
    pub fn new(askers: usize) -> Self {
        Self { kept: Arc::default(), askers }
    }

    /// How many credentials share it.
    pub fn askers(&self) -> usize {
        self.askers
    }

    /// What was answered under `key`, which names identity and address. Whoever comes first asks, the others wait.
    pub(crate) async fn read(
        &self,
        key: String,
        at: (&'static str, &str),
        ask: impl Future<Output = Result<Response<Bytes>, HttpError>>,
    ) -> Result<Response<Bytes>, HttpError> {
        let body = self.share(key, at, async { Ok(Box::pin(ask).await?.into_body()) }).await?;
        Ok(Response::new(Bytes::clone(&body)))
    }

    /// What was made of the answers under `key`, which names identity, address and list: a long list that every credential
    /// looks into is read once, not once for each of them.
    pub(crate) async fn share<T: Send + Sync + 'static>(
        &self,
        key: String,
        (what, target): (&'static str, &str),
        ask: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<Arc<T>, HttpError> {
        let slot = {
            let mut kept = self.kept.lock().expect("no code panics while it holds the map");
            Arc::clone(kept.entry(key).or_default())
        };
        let answered = async {
            match ask.await {
                Ok(answer) => Ok(Kept::Answer(Arc::new(answer))),
                Err(HttpError { failure: Failure::Answer { status, problem, .. }, .. }) if is_final(status) => {
                    Ok(Kept::Refusal(status, problem))
                }
                Err(error) => Err(error),
            }
        };
        match Box::pin(slot.get_or_try_init(|| answered)).await?.clone() {
            Kept::Answer(answer) => Ok(answer.downcast().expect("a key is of one call, which makes one type")),
            Kept::Refusal(status, problem) => {
                let failure = Failure::Answer { status, problem, retry_after: None };
                Err(HttpError { failure, ..HttpError::unusable(what, target, "") })
            }
        }
    }
}

/// Another attempt would not change it.
pub(crate) fn is_final(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;

    use super::*;

    async fn asked(memo: &Memo, key: &str, count: &AtomicU32, status: u16) -> Result<Bytes, Option<StatusCode>> {
        let ask = async {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            match StatusCode::from_u16(status).unwrap() {
                status if status.is_success() => Ok(Response::new(Bytes::from_static(b"body"))),
                status => {
                    let failure = Failure::Answer { status, problem: ServiceProblem::default(), retry_after: None };
                    Err(HttpError { failure, ..HttpError::unusable("ask", "GET h/p", "") })
                }
            }
        };
        memo.read(key.to_owned(), ("ask", "GET h/p"), ask).await.map(Response::into_body).map_err(|error| error.status())
    }

    #[tokio::test]
    async fn the_same_is_asked_once_and_refusals_are_kept_but_other_failures_are_not() {
        for (status, requests) in [(200, 1), (403, 1), (404, 1), (429, 5), (503, 5)] {
            let (memo, count) = (Memo::new(5), AtomicU32::new(0));
            let answers = join_all((0..5).map(|_| asked(&memo, "k", &count, status))).await;
            assert_eq!(count.load(Ordering::Relaxed), requests, "{status}");
            for answer in answers {
                assert_eq!(
                    answer.map_err(|status| status.unwrap().as_u16()),
                    if status == 200 { Ok(Bytes::from_static(b"body")) } else { Err(status) }
                );
            }
        }
        let (memo, count) = (Memo::new(1), AtomicU32::new(0));
        let _ = (asked(&memo, "one", &count, 200).await, asked(&memo, "other", &count, 200).await);
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
