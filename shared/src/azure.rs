//! This process's access to what keeps values and state at Azure, Key Vault and Blob storage, as whoever the environment signs
//! in: a managed identity on the platforms, the Azure CLI on a desk. Key Vault is spoken to over [`Http`] and not over its SDK:
//! so its requests obey the same rules about hosts, retries, cool-downs and redaction as all others.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::azure::{AzureCredential, MicrosoftAzureBuilder};

use crate::clients::keyvault::KeyVault;
use crate::clock::Clock;
use crate::config::Endpoints;
use crate::config::env_vars::{ALLOWED_HOSTS, Environment};
use crate::config::hosts::HostPolicy;
use crate::error::Error;
use crate::http::Http;
use crate::http::sdk::SdkTransport;
use crate::http::transport::Transport;
use crate::identity::{Audience, Identities, SecretReader, Signer, Sources};
use crate::random::Random;
use crate::storage::Storage;

/// This process's access to Key Vault and Blob storage.
pub struct Azure {
    endpoints: Endpoints,
    http: Arc<Http>,
    objects: SdkTransport,
    identities: Identities,
}

/// What an access is made from.
pub(crate) struct Parts<'a> {
    pub(crate) endpoints: &'a Endpoints,
    pub(crate) environment: &'a Environment,
    pub(crate) transport: &'a Arc<dyn Transport>,
    pub(crate) clock: &'a Clock,
    /// By how much clocks may differ.
    pub(crate) skew: Duration,
    /// Bounds one attempt.
    pub(crate) timeout: Duration,
    /// What else there is.
    pub(crate) storage: Arc<dyn Storage>,
}

impl Azure {
    /// Access as the environment gives it; nothing is sent yet.
    pub(crate) fn new(parts: Parts<'_>) -> Result<Self, Error> {
        let Parts { endpoints, environment, transport, clock, skew, timeout, storage } = parts;
        let hosts = HostPolicy::azure_places(endpoints, environment.get(ALLOWED_HOSTS)).map_err(HostPolicy::unreadable)?;
        let objects = SdkTransport::new(Arc::clone(transport), hosts.clone(), timeout);
        let http = Arc::new(Http::new(Arc::clone(transport), hosts, clock.clone(), Random::system(), timeout));
        let secrets = Arc::new(SecretReader::new(environment.clone()));
        let sources = Sources { secrets, storage, sign_ins: None };
        let identities = Identities::of_environment(endpoints.clone(), skew, sources, Arc::clone(&http));
        Ok(Self { endpoints: endpoints.clone(), http, objects, identities })
    }

    /// The secrets of one vault.
    pub fn vault(&self, name: &str) -> KeyVault {
        let signer = self.identities.ambient(&Audience::KeyVault);
        KeyVault::new(Arc::clone(&self.http), self.endpoints.keyvault.of(name), signer)
    }

    /// How to open a container.
    pub fn container(&self, account: &str, container: &str) -> MicrosoftAzureBuilder {
        let signer = self.identities.ambient(&Audience::Storage);
        MicrosoftAzureBuilder::new()
            .with_account(account)
            .with_container_name(container)
            .with_endpoint(self.endpoints.blob.of(account))
            // Which hosts may be spoken to without TLS is the transport's to judge.
            .with_allow_http(true)
            .with_http_connector(self.objects.clone())
            .with_credentials(Arc::new(StorageToken(signer)))
    }
}

/// Signs the requests of an object store.
struct StorageToken(Signer);

#[async_trait]
impl CredentialProvider for StorageToken {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        let token = self.0.token().await.map_err(|error| object_store::Error::Unauthenticated {
            path: "Azure Storage".to_owned(),
            source: Box::new(error),
        })?;
        Ok(Arc::new(AzureCredential::BearerToken(token.reveal().to_owned())))
    }
}

impl std::fmt::Debug for StorageToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StorageToken(…)")
    }
}
