//! The work queues of the platforms, over the wire: what is sent there is what a worker reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakekey_core::clock::Clock;
use lakekey_core::config::Endpoints;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::config::hosts::{Cloud, HostPolicy};
use lakekey_core::http::Http;
use lakekey_core::http::reqwest_transport::ReqwestTransport;
use lakekey_core::http::transport::Transport;
use lakekey_core::identity::Signer;
use lakekey_core::ids::CredentialName;
use lakekey_core::random::Random;
use lakekey_core::secret::Secret;
use lakekey_core::work::{Message, StorageQueue, WorkQueue};
use lakekey_parts::{Azurite, Identity};
use serde_json::Value;

const QUEUE: &str = "lakekey-work";
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a message that was taken stays hidden.
const HIDDEN: Duration = Duration::from_secs(60);

/// The queue as a function app finds it in its environment.
async fn queue(azurite: &Azurite, identity: &Identity, name: &str) -> StorageQueue {
    let variables = [
        ("LAKEKEY_QUEUE_URL".to_owned(), format!("{}/{name}", azurite.queue())),
        ("SSL_CERT_FILE".to_owned(), azurite.roots().display().to_string()),
    ];
    let environment: Environment = identity.environment().into_iter().chain(variables).collect();
    let transport = Arc::new(ReqwestTransport::new(&environment).unwrap());
    let address = StorageQueue::address(&environment, &Endpoints::of(Cloud::Public).queue).unwrap();
    let token = token(&*transport, &environment).await;
    let http = Http::new(transport, HostPolicy::only(&address), Clock::wall(), Random::system(), TIMEOUT);
    StorageQueue::new(http, Signer::fixed(token), &address)
}

/// The platform's identity has its token from there.
async fn token(transport: &dyn Transport, environment: &Environment) -> Secret {
    let of = |name: &str| environment.get(name).unwrap();
    let asked = format!("api-version=2019-08-01&resource=https://storage.azure.com&client_id={}", of("AZURE_CLIENT_ID"));
    let request = http::Request::get(format!("{}?{asked}", of("IDENTITY_ENDPOINT")));
    let request = request.header("x-identity-header", of("IDENTITY_HEADER")).body(Bytes::new()).unwrap();
    let answer = transport.send(request, TIMEOUT).await.unwrap();
    let answer: Value = serde_json::from_slice(answer.body()).unwrap();
    Secret::new(answer["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn a_storage_queue_takes_messages_and_gives_them_when_they_are_due() {
    let (azurite, identity) = (Azurite::start().await.unwrap(), Identity::open().await.unwrap());
    azurite.create_queue(QUEUE).await.unwrap();
    let work = queue(&azurite, &identity, QUEUE).await;
    let message = Message::Drive { credential: CredentialName::new("sales-bi") };

    work.send(&message, Duration::ZERO).await.unwrap();
    let taken = azurite.take(QUEUE, HIDDEN).await.unwrap().expect("it is there at once");
    assert_eq!(Message::parse(&taken.text), Ok(message.clone()));

    work.send(&message, Duration::from_secs(600)).await.unwrap();
    assert!(azurite.take(QUEUE, HIDDEN).await.unwrap().is_none(), "it waits for its delay");

    let nowhere = queue(&azurite, &identity, "no-such-queue").await;
    let error = nowhere.send(&message, Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}
