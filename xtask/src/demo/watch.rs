//! The watcher: it carries lakekey's requests over the network, and after every answer it looks at the truth of every data
//! source. A data source that holds a secret which does not work is an outage, however short.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lakekey_core::http::reqwest_transport::ReqwestTransport;
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_sim::Cloud;

pub(super) struct Watch {
    network: ReqwestTransport,
    cloud: Cloud,
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) samples: usize,
    /// Data sources that held a secret which did not work, by name.
    pub(super) outages: BTreeMap<String, Timestamp>,
    /// Data sources that a take-over left without any credential: since when, and how long at most.
    bare: BTreeMap<String, Timestamp>,
    pub(super) bare_ever: BTreeMap<String, f64>,
}

impl Watch {
    pub(super) fn new(network: ReqwestTransport, cloud: Cloud) -> Self {
        Self { network, cloud, seen: Mutex::default() }
    }

    /// Looks at every data source that holds, or is to hold, the credential.
    pub(super) fn look(&self) {
        let (sources, now) = (self.cloud.sources(), self.cloud.now());
        let mut seen = self.seen.lock().expect("no code panics while it holds what was seen");
        seen.samples += 1;
        for source in sources.into_iter().filter(|source| source.target) {
            let since = if source.credential.is_none() {
                Some(*seen.bare.entry(source.id.clone()).or_insert(now))
            } else {
                seen.bare.remove(&source.id)
            };
            if let Some(since) = since {
                let gap = now.duration_since(since).as_secs_f64();
                let longest = seen.bare_ever.entry(source.id.clone()).or_default();
                *longest = longest.max(gap);
            }
            if source.credential.is_some() && !source.connects {
                seen.outages.entry(source.name).or_insert(now);
            }
        }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().expect("no code panics while it holds what was seen").clone()
    }
}

#[async_trait::async_trait]
impl Transport for Watch {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        let answer = self.network.send(request, timeout).await;
        self.look();
        answer
    }
}
