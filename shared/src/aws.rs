//! This process's access to AWS. Credentials, region and addresses come from where every AWS program takes them (variables,
//! profiles with SSO or roles, web identity, containers, machines), over our environment, clock and transport. Nothing is
//! loaded before it is needed, and everything once: clones of a client share its cached credentials.

mod credentials;
mod failure;
mod web_identity;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_secretsmanager::config::StalledStreamProtectionConfig;
use aws_smithy_async::time::TimeSource;
use aws_types::os_shim_internal::Env;
use aws_types::service_config::ServiceConfigKey;
use object_store::aws::AmazonS3Builder;
use tokio::sync::OnceCell;

use crate::clock::Clock;
use crate::config::env_vars::{ALLOWED_HOSTS, Environment};
use crate::config::hosts::HostPolicy;
use crate::error::Error;
use crate::http::sdk::SdkTransport;
use crate::http::transport::Transport;
use credentials::S3Credentials;
pub use failure::failure;

/// This process's access to AWS.
pub struct Aws {
    environment: Environment,
    http: SdkTransport,
    clock: Clock,
    loaded: OnceCell<SdkConfig>,
    /// One client for each region.
    secrets: Mutex<HashMap<Option<String>, aws_sdk_secretsmanager::Client>>,
    credentials: OnceCell<Arc<S3Credentials>>,
}

impl Aws {
    /// Access as `environment` gives it; nothing is read or sent yet. `timeout` bounds one call with its retries.
    pub fn new(environment: Environment, transport: Arc<dyn Transport>, clock: Clock, timeout: Duration) -> Result<Self, Error> {
        let hosts = HostPolicy::aws(environment.get(ALLOWED_HOSTS)).map_err(HostPolicy::unreadable)?;
        let http = SdkTransport::new(transport, hosts, timeout);
        Ok(Self { environment, http, clock, loaded: OnceCell::new(), secrets: Mutex::default(), credentials: OnceCell::new() })
    }

    /// How long one call may take.
    pub fn timeout(&self) -> Duration {
        self.http.timeout()
    }

    /// What every SDK client is made from.
    pub async fn sdk_config(&self) -> Result<&SdkConfig, Error> {
        self.loaded.get_or_try_init(|| self.load()).await
    }

    async fn load(&self) -> Result<SdkConfig, Error> {
        let variables: Vec<(&str, &str)> = self.environment.iter().collect();
        let timeouts = TimeoutConfig::builder().operation_timeout(self.http.timeout()).build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .env(Env::from_slice(&variables))
            .http_client(self.http.clone())
            .time_source(SdkClock(self.clock.clone()))
            .timeout_config(timeouts)
            // Answers are read whole, within the transport's own timeout.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .load()
            .await;
        if config.region().is_none() {
            return Err(Error::usage("aws-region", "no AWS region is set")
                .hint("set AWS_REGION, or `region` in the profile that AWS_PROFILE names"));
        }
        Ok(config)
    }

    /// A client of Secrets Manager, in `region` or the environment's own.
    pub async fn secrets_manager(&self, region: Option<&str>) -> Result<aws_sdk_secretsmanager::Client, Error> {
        let config = self.sdk_config().await?;
        let mut clients = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.entry(region.map(str::to_owned)).or_insert_with(|| {
            let mut builder = aws_sdk_secretsmanager::config::Builder::from(config);
            if let Some(region) = region {
                builder.set_region(Some(Region::new(region.to_owned())));
            }
            aws_sdk_secretsmanager::Client::from_conf(builder.build())
        });
        Ok(client.clone())
    }

    /// A client of SQS.
    pub async fn sqs(&self) -> Result<aws_sdk_sqs::Client, Error> {
        Ok(aws_sdk_sqs::Client::new(self.sdk_config().await?))
    }

    /// How to open a bucket. One at another address than AWS's own is spoken to in path style.
    pub async fn bucket(&self, bucket: &str) -> Result<AmazonS3Builder, Error> {
        let config = self.sdk_config().await?;
        let region = config.region().map(Region::as_ref).unwrap_or_default();
        let credentials = self.credentials.get_or_init(async || Arc::new(S3Credentials::new(config, self.clock.clone()))).await;
        let builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_http_connector(self.http.clone())
            .with_credentials(Arc::clone(credentials) as _);
        let china = || region.starts_with("cn-").then(|| format!("https://s3.{region}.amazonaws.com.cn"));
        Ok(match s3_endpoint(config).or_else(china) {
            // Which hosts may be spoken to without TLS is the transport's to judge.
            Some(endpoint) => builder.with_endpoint(endpoint).with_allow_http(true),
            None => builder,
        })
    }
}

impl std::fmt::Debug for Aws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Aws")
    }
}

/// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or what the profile says, unless the user has those ignored.
fn s3_endpoint(config: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
    config.service_config().and_then(|service| service.load_config(key)).or_else(|| config.endpoint_url().map(str::to_owned))
}

#[derive(Debug)]
struct SdkClock(Clock);

impl TimeSource for SdkClock {
    fn now(&self) -> SystemTime {
        self.0.now().into()
    }
}
