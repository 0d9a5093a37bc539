//! Wires a [`Config`] and its surroundings together and runs commands: the only way from a trigger to the inside.

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

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;

use crate::clients::databricks::Databricks;
use crate::clients::fabric::Fabric;
use crate::clients::powerbi::PowerBi;
use crate::clock::Clock;
use crate::command::{Command, Outcome, Progress};
use crate::config::env_vars::Environment;
use crate::config::{Config, Credential};
use crate::error::Error;
use crate::http::Http;
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
}

/// Credentials worked on at once: each has requests of its own in flight.
const CREDENTIALS_AT_ONCE: usize = 4;

/// Each credential's work, a few at a time, answers in order. Boxed by the caller: the compiler can't see through the
/// lifetimes of a closure's future that it may move between threads, as a server's must.
async fn few_at_once<T>(works: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    futures::stream::iter(works).buffered(CREDENTIALS_AT_ONCE).collect().await
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
        Ok(Self { config, surroundings, http, secrets, identities, asked: None, stop: Stop::never(), invocation: None })
    }

    /// Runs one command. May be dropped at any point: the journal is the memory.
    pub async fn run(&self, command: Command, progress: &Progress) -> Result<Outcome, Error> {
        match command {
            Command::Plan { names } => Box::pin(self.plan(&self.named(&names)?)).await.map(Outcome::Plan),
            Command::Rotate { names, force } => {
                Box::pin(self.rotate(&self.named(&names)?, force, progress)).await.map(Outcome::Moved)
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
            Command::Doctor { names } => Ok(Outcome::Doctor(Box::pin(self.doctor(&self.named(&names)?)).await)),
            Command::History { names, verify } => {
                Box::pin(self.history(&self.named(&names)?, verify)).await.map(Outcome::History)
            }
        }
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
                let mut client = Databricks::new(Arc::clone(&self.http), workspace.clone(), signer);
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
            PowerBi::new(Arc::clone(&self.http), endpoints.powerbi.clone(), powerbi),
            Fabric::new(Arc::clone(&self.http), endpoints.fabric.clone(), fabric),
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
