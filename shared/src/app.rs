//! Wires a [`Config`] and its surroundings together and runs commands: the only way from a trigger to the inside.

mod discover;
mod doctor;
mod forget;
mod history;
mod invocation;
mod moving;
mod notify;
mod operate;
mod plan;
mod principal;
mod queues;
mod revoke;
mod rollback;
mod sharing;
mod status;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;

use crate::broker::Broker;
use crate::clients::databricks::Databricks;
use crate::clients::fabric::Fabric;
use crate::clients::powerbi::PowerBi;
use crate::clock::Clock;
use crate::command::{Command, Outcome, Progress};
use crate::config::env_vars::Environment;
use crate::config::{Config, Credential};
use crate::error::Error;
use crate::http::Http;
use crate::http::memo::Memo;
use crate::http::transport::Transport;
use crate::identity::{Audience, Identities, SecretReader, SignIns, Sources};
use crate::ids::{CredentialName, RunnerId, Workspace};
use crate::journal::{StateKey, names};
use crate::random::Random;
use crate::rotation::drive::{check_stores, read, read_aloud};
use crate::rotation::event::Asked;
use crate::rotation::next::Decide;
use crate::rotation::state::State;
use crate::stop::Stop;
use crate::storage::Storage;
use crate::targets::PowerBiTargets;
use crate::work::Invocation;
pub use revoke::Revocation;
pub use step::StepOrder;

/// What a run takes from outside: no part of the program asks the machine for any of these itself.
#[derive(Clone)]
pub struct Surroundings {
    /// Carries every request.
    pub transport: Arc<dyn Transport>,
    /// Opens state and stores.
    pub storage: Arc<dyn Storage>,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The environment, for references and proxies.
    pub environment: Environment,
    /// What people's sign-ins have left on this machine; `None` where nobody can have signed in.
    pub sign_ins: Option<Arc<dyn SignIns>>,
    /// Who this process is in leases and journal entries.
    pub runner: RunnerId,
    /// What decides: [`next`](crate::rotation::next::next) but in simulations of a defect.
    pub decide: Decide,
}

/// The program without its triggers; clones share their connections and tokens.
#[derive(Clone)]
pub struct App {
    config: Config,
    surroundings: Surroundings,
    http: Arc<Http>,
    secrets: Arc<SecretReader>,
    identities: Identities,
    asked: Option<Asked>,
    stop: Stop,
    invocation: Option<Invocation>,
    /// What has been read already, where this is a look at the state of things.
    memo: Option<Memo>,
    /// Whether even a large fleet with nothing due is searched for data sources that were added.
    searches: bool,
}

/// Credentials worked on at once: each has requests of its own in flight.
const CREDENTIALS_AT_ONCE: usize = 4;
/// Credentials looked at at once: most of what they ask is shared or already known.
const LOOKS_AT_ONCE: usize = 16;

/// Each credential's work, a few at a time, answers in order. Boxed by the caller: the compiler can't see through the
/// lifetimes of a closure's future that it may move between threads, as a server's must.
async fn few_at_once<T>(works: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    futures::stream::iter(works).buffered(CREDENTIALS_AT_ONCE).collect().await
}

/// The same for looks, which write nothing.
async fn many_at_once<T>(looks: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    futures::stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await
}

impl App {
    /// Prepares everything that needs no request.
    pub fn new(config: Config, surroundings: Surroundings) -> Result<Self, Error> {
        let Surroundings { transport, clock, random, environment, .. } = &surroundings;
        let http = Arc::new(Http::new(
            Arc::clone(transport),
            config.hosts.clone(),
            clock.clone(),
            random.clone(),
            config.state.request_timeout,
        ));
        let secrets = Arc::new(SecretReader::new(environment.clone()));
        let sources = Sources {
            secrets: Arc::clone(&secrets),
            storage: Arc::clone(&surroundings.storage),
            sign_ins: surroundings.sign_ins.clone(),
        };
        let identities = Identities::new(&config, sources, Arc::clone(&http));
        Ok(Self {
            config,
            surroundings,
            http,
            secrets,
            identities,
            asked: None,
            stop: Stop::never(),
            invocation: None,
            memo: None,
            searches: true,
        })
    }

    /// Runs one command. May be dropped at any point: the journal is the memory.
    pub async fn run(&self, command: Command, progress: &Progress) -> Result<Outcome, Error> {
        match command {
            Command::Plan { names } => {
                let credentials = self.named(&names)?;
                Box::pin(self.looking(credentials.len()).plan(&credentials)).await.map(Outcome::Plan)
            }
            Command::Rotate { names, force } => {
                // A person who names a credential wants to see what they have just added.
                let app = Self { searches: !names.is_empty() && self.invocation.is_none(), ..self.clone() };
                Box::pin(app.rotate(&self.named(&names)?, force, progress)).await.map(Outcome::Moved)
            }
            Command::Reapply { names, refresh } => {
                Box::pin(self.reapply(&self.named(&names)?, refresh, progress)).await.map(Outcome::Moved)
            }
            Command::Rollback { names } => Box::pin(self.rollback(&self.named(&names)?, progress)).await.map(Outcome::Moved),
            Command::Revoke { names, foreign } => {
                Box::pin(self.revoke(&self.named(&names)?, foreign, progress)).await.map(Outcome::Moved)
            }
            Command::Forget { name, target } => Box::pin(self.forget(&name, &target)).await.map(Outcome::Status),
            Command::Status { names } => Box::pin(self.status(&self.named(&names)?)).await.map(Outcome::Status),
            Command::Doctor { names } => {
                let credentials = self.named(&names)?;
                Ok(Outcome::Doctor(Box::pin(self.looking(credentials.len()).doctor(&credentials)).await))
            }
            Command::Discover { names, by } => {
                Box::pin(self.looking(1).discover(&self.named(&names)?, by)).await.map(Outcome::Discovered)
            }
            Command::History { names, verify } => {
                Box::pin(self.history(&self.named(&names)?, verify)).await.map(Outcome::History)
            }
        }
    }

    /// The same program for a look at so many credentials: what one of them has read, another is not asked for again. Never for
    /// what writes: that must see what is so now.
    fn looking(&self, askers: usize) -> Self {
        Self { memo: Some(Memo::new(askers)), ..self.clone() }
    }

    /// What hands out tokens to programs on this machine.
    pub fn broker(&self) -> Broker {
        Broker::new(self.config.broker.clone(), self.identities.clone(), self.surroundings.clock.clone())
    }

    /// Ways to sign in, with their tokens.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    fn named(&self, names: &[CredentialName]) -> Result<Vec<&Credential>, Error> {
        if names.is_empty() {
            return Ok(self.config.credentials.iter().collect());
        }
        names
            .iter()
            .map(|name| {
                self.config.credentials.iter().find(|credential| credential.name == *name).ok_or_else(|| {
                    let known: Vec<_> =
                        self.config.credentials.iter().map(|credential| format!("`{}`", credential.name)).collect();
                    Error::usage("unknown-credential", format!("the config has no credential `{name}`"))
                        .hint(format!("it has {}", known.join(", ")))
                })
            })
            .collect()
    }

    fn workspaces(&self, credential: &Credential) -> Result<BTreeMap<Workspace, Databricks>, Error> {
        let account = match &credential.account {
            Some(account) => Some((account, self.identities.signer(&credential.identity, &Audience::Account(account.clone()))?)),
            None => None,
        };
        std::iter::once(&credential.workspace)
            .chain(&credential.also_workspaces)
            .map(|workspace| {
                let signer = self.identities.signer(&credential.identity, &Audience::Databricks(workspace.clone()))?;
                let mut client = Databricks::new(Arc::clone(&self.http), workspace.clone(), signer).sharing(self.memo.clone());
                if let Some((account, signer)) = &account {
                    client = client.with_account(account.host.clone(), account.id.clone(), signer.clone());
                }
                Ok((workspace.clone(), client))
            })
            .collect()
    }

    fn targets(&self, credential: &Credential) -> Result<Option<PowerBiTargets>, Error> {
        let Some(targets) = &credential.targets else { return Ok(None) };
        let endpoints = &self.config.endpoints;
        let powerbi = self.identities.signer(&targets.identity, &Audience::PowerBi)?;
        let fabric = self.identities.signer(&targets.identity, &Audience::Fabric)?;
        Ok(Some(PowerBiTargets::new(
            PowerBi::new(Arc::clone(&self.http), endpoints.powerbi.clone(), powerbi).sharing(self.memo.clone()),
            Fabric::new(Arc::clone(&self.http), endpoints.fabric.clone(), fabric).sharing(self.memo.clone()),
            self.surroundings.random.clone(),
            targets,
        )))
    }

    async fn state_key(&self) -> Result<Option<Arc<StateKey>>, Error> {
        match &self.config.state.key {
            Some(reference) => {
                let secret = self.secrets.read(reference, &self.identities).await?;
                Ok(Some(Arc::new(StateKey::new(&secret)?)))
            }
            None => Ok(None),
        }
    }

    /// The state, as it is; nothing is created.
    async fn state(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        self.surroundings.storage.view_state(&self.config.state.location).await
    }

    /// A journal, folded, that stored values agree with. Reads only.
    async fn folded(&self, credential: &Credential, name: &str) -> Result<State, Error> {
        let (journal, state) = read(self.state().await?, name, self.state_key().await?, true).await?;
        check_stores(&*self.surroundings.storage, credential, &journal, &state).await?;
        Ok(state)
    }

    /// The journal that this credential last used, found without a request: the principal's application id.
    async fn journal_name(&self, state: Arc<dyn ObjectStore>, credential: &Credential) -> Result<Option<String>, Error> {
        let mut names = names::journals_of(&*state, &credential.name).await?;
        if names.len() < 2 {
            return Ok(names.pop());
        }
        // The principal was changed: the journal that was written last is the one in use.
        let mut last = None;
        for name in names {
            let mut at = None;
            read_aloud(Arc::clone(&state), &name, self.state_key().await?, true, |entry| at = Some(entry.at)).await?;
            last = last.max(Some((at, name)));
        }
        Ok(last.map(|(_, name)| name))
    }
}
