//! An Azure Storage queue. Whoever the environment signs in to Azure puts messages into it; the platform takes them out. It
//! wants text in base64, as the Functions host reads it (learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue).

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header;
use url::Url;

use super::{DELAY_MAX, Message, WorkQueue};
use crate::config::ServiceAddress;
use crate::config::env_vars::{Environment, QUEUE_URL};
use crate::error::Error;
use crate::http::{Call, Effect, Http, Service};
use crate::identity::Signer;

/// The name that the platform's trigger has, too.
const NAME: &str = "lakekey-work";
/// Of the REST API: the first that takes tokens of Entra is older.
const VERSION: &str = "2021-12-02";
/// The storage of the Functions host, where it names its queues' address, and where it names its account alone.
const HOST_QUEUES: &str = "AzureWebJobsStorage__queueServiceUri";
const HOST_ACCOUNT: &str = "AzureWebJobsStorage__accountName";

/// The queue `lakekey-work`, or another.
pub struct StorageQueue {
    http: Http,
    signer: Signer,
    address: String,
}

impl StorageQueue {
    /// The queue at `address`, to which `http` alone may send.
    pub fn new(http: Http, signer: Signer, address: &Url) -> Self {
        Self { http, signer, address: address.as_str().trim_end_matches('/').to_owned() }
    }

    /// Where the queue is: `LAKEKEY_QUEUE_URL`, else the one of its name in the Functions host's own storage. Where only an account
    /// is named, its queues are at `queues`, as the config's cloud has them.
    pub fn address(environment: &Environment, queues: &ServiceAddress) -> Result<Url, Error> {
        let below = |queues: &str| format!("{}/{NAME}", queues.trim_end_matches('/'));
        let address = environment
            .get(QUEUE_URL)
            .map(str::to_owned)
            .or_else(|| environment.get(HOST_QUEUES).map(below))
            .or_else(|| environment.get(HOST_ACCOUNT).map(|account| below(&queues.of(account))));
        let Some(address) = address else {
            return Err(Error::usage("queue-unknown", "nothing says where the work queue is")
                .hint("set LAKEKEY_QUEUE_URL to the queue's address, or AzureWebJobsStorage__queueServiceUri to that of the account's queues"));
        };
        super::address(&address)
    }
}

#[async_trait]
impl WorkQueue for StorageQueue {
    async fn send(&self, message: &Message, delay: Duration) -> Result<(), Error> {
        let text = STANDARD.encode(message.to_text());
        let body = format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
        let now = self.http.clock().now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let request =
            http::Request::post(format!("{}/messages?visibilitytimeout={}", self.address, delay.min(DELAY_MAX).as_secs()))
                .header("x-ms-version", VERSION)
                .header("x-ms-date", now)
                .header(header::CONTENT_TYPE, "application/xml")
                .body(Bytes::from(body))
                .map_err(|error| super::unusable(&self.address).caused_by(error))?;
        let call = Call {
            service: Service::StorageQueue,
            what: "put a message into the work queue",
            request,
            signer: Some(&self.signer),
            // A message that comes twice does no harm.
            effect: Effect::Repeatable,
            not_after: None,
        };
        self.http.send(call).await.map(drop).map_err(Error::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoints;
    use crate::config::hosts::Cloud;

    fn address(variables: &[(&str, &str)]) -> Result<String, String> {
        address_in(Cloud::Public, variables)
    }

    fn address_in(cloud: Cloud, variables: &[(&str, &str)]) -> Result<String, String> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found = StorageQueue::address(&environment, &Endpoints::of(cloud).queue);
        found.map(|url| url.to_string()).map_err(|error| error.code().to_owned())
    }

    #[test]
    fn the_queue_is_where_the_nearest_variable_says() {
        let account = (HOST_ACCOUNT, "contoso");
        let queues = (HOST_QUEUES, "https://fabrikam.queue.core.windows.net/");
        let own = (QUEUE_URL, "http://127.0.0.1:10001/devstoreaccount1/other");
        assert_eq!(address(&[account]), Ok("https://contoso.queue.core.windows.net/lakekey-work".to_owned()));
        assert_eq!(address(&[account, queues]), Ok("https://fabrikam.queue.core.windows.net/lakekey-work".to_owned()));
        assert_eq!(address(&[account, queues, own]), Ok("http://127.0.0.1:10001/devstoreaccount1/other".to_owned()));
    }

    #[test]
    fn an_accounts_queues_are_in_the_cloud_of_the_config() {
        for (cloud, host) in [
            (Cloud::Public, "queue.core.windows.net"),
            (Cloud::Usgov, "queue.core.usgovcloudapi.net"),
            (Cloud::China, "queue.core.chinacloudapi.cn"),
        ] {
            assert_eq!(address_in(cloud, &[(HOST_ACCOUNT, "contoso")]), Ok(format!("https://contoso.{host}/lakekey-work")));
        }
        let elsewhere = ServiceAddress::Override("https://127.0.0.1:10001/devstoreaccount1".parse().unwrap());
        let environment = [(HOST_ACCOUNT.to_owned(), "devstoreaccount1".to_owned())].into_iter().collect();
        let found = StorageQueue::address(&environment, &elsewhere).unwrap();
        assert_eq!(found.as_str(), "https://127.0.0.1:10001/devstoreaccount1/lakekey-work");
    }

    #[test]
    fn what_is_no_address_of_a_queue_is_refused() {
        assert_eq!(address(&[]), Err("queue-unknown".to_owned()));
        for bad in ["lakekey-work", "https://user@host/q", "https://host/q?sig=secret", "http://host/q", "https://host"] {
            assert_eq!(address(&[(QUEUE_URL, bad)]), Err("bad-queue-url".to_owned()), "{bad}");
        }
    }
}
