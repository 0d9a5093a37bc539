//! AWS credentials for object stores, from the SDK's own chain. The SDKs keep theirs until they expire; so does this.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_secretsmanager::config::{ProvideCredentials, SharedCredentialsProvider};
use jiff::{SignedDuration, Timestamp};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use crate::clock::Clock;

/// Credentials with less left than this are replaced: a request with all its retries must fit in.
const LEFT_MIN: SignedDuration = SignedDuration::from_mins(5);

pub(super) struct S3Credentials {
    provider: Option<SharedCredentialsProvider>,
    clock: Clock,
    held: Mutex<Option<(Arc<AwsCredential>, Option<Timestamp>)>>,
}

impl S3Credentials {
    pub(super) fn new(config: &SdkConfig, clock: Clock) -> Self {
        Self { provider: config.credentials_provider(), clock, held: Mutex::default() }
    }
}

#[async_trait]
impl CredentialProvider for S3Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        let lasts = |until: &Option<Timestamp>| until.is_none_or(|until| until.duration_since(self.clock.now()) > LEFT_MIN);
        if let Some((credential, _)) = held.as_ref().filter(|(_, until)| lasts(until)) {
            return Ok(Arc::clone(credential));
        }
        let provider = self.provider.as_ref().ok_or_else(|| unavailable("no source of AWS credentials is set up".into()))?;
        let fresh = provider.provide_credentials().await.map_err(|error| unavailable(Box::new(error)))?;
        let credential = Arc::new(AwsCredential {
            key_id: fresh.access_key_id().to_owned(),
            secret_key: fresh.secret_access_key().to_owned(),
            token: fresh.session_token().map(str::to_owned),
        });
        let until = fresh.expiry().and_then(|until| Timestamp::try_from(until).ok());
        *held = Some((Arc::clone(&credential), until));
        Ok(credential)
    }
}

impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("S3Credentials(…)")
    }
}

fn unavailable(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Unauthenticated { path: "AWS credentials".to_owned(), source }
}
