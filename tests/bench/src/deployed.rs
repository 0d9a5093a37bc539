//! lakekey on Azure Functions, as it is shipped: the built handler and its functions' folders, a host that drives it, the simulated
//! cloud, the journal in Azurite, the store in a vault, a managed identity to sign in.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use lakekey_host::{Delivery, Host, Payload};
use lakekey_parts::{Azurite, Door, Identity, KeyVault, Trust};
use lakekey_sim::{Fleet, Served, Settings, serve};
use serde_json::{Value, json};
use tempfile::TempDir;
use zip::ZipArchive;

/// One deployment, and what it works with.
pub struct Deployed {
    pub served: Served,
    pub azurite: Azurite,
    /// By which the handler comes to Blob storage.
    pub blob: Door,
    /// By which it comes to Queue storage; the host itself needs none.
    pub queue: Door,
    pub vault: KeyVault,
    pub identity: Identity,
    /// What `LAKEKEY_CONFIG` says.
    pub config: Value,
    /// The app's settings beside it.
    pub settings: BTreeMap<String, String>,
    /// The app, as the package has it.
    app: TempDir,
    _trust: TempDir,
}

impl Deployed {
    /// The handler `binary` for this fleet, whose services take so long to answer.
    pub async fn new(binary: &Path, fleet: &Fleet, latency: Duration) -> anyhow::Result<Self> {
        let app = tempfile::tempdir()?;
        unpack(binary, app.path())?;
        Self::of_app(app, fleet, latency).await
    }

    /// The same from the package that `cargo dist` has made.
    pub async fn of_package(package: File, fleet: &Fleet, latency: Duration) -> anyhow::Result<Self> {
        let app = tempfile::tempdir()?;
        ZipArchive::new(package)?.extract(app.path())?;
        Self::of_app(app, fleet, latency).await
    }

    async fn of_app(app: TempDir, fleet: &Fleet, latency: Duration) -> anyhow::Result<Self> {
        let settings =
            Settings { latency, secret_settles: Duration::ZERO, warehouse_start: Duration::ZERO, ..Settings::default() };
        let served = serve(fleet, settings).await?;
        let azurite = Azurite::start().await?;
        azurite.create_container("state").await?;
        azurite.create_queue(QUEUE).await?;
        azurite.create_queue(POISON).await?;
        let (blob, queue) = (azurite.blob_door().await?, azurite.queue_door().await?);
        let trust_folder = tempfile::tempdir()?;
        let trust = Trust::make(trust_folder.path())?;
        let vault = KeyVault::open(&trust).await?;
        let roots = trust_folder.path().join("all.pem");
        std::fs::write(&roots, [std::fs::read(azurite.roots())?, std::fs::read(&trust.roots)?].concat())?;
        let identity = Identity::open().await?;
        let mut settings = identity.environment();
        settings.extend(served.cloud.environment());
        let fixed = [
            ("LAKEKEY_SCHEDULE", "0 0 * * * *".to_owned()),
            ("AzureWebJobsStorage__queueServiceUri", queue.address().to_owned()),
            ("AzureWebJobsStorage__credential", "managedidentity".to_owned()),
            ("SSL_CERT_FILE", roots.display().to_string()),
        ];
        settings.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        let config = config(&served, azurite.account(), [&blob, &queue].map(Door::address), &vault)?;
        Ok(Self { served, azurite, blob, queue, vault, identity, config, settings, app, _trust: trust_folder })
    }

    /// Starts an instance with config and settings as they are now.
    pub async fn start(&self) -> anyhow::Result<Host> {
        let mut settings = self.settings.clone();
        settings.insert("LAKEKEY_CONFIG".to_owned(), self.config.to_string());
        Host::start(self.app.path(), &settings).await
    }

    /// Whether all of storage is out of order for the handler.
    pub fn set_storage_away(&self, away: bool) {
        self.blob.set_away(away);
        self.queue.set_away(away);
    }

    /// Every message of the queue that can be seen, delivered as the host does: what is done is taken off, what has failed comes
    /// back, at once here, and is put aside when it has failed often enough. Says how many were put aside.
    pub async fn work_off(&self, host: &Host) -> anyhow::Result<usize> {
        let mut aside = 0;
        for _ in 0..DELIVERIES_MAX {
            let Some(message) = self.azurite.take(QUEUE, Duration::from_secs(600)).await? else { return Ok(aside) };
            let delivery = Delivery { text: message.text.clone(), count: message.dequeued };
            let done = host.invoke("worker", &Payload::Queue(delivery)).await.succeeded();
            if !done && message.dequeued < host.app().dequeue_max {
                self.azurite.put_back(QUEUE, &message, Duration::ZERO).await?;
                continue;
            }
            if !done {
                self.azurite.put(POISON, &message.text).await?;
                aside += 1;
            }
            self.azurite.delete(QUEUE, &message).await?;
        }
        anyhow::bail!("{DELIVERIES_MAX} deliveries, and the queue is not empty")
    }
}

/// An app as the package has it, with this handler.
pub fn unpack(binary: &Path, folder: &Path) -> anyhow::Result<()> {
    std::fs::copy(binary, folder.join("lakekey-azure"))?;
    std::fs::copy(root().join("host.json"), folder.join("host.json"))?;
    for function in std::fs::read_dir(root().join("functions/azure/triggers"))? {
        let function = function?;
        let into = folder.join(function.file_name());
        std::fs::create_dir(&into)?;
        std::fs::copy(function.path().join("function.json"), into.join("function.json"))?;
    }
    Ok(())
}

/// A binary of this very source: as it is deployed where a benchmark asks, else with the profile of the test that does.
pub fn built(package: &str, binary: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    // A test is in target/PROFILE/deps, a bench too.
    let folder = this.ancestors().nth(2).context("the profile's folder")?;
    let optimised = folder.file_name().is_some_and(|name| name == "release");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--package", package, "--bin", binary, "--target-dir"]);
    cargo.arg(folder.parent().context("the target folder")?);
    if optimised {
        // As it is deployed; and with this package each time: whatever is compared has the same features of the same dependencies.
        cargo.args(["--release", "--package", env!("CARGO_PKG_NAME")]);
    }
    ensure!(cargo.current_dir(root()).status()?.success(), "cargo can't build {binary}");
    Ok(folder.join(binary))
}

fn config(served: &Served, account: &str, [blob, queue]: [&str; 2], vault: &KeyVault) -> anyhow::Result<Value> {
    let (addresses, cast) = (served.cloud.addresses(), served.cloud.cast());
    let names: Vec<String> = served.cloud.environment().into_keys().collect();
    let secret = |part: &str| names.iter().find(|name| name.contains(part)).map(|name| format!("env:{name}")).context("a secret");
    Ok(json!({
        "version": 1,
        "endpoints": {
            "entra": addresses.entra, "powerbi": addresses.powerbi, "fabric": addresses.fabric,
            "keyvault": vault.address(), "blob": blob, "queue": queue,
        },
        // As short as they may be, for a killed handler's lease must be waited out.
        "state": { "url": format!("az://{account}/state"), "lease": "30s", "skew": "1s" },
        "identities": {
            "dbx-admin": { "auth": "oauth-m2m", "client_id": cast.admin.client_id, "client_secret": secret("ADMIN")? },
            "powerbi": {
                "auth": "azure-client-secret",
                "tenant_id": cast.tenant,
                "client_id": cast.powerbi.client_id,
                "client_secret": secret("POWERBI")?,
            },
        },
        "credentials": { "sales-bi": {
            "workspace": addresses.databricks[0],
            "also_workspaces": addresses.databricks[1..],
            "identity": "dbx-admin",
            "service_principal": cast.principal.display_name,
            "grace": "45s",
            "store": format!("akv:{VAULT}/sales-bi"),
            "warehouses": cast.warehouses[0],
            "verify": { "warehouse": cast.warehouses[0][0] },
            "targets": { "identity": "powerbi", "select": [{ "all": true }], "take_over": true },
        } },
    }))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// The vault that the store is in.
pub const VAULT: &str = "kv-sales";
/// As `worker/function.json` says.
const QUEUE: &str = "lakekey-work";
/// Where the host puts what has failed too often.
const POISON: &str = "lakekey-work-poison";
const DELIVERIES_MAX: usize = 500;
