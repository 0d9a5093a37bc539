//! Where the places that the config names really are: this machine's disk and the clouds, or memory in simulation, so that
//! many virtual rotations a second run the very same journal, lease and store code.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};

use crate::aws::Aws;
use crate::azure::{self, Azure};
use crate::clock::Clock;
use crate::config::env_vars::Environment;
use crate::config::hosts::Cloud;
use crate::config::{
    Config, ConfigProblem, ConfigSource, Endpoints, KeyVaultName, ObjectPlace, StateLocation, StoreLocation, VaultSecret,
};
use crate::error::{Error, Problem};
use crate::http::transport::Transport;
use crate::ids::RunnerId;
use crate::journal::lock::FileLock;
use crate::journal::{JournalError, place};
use crate::secret::Secret;
use crate::stores::file::FileStore;
use crate::stores::key_vault::KeyVaultStore;
use crate::stores::secrets_manager::SecretsManagerStore;
use crate::stores::{SecretStore, StoreError, disk};

/// Opens places.
#[async_trait]
pub trait Storage: Send + Sync {
    /// The state, for writing; a folder is created when missing.
    async fn open_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error>;

    /// The state as it is, for reading; one that does not exist is empty.
    async fn view_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error>;

    /// The lock of one journal, where the state's place has locks: its release ends a lease at once.
    fn lock(&self, location: &StateLocation, journal: &str, by: &RunnerId) -> Result<Lock, Error>;

    /// A store.
    fn store(&self, location: &StoreLocation) -> Result<Arc<dyn SecretStore>, Error>;

    /// The value that a reference to a vault points to, read now.
    async fn secret(&self, secret: &VaultSecret) -> Result<Secret, Error>;

    /// When that value expires, where the vault was told.
    async fn secret_expiry(&self, secret: &VaultSecret) -> Result<Option<Timestamp>, Error> {
        let _ = secret;
        Ok(None)
    }

    /// A token that shows this process to `audience`, from the cloud that it runs in.
    async fn web_identity_token(&self, audience: &str) -> Result<Secret, Error> {
        Err(Error::failed("secret-missing", format!("no cloud shows this process to `{audience}`"))
            .hint("sign in in another way where there is no AWS"))
    }

    /// Fails where it is plain, without writing, that the state could not be written.
    fn check_state(&self, location: &StateLocation) -> Result<(), Error> {
        let _ = location;
        Ok(())
    }

    /// The same of a store.
    fn check_store(&self, location: &StoreLocation) -> Result<(), Error> {
        let _ = location;
        Ok(())
    }
}

/// The answer to an attempt to lock a journal.
pub enum Lock {
    /// Held until dropped.
    Taken(Box<dyn Send + Sync>),
    /// Another process holds it.
    Busy(RunnerId),
    /// This place has no locks; the lease alone decides.
    None,
}

/// This machine's disk, AWS and Azure.
pub struct Places {
    aws: Arc<Aws>,
    /// `None` while that access itself is made: its own sign-in keeps nothing there.
    azure: Option<Azure>,
    /// Bounds one request, and what is done about it when it fails.
    timeout: Duration,
}

impl Places {
    /// The places of `config`; nothing is read or sent yet.
    pub fn new(config: &Config, environment: &Environment, transport: &Arc<dyn Transport>, clock: &Clock) -> Result<Self, Error> {
        let timing = (config.state.request_timeout, config.state.skew);
        Self::reaching(&config.endpoints, timing, environment, transport, clock)
    }

    fn reaching(
        endpoints: &Endpoints,
        (timeout, skew): (Duration, Duration),
        environment: &Environment,
        transport: &Arc<dyn Transport>,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let aws = Arc::new(Aws::new(environment.clone(), Arc::clone(transport), clock.clone(), timeout)?);
        let storage = Arc::new(Self { aws: Arc::clone(&aws), azure: None, timeout });
        let azure = Azure::new(azure::Parts { endpoints, environment, transport, clock, skew, timeout, storage })?;
        Ok(Self { aws, azure: Some(azure), timeout })
    }

    fn azure(&self) -> Result<&Azure, Error> {
        self.azure.as_ref().ok_or_else(|| {
            Error::usage("sign-in-circle", "what signs in to Azure is kept at Azure, where it takes that very sign-in to read it")
                .hint("keep it elsewhere, or use a managed identity")
        })
    }

    fn key_vault(&self, name: &KeyVaultName) -> Result<KeyVaultStore, Error> {
        Ok(KeyVaultStore::new(self.azure()?.vault(&name.vault), name.clone(), self.timeout))
    }

    /// The bytes of one object.
    async fn document(&self, place: &ObjectPlace) -> Result<Vec<u8>, Error> {
        let store = self.bucket(place).await?;
        let unreadable = |error: object_store::Error| {
            if matches!(error, object_store::Error::NotFound { .. }) {
                return Error::usage("config-not-found", format!("there is no config at `{place}`")).hint("check the address");
            }
            Error::from(JournalError::Unavailable(error))
        };
        let found = store.get(&ObjectPath::from(place.path())).await.map_err(unreadable)?;
        Ok(found.bytes().await.map_err(unreadable)?.to_vec())
    }

    /// The folder that `place` names.
    async fn objects(&self, place: &ObjectPlace) -> Result<Arc<dyn ObjectStore>, Error> {
        Ok(Arc::new(PrefixStore::new(self.bucket(place).await?, place.path())))
    }

    /// The whole bucket or container of `place`.
    async fn bucket(&self, place: &ObjectPlace) -> Result<Arc<dyn ObjectStore>, Error> {
        let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: self.timeout, ..RetryConfig::default() };
        let unusable = |error: object_store::Error| {
            Error::usage("bad-state", format!("`{place}` cannot be opened"))
                .hint("check its address, and that of the service where one is set")
                .caused_by(error)
        };
        match place {
            ObjectPlace::S3 { bucket, .. } => {
                Ok(Arc::new(self.aws.bucket(bucket).await?.with_retry(retry).build().map_err(unusable)?))
            }
            ObjectPlace::AzureBlob { account, container, .. } => {
                Ok(Arc::new(self.azure()?.container(account, container).with_retry(retry).build().map_err(unusable)?))
            }
        }
    }
}

#[async_trait]
impl Storage for Places {
    async fn open_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        match location {
            StateLocation::File(folder) => place::open_state(folder),
            StateLocation::Objects(place) => self.objects(place).await,
        }
    }

    async fn view_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        match location {
            StateLocation::File(folder) => place::view_state(folder),
            StateLocation::Objects(place) => self.objects(place).await,
        }
    }

    fn lock(&self, location: &StateLocation, journal: &str, by: &RunnerId) -> Result<Lock, Error> {
        match location {
            StateLocation::File(folder) => match FileLock::try_take(folder, journal, by)? {
                Some(lock) => Ok(Lock::Taken(Box::new(lock))),
                None => Ok(Lock::Busy(FileLock::holder(folder, journal).unwrap_or_else(|| RunnerId::new("another process")))),
            },
            StateLocation::Objects(_) => Ok(Lock::None),
        }
    }

    fn store(&self, location: &StoreLocation) -> Result<Arc<dyn SecretStore>, Error> {
        match location {
            StoreLocation::File(path) => Ok(Arc::new(FileStore::new(path))),
            StoreLocation::SecretsManager(name) => Ok(Arc::new(SecretsManagerStore::new(Arc::clone(&self.aws), name.clone()))),
            StoreLocation::KeyVault(name) => Ok(Arc::new(self.key_vault(name)?)),
            StoreLocation::DatabricksScope { .. } => Err(Error::usage(
                "store-copies-only",
                format!("`{location}` can't be a store: Databricks does not give values back"),
            )
            .hint("name it under `copies` and give another place as `store`")),
        }
    }

    async fn web_identity_token(&self, audience: &str) -> Result<Secret, Error> {
        self.aws.web_identity_token(audience).await
    }

    async fn secret(&self, secret: &VaultSecret) -> Result<Secret, Error> {
        let value = match secret {
            VaultSecret::SecretsManager { name, key } => {
                SecretsManagerStore::new(Arc::clone(&self.aws), name.clone()).text(key.as_deref()).await?
            }
            VaultSecret::KeyVault { name, version } => self.key_vault(name)?.text(version.as_deref()).await?,
        };
        value.ok_or_else(|| {
            Error::failed("secret-missing", format!("`{secret}` does not exist or has no value"))
                .hint("check every part of its name, and that it has a value in text")
        })
    }

    async fn secret_expiry(&self, secret: &VaultSecret) -> Result<Option<Timestamp>, Error> {
        match secret {
            VaultSecret::SecretsManager { .. } => Ok(None),
            VaultSecret::KeyVault { name, version } => Ok(self.key_vault(name)?.text_expiry(version.as_deref()).await?),
        }
    }

    fn check_state(&self, location: &StateLocation) -> Result<(), Error> {
        match location {
            StateLocation::File(folder) => disk::may_write(folder).map_err(|error| place::not_writable(folder, error)),
            StateLocation::Objects(_) => Ok(()),
        }
    }

    fn check_store(&self, location: &StoreLocation) -> Result<(), Error> {
        match location {
            StoreLocation::File(path) => path
                .parent()
                .map_or(Ok(()), disk::may_write)
                .map_err(|source| StoreError::NotWritable { place: location.to_string(), source }.into()),
            StoreLocation::KeyVault(_) | StoreLocation::SecretsManager(_) | StoreLocation::DatabricksScope { .. } => Ok(()),
        }
    }
}

/// Reads and checks the config from wherever it is: a file, the environment, S3 or Blob storage. The sister of
/// [`Config::load`], which needs no network.
pub async fn load_config(
    source: &ConfigSource,
    environment: &Environment,
    current_dir: &Path,
    transport: &Arc<dyn Transport>,
    clock: &Clock,
) -> Result<Config, Vec<ConfigProblem>> {
    let Some(place) = source.object(environment).map_err(|problem| vec![problem])? else {
        return Config::load(source, environment, current_dir);
    };
    // The document that names the cloud is not at hand yet.
    let endpoints = Endpoints::of(Cloud::of_authority(environment.get(AUTHORITY_HOST)));
    let document = match Places::reaching(&endpoints, (DOCUMENT_TIMEOUT, DOCUMENT_SKEW), environment, transport, clock) {
        Ok(places) => places.document(&place).await,
        Err(error) => Err(error),
    };
    let file = place.to_string();
    let document = document.map_err(|error| {
        let Problem { code, message, hint } = error.problem().clone();
        vec![ConfigProblem { code, message, hint, file: file.clone(), line: 1, column: 1 }]
    })?;
    Config::of_document(&file, document, environment, current_dir)
}

/// Names the Azure cloud where no config does.
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
/// By how much clocks may differ before the config says so.
const DOCUMENT_SKEW: Duration = Duration::from_secs(120);
/// After which the document is given up.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(20);
/// Tries beyond the first of a request to an object store.
const RETRIES_MAX: usize = 4;
