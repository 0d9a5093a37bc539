//! Cuts runs off: before a request is sent, before its answer comes back, just after it did, or at any await. And watches,
//! after every request, that no data source is left with a dead secret.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use lakekey_core::app::{App, Surroundings};
use lakekey_core::clock::Clock;
use lakekey_core::command::{Command, Outcome, Progress};
use lakekey_core::config::{Config, ConfigSource, StateLocation, StoreLocation, VaultSecret};
use lakekey_core::error::Error;
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_core::ids::RunnerId;
use lakekey_core::random::Random;
use lakekey_core::rotation::next::next;
use lakekey_core::secret::Secret;
use lakekey_core::storage::{Lock, Places, Storage};
use lakekey_core::stores::SecretStore;
use lakekey_sim::Cloud;
use object_store::ObjectStore;

use crate::support::{Bench, InProcess, Ran};

/// Where a life is cut off, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Never,
    /// Before the request of this number is sent.
    BeforeSend(usize),
    /// After its effect, before the answer is back.
    BeforeAnswer(usize),
    /// At the first await after its answer was handed over.
    AfterAnswer(usize),
    /// At this await.
    Poll(usize),
}

/// Carries requests, counts them and the polls of the run, and blows once.
pub struct Fuse {
    cloud: Cloud,
    inner: Arc<dyn Transport>,
    cut: Mutex<Cut>,
    requests: AtomicUsize,
    polls: AtomicUsize,
    blown: AtomicBool,
    spent: AtomicBool,
    /// Sources seen with a living secret.
    live: Mutex<BTreeSet<String>>,
    outages: Mutex<Vec<String>>,
    /// Numbers of the requests that were to change something.
    effects: Mutex<Vec<usize>>,
}

/// Whether a request is to change something; a sign-in is not, nor is a look at Secrets Manager, which knows POST alone.
pub fn has_effect(request: &http::Request<Bytes>) -> bool {
    let asked = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let looks = ["secretsmanager.DescribeSecret", "secretsmanager.GetSecretValue"].contains(&asked);
    request.method() != http::Method::GET && !request.uri().path().ends_with("/token") && !looks
}

impl Fuse {
    pub fn new(cloud: &Cloud, cut: Cut) -> Arc<Self> {
        Self::over(Arc::new(InProcess(cloud.clone())), cloud, cut)
    }

    /// Over a transport that leads to this cloud, and perhaps elsewhere.
    pub fn over(inner: Arc<dyn Transport>, cloud: &Cloud, cut: Cut) -> Arc<Self> {
        Arc::new(Self {
            cloud: cloud.clone(),
            inner,
            cut: Mutex::new(cut),
            requests: AtomicUsize::new(0),
            polls: AtomicUsize::new(0),
            blown: AtomicBool::new(false),
            spent: AtomicBool::new(false),
            live: Mutex::default(),
            outages: Mutex::default(),
            effects: Mutex::default(),
        })
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Counts from zero again, towards another cut.
    pub fn rearm(&self, cut: Cut) {
        *self.cut.lock().unwrap() = cut;
        self.requests.store(0, Ordering::Relaxed);
        self.spent.store(false, Ordering::Relaxed);
    }

    fn cut(&self) -> Cut {
        *self.cut.lock().unwrap()
    }

    pub fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    pub fn effects(&self) -> Vec<usize> {
        self.effects.lock().unwrap().clone()
    }

    /// Whether it has ever cut a run off.
    pub fn spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// Data sources that were left with a dead secret, and when.
    pub fn outages(&self) -> Vec<String> {
        self.outages.lock().unwrap().clone()
    }

    /// Looks at every data source.
    pub fn watch(&self) {
        let mut live = self.live.lock().unwrap();
        for source in self.cloud.sources() {
            let works = source.alive && source.connects;
            if works {
                live.insert(source.id);
            } else if live.contains(&source.id) {
                let at = self.requests();
                self.outages.lock().unwrap().push(format!("after request {at}: {source:?}"));
            }
        }
    }

    fn blow(&self) {
        if !self.spent.swap(true, Ordering::Relaxed) {
            self.blown.store(true, Ordering::Relaxed);
        }
    }

    /// Polls `run` to its end, or to where it is cut off: `None`. What it left to blocking threads has ended then, as after
    /// the death of a process.
    pub async fn burn<T>(&self, run: impl Future<Output = T>) -> Option<T> {
        let ran = {
            let mut run = std::pin::pin!(run);
            poll_fn(|context| {
                let poll = self.polls.fetch_add(1, Ordering::Relaxed);
                if self.cut() == Cut::Poll(poll) {
                    self.blow();
                }
                if self.blown.swap(false, Ordering::Relaxed) {
                    return Poll::Ready(None);
                }
                match run.as_mut().poll(context) {
                    Poll::Ready(ran) => Poll::Ready(Some(ran)),
                    Poll::Pending if self.blown.swap(false, Ordering::Relaxed) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        Clock::wall().sleep(Duration::from_millis(1)).await;
        self.watch();
        ran
    }
}

#[async_trait::async_trait]
impl Transport for Fuse {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if has_effect(&request) {
            self.effects.lock().unwrap().push(number);
        }
        if self.cut() == Cut::BeforeSend(number) {
            self.blow();
            std::future::pending::<()>().await;
        }
        let answer = self.inner.send(request, timeout).await;
        self.watch();
        if self.cut() == Cut::BeforeAnswer(number) {
            self.blow();
            std::future::pending::<()>().await;
        }
        if self.cut() == Cut::AfterAnswer(number) {
            self.blow();
        }
        answer
    }
}

/// Places without locks, as buckets are: the lease alone keeps two runners apart.
struct NoLocks(Places);

#[async_trait::async_trait]
impl Storage for NoLocks {
    async fn open_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        self.0.open_state(location).await
    }

    async fn view_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        self.0.view_state(location).await
    }

    async fn secret(&self, secret: &VaultSecret) -> Result<Secret, Error> {
        self.0.secret(secret).await
    }

    fn lock(&self, _location: &StateLocation, _journal: &str, _by: &RunnerId) -> Result<Lock, Error> {
        Ok(Lock::None)
    }

    fn store(&self, location: &StoreLocation) -> Result<Arc<dyn SecretStore>, Error> {
        self.0.store(location)
    }
}

impl Bench {
    /// `lakekey rotate` of a runner elsewhere, whose state has no locks. The answer is JSON on `stdout`.
    pub async fn rotate_elsewhere(&self, transport: Arc<dyn Transport>, runner: &str) -> Ran {
        self.rotate_elsewhere_at(transport, runner, self.clock.clone()).await
    }

    /// The program on another machine, whose state has no locks.
    pub fn elsewhere(&self, transport: Arc<dyn Transport>, runner: &str, clock: Clock) -> App {
        self.write_config();
        let environment = self.environment.iter().cloned().collect();
        let source = ConfigSource::Flag("lakekey.yaml".to_owned());
        let config = Config::load(&source, &environment, self.folder.path()).unwrap();
        let places = Places::new(&config, &environment, &transport, &clock).unwrap();
        let surroundings = Surroundings {
            transport,
            storage: Arc::new(NoLocks(places)),
            clock,
            random: Random::system(),
            environment,
            sign_ins: None,
            runner: RunnerId::new(runner),
            decide: next,
        };
        App::new(config, surroundings).unwrap()
    }

    /// The same, by another clock.
    pub async fn rotate_elsewhere_at(&self, transport: Arc<dyn Transport>, runner: &str, clock: Clock) -> Ran {
        let app = self.elsewhere(transport, runner, clock);
        match app.run(Command::Rotate { names: Vec::new(), force: false }, &Progress::none()).await {
            Ok(outcome) => {
                let Outcome::Moved(report) = &outcome else { panic!("rotate answers with moves: {outcome:?}") };
                let stdout = serde_json::to_string(report).unwrap();
                Ran { status: outcome.exit_status().code(), stdout, stderr: String::new() }
            }
            Err(error) => Ran { status: error.kind().exit_status().code(), stdout: String::new(), stderr: error.to_string() },
        }
    }
}
