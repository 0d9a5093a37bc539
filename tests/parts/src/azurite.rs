//! Azurite: Blob and Queue storage over TLS, for callers with Entra tokens. Installed once into `target/parts`, at the one version
//! that is pinned here.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lakekey_core::clock::Clock;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::door::Door;
use crate::identity::access_token;
use crate::trust::Trust;

/// A running Azurite; it ends with the handle.
pub struct Azurite {
    blob: String,
    queue: String,
    trust: Trust,
    client: reqwest::Client,
    _process: Child,
    _folder: TempDir,
}

/// A message as it was taken from a queue.
#[derive(Clone, Debug)]
pub struct Message {
    /// Out of its base64.
    pub text: String,
    /// How often it has been taken.
    pub dequeued: u64,
    id: String,
    receipt: String,
}

impl Azurite {
    /// Starts one that forgets everything when it ends.
    pub async fn start() -> anyhow::Result<Self> {
        let program = installed()?;
        let folder = tempfile::tempdir()?;
        let trust = Trust::make(folder.path())?;
        let [blob_port, queue_port, table_port] = free_ports()?;
        let port = |number: u16| number.to_string();
        let process = Command::new("node")
            .arg(program)
            .args(["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--oauth", "basic"])
            .args(["--blobPort", &port(blob_port), "--queuePort", &port(queue_port), "--tablePort", &port(table_port)])
            .arg("--cert")
            .arg(&trust.certificate)
            .arg("--key")
            .arg(&trust.key)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("node can't be started")?;
        let roots = reqwest::Certificate::from_pem_bundle(&std::fs::read(&trust.roots)?)?;
        let client = reqwest::Client::builder().tls_certs_only(roots).no_proxy().build()?;
        let address = |port: u16| format!("https://127.0.0.1:{port}/{ACCOUNT}");
        let azurite =
            Self { blob: address(blob_port), queue: address(queue_port), trust, client, _process: process, _folder: folder };
        azurite.wait().await?;
        Ok(azurite)
    }

    /// The name of the one account.
    pub fn account(&self) -> &'static str {
        ACCOUNT
    }

    /// Blob storage, with the account's path.
    pub fn blob(&self) -> &str {
        &self.blob
    }

    /// Queue storage, with the account's path.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// A door before Blob storage.
    pub async fn blob_door(&self) -> anyhow::Result<Door> {
        Door::open(&self.blob, &self.client, &self.trust).await
    }

    /// A door before Queue storage.
    pub async fn queue_door(&self) -> anyhow::Result<Door> {
        Door::open(&self.queue, &self.client, &self.trust).await
    }

    /// Whom to trust.
    pub fn roots(&self) -> &Path {
        &self.trust.roots
    }

    /// Makes a container.
    pub async fn create_container(&self, name: &str) -> anyhow::Result<()> {
        self.call("PUT", &format!("{}/{name}?restype=container", self.blob), None).await.map(drop)
    }

    /// Makes a queue.
    pub async fn create_queue(&self, name: &str) -> anyhow::Result<()> {
        self.call("PUT", &format!("{}/{name}", self.queue), None).await.map(drop)
    }

    /// Every blob of a container, by name.
    pub async fn blobs(&self, container: &str) -> anyhow::Result<Vec<String>> {
        let listed = self.call("GET", &format!("{}/{container}?restype=container&comp=list", self.blob), None).await?;
        Ok(elements(&listed, "Name").map(str::to_owned).collect())
    }

    /// The bytes of a blob.
    pub async fn read(&self, container: &str, name: &str) -> anyhow::Result<String> {
        self.call("GET", &format!("{}/{container}/{name}", self.blob), None).await
    }

    /// Puts a message of this text into a queue.
    pub async fn put(&self, queue: &str, text: &str) -> anyhow::Result<()> {
        let body = format!("<QueueMessage><MessageText>{}</MessageText></QueueMessage>", STANDARD.encode(text));
        self.call("POST", &format!("{}/{queue}/messages", self.queue), Some(body)).await.map(drop)
    }

    /// Takes a message, which others do not see for `hidden`.
    pub async fn take(&self, queue: &str, hidden: Duration) -> anyhow::Result<Option<Message>> {
        let url = format!("{}/{queue}/messages?numofmessages=1&visibilitytimeout={}", self.queue, hidden.as_secs().max(1));
        let taken = self.call("GET", &url, None).await?;
        let Some(id) = elements(&taken, "MessageId").next() else { return Ok(None) };
        let field = |name: &str| elements(&taken, name).next().with_context(|| format!("a message without `{name}`"));
        let text = STANDARD.decode(field("MessageText")?).context("a message that is no base64")?;
        Ok(Some(Message {
            text: String::from_utf8(text)?,
            dequeued: field("DequeueCount")?.parse()?,
            id: id.to_owned(),
            receipt: field("PopReceipt")?.to_owned(),
        }))
    }

    /// Takes a message off for good.
    pub async fn delete(&self, queue: &str, message: &Message) -> anyhow::Result<()> {
        let receipt: String = url::form_urlencoded::byte_serialize(message.receipt.as_bytes()).collect();
        self.call("DELETE", &format!("{}/{queue}/messages/{}?popreceipt={receipt}", self.queue, message.id), None).await.map(drop)
    }

    /// Everybody sees a message again after `hidden`.
    pub async fn put_back(&self, queue: &str, message: &Message, hidden: Duration) -> anyhow::Result<()> {
        let receipt: String = url::form_urlencoded::byte_serialize(message.receipt.as_bytes()).collect();
        let url =
            format!("{}/{queue}/messages/{}?popreceipt={receipt}&visibilitytimeout={}", self.queue, message.id, hidden.as_secs());
        let body = format!("<QueueMessage><MessageText>{}</MessageText></QueueMessage>", STANDARD.encode(&message.text));
        self.call("PUT", &url, Some(body)).await.map(drop)
    }

    async fn call(&self, method: &str, url: &str, body: Option<String>) -> anyhow::Result<String> {
        let request = self
            .client
            .request(method.parse()?, url)
            .bearer_auth(access_token("https://storage.azure.com"))
            .header("x-ms-version", "2025-11-05")
            .body(body.unwrap_or_default());
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "Azurite answered {status} to {method} {url}: {text}");
        Ok(text)
    }

    async fn wait(&self) -> anyhow::Result<()> {
        let clock = Clock::wall();
        for _ in 0..READY_MAX.as_millis() / POLL.as_millis() {
            let listed = async |url: &str| self.call("GET", &format!("{url}?comp=list"), None).await.is_ok();
            if listed(&self.blob).await && listed(&self.queue).await {
                return Ok(());
            }
            clock.sleep(POLL).await;
        }
        anyhow::bail!("Azurite has not answered within {} seconds", READY_MAX.as_secs())
    }
}

/// The contents of the elements of a name, in an answer that has no attributes and nothing to unescape in them.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (content, after) = after.split_once(&close)?;
        rest = after;
        Some(content)
    })
}

/// Ports that were free a moment ago.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    }
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<Vec<_>>>()?;
    ports.try_into().ok().context("three ports")
}

/// Its program, installed when it is missing; one test at a time, whichever process it is in.
pub(crate) fn installed() -> anyhow::Result<PathBuf> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("this crate is in tests/")?;
    let folder = root.join("target/parts").join(format!("azurite-{VERSION}"));
    let program = folder.join("node_modules/azurite/dist/src/azurite.js");
    if !program.exists() {
        // Installed beside and moved, so that whoever comes at the same time finds all of it or nothing.
        std::fs::create_dir_all(root.join("target/parts"))?;
        let fresh = tempfile::tempdir_in(root.join("target/parts"))?;
        let package = format!("azurite@{VERSION}");
        let arguments = ["install", "--silent", "--no-fund", "--no-audit", "--no-save", "--prefix"];
        let status = std::process::Command::new("npm").args(arguments).arg(fresh.path()).arg(&package).status();
        ensure!(status.context("npm can't be started")?.success(), "`npm install {package}` failed");
        match std::fs::rename(fresh.path(), &folder) {
            Ok(()) => drop(fresh.keep()),
            Err(error) => ensure!(program.exists(), "{}: {error}", folder.display()),
        }
    }
    Ok(program)
}

/// The newest that Node 20 runs.
const VERSION: &str = "3.35.0";
const ACCOUNT: &str = "devstoreaccount1";
const POLL: Duration = Duration::from_millis(100);
const READY_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_taken_put_back_and_taken_off() {
        let azurite = Azurite::start().await.unwrap();
        azurite.create_queue("work").await.unwrap();
        azurite.put("work", "{\"a\":\"ü\"}").await.unwrap();
        let message = azurite.take("work", Duration::from_secs(60)).await.unwrap().unwrap();
        assert_eq!((message.text.as_str(), message.dequeued), ("{\"a\":\"ü\"}", 1));
        assert!(azurite.take("work", Duration::from_secs(60)).await.unwrap().is_none());
        azurite.put_back("work", &message, Duration::ZERO).await.unwrap();
        let again = azurite.take("work", Duration::from_secs(60)).await.unwrap().unwrap();
        assert_eq!(again.dequeued, 2);
        azurite.delete("work", &again).await.unwrap();
        azurite.create_container("state").await.unwrap();
        assert!(azurite.blobs("state").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_door_passes_on_what_comes_or_nothing_or_keeps_an_answer_back() {
        let azurite = Azurite::start().await.unwrap();
        azurite.create_container("state").await.unwrap();
        let door = azurite.blob_door().await.unwrap();
        let send = async |method: &str, name: &str, body: &'static str| {
            let request = azurite.client.request(method.parse().unwrap(), format!("{}/state/{name}", door.address()));
            let request = request.bearer_auth(access_token("https://storage.azure.com")).header("x-ms-version", "2025-11-05");
            request.header("x-ms-blob-type", "BlockBlob").body(body).send().await.unwrap()
        };
        assert_eq!(send("PUT", "one", "ünï").await.status(), 201);
        let empty = azurite.client.put(format!("{}/state/empty", door.address())).header("content-length", "0");
        let empty = empty.bearer_auth(access_token("https://storage.azure.com")).header("x-ms-blob-type", "BlockBlob");
        assert_eq!(empty.header("x-ms-version", "2025-11-05").send().await.unwrap().status(), 201);
        assert_eq!(send("HEAD", "one", "").await.headers()["content-length"], "5");
        assert_eq!(send("GET", "one", "").await.text().await.unwrap(), "ünï");

        door.set_away(true);
        assert_eq!(send("PUT", "two", "").await.status(), 503);
        assert_eq!(door.refused(), 1);
        door.set_away(false);
        door.hold(|passing| passing.method == "PUT" && passing.path.ends_with("/three") && passing.body == b"3");
        assert_eq!(send("PUT", "four", "4").await.status(), 201);
        tokio::select! {
            answer = send("PUT", "three", "3") => panic!("{answer:?}"),
            () = door.held() => {}
        }
        assert_eq!(azurite.blobs("state").await.unwrap(), ["empty", "four", "one", "three"]);
    }
}
