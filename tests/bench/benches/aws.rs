//! `cargo bench --bench aws`: the function of AWS beside an empty one that is built the same way and beside one in Python, from the
//! start of the process until it asks for its first event, which is what Lambda calls its init; its memory after rotations of 1,000
//! data sources; the size of the package. `cargo bench --bench aws -- PART…` prints some of them: `init`, `memory`, `package`.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use lakekey_bench::built;
use lakekey_core::clock::Clock;
use lakekey_parts::{Lambda, Moto, python_with_boto3};
use lakekey_sim::{Fleet, Settings, serve, sim_line};
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let asked = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if asked("init") {
        runtime.block_on(inits())?;
    }
    if asked("memory") {
        runtime.block_on(memory())?;
    }
    if asked("package") {
        package()?;
    }
    Ok(())
}

/// One after another in turn, so that whatever else the machine does hits all of them alike.
async fn inits() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let functions =
        [built("lakekey-bench", "hello-function")?, built("lakekey-aws", "bootstrap")?, python_function(folder.path())?];
    let variables = [("LAKEKEY_CONFIG".to_owned(), CONFIG.to_owned())];
    let mut taken = [const { Vec::new() }; 3];
    for _ in 0..INITS {
        for (function, taken) in functions.iter().zip(&mut taken) {
            let lambda = Lambda::start(function, folder.path(), &variables).await?;
            taken.push(lambda.init_ms().await);
            lambda.kill().await?;
        }
    }
    let [empty, lakekey, python] = taken.map(median);
    let mut out = std::io::stdout().lock();
    writeln!(out, "init, from the start of the process until it asks for its first event, the median of {INITS}")?;
    writeln!(out, "  an empty function in Rust           {empty:>8.1} ms")?;
    writeln!(out, "  lakekey                             {lakekey:>8.1} ms: x{:.2} (at most x1.5)", lakekey / empty)?;
    writeln!(out, "  Python that imports boto3, requests {python:>8.1} ms: x{:.2}\n", python / empty)?;
    Ok(())
}

fn median(mut taken: Vec<f64>) -> f64 {
    taken.sort_by(f64::total_cmp);
    taken[taken.len() / 2]
}

/// A program of its own.
fn python_function(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("hello");
    std::fs::write(&path, format!("#!{}\n{}", python_with_boto3()?.display(), include_str!("../src/hello.py")))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

async fn memory() -> anyhow::Result<()> {
    let settings = Settings { secret_settles: Duration::ZERO, warehouse_start: Duration::ZERO, ..Settings::default() };
    let served = serve(&Fleet { decoys: false, gateways: false, ..Fleet::new(TARGETS, 1) }, settings).await?;
    let folder = tempfile::tempdir()?;
    let line = sim_line(&served, folder.path())?;
    let (moto, store) = (Moto::shared(), "lakekey/sales-bi");
    let (bucket, queue) = (moto.bucket().await?, moto.queue().await?);
    let path = folder.path().join("lakekey.yaml");
    let mut config: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?;
    // A message may come twice, so that after each rotation in slices no other is written until its lease would have ended.
    config["state"] = json!({ "url": format!("s3://{bucket}/lakekey"), "lease": "30s" });
    config["credentials"]["sales-bi"]["store"] = json!(format!("awssm:{store}"));
    std::fs::write(&path, config.to_string())?;
    let mut variables = moto.environment();
    for (name, value) in line["env"].as_object().context("the environment of the config")? {
        variables.push((name.clone(), value.as_str().unwrap_or_default().to_owned()));
    }
    variables.extend([("LAKEKEY_CONFIG".to_owned(), "lakekey.yaml".to_owned()), ("LAKEKEY_QUEUE_URL".to_owned(), queue.clone())]);
    let mut lambda = Lambda::start(&built("lakekey-aws", "bootstrap")?, folder.path(), &variables).await?;

    lambda.invoke(&json!({ "lakekey": "schedule" })).await.map_err(refused)?;
    work_off(&mut lambda, moto, &queue).await?;
    let scheduled = lambda.peak_mib()?;
    let arn = moto.begin_rotation(store, TOKEN).await?;
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        let event = json!({ "Step": step, "SecretId": arn, "ClientRequestToken": TOKEN });
        let mut asked = 1;
        while let Err(error) = lambda.invoke(&event).await {
            asked += 1;
            ensure!(error.0.starts_with("Lakekey.Retryable.") && asked < ASKED_MAX, "{step}: {error:?}");
            work_off(&mut lambda, moto, &queue).await?;
            Clock::wall().sleep(AGAIN).await;
        }
    }
    let led = lambda.peak_mib()?;
    let current = moto.secrets_manager("GetSecretValue", json!({ "SecretId": arn, "VersionStage": "AWSCURRENT" })).await?.1;
    let current: Value = serde_json::from_str(current["SecretString"].as_str().context("a current value")?)?;
    let holds = |secret_id: &Option<String>| secret_id.as_deref() == current["oauthSecretId"].as_str();
    let moved = served.cloud.sources().iter().filter(|source| source.target && holds(&source.secret_id)).count();
    ensure!(moved == TARGETS && current["generation"] == 2, "{moved} of {TARGETS} have moved twice");

    let mut out = std::io::stdout().lock();
    writeln!(out, "the most memory that a process had resident (at most 64 MiB), {TARGETS} data sources")?;
    writeln!(out, "  when the schedule had rotated them    {scheduled:>6.1} MiB")?;
    writeln!(out, "  when Secrets Manager had, step by step {led:>5.1} MiB\n")?;
    Ok(())
}

/// Every message of the queue, as the event source mapping delivers them: what has failed stays.
async fn work_off(lambda: &mut Lambda, moto: &Moto, queue: &str) -> anyhow::Result<()> {
    for _ in 0..BATCHES_MAX {
        let messages = moto.messages(queue).await?;
        if messages.is_empty() {
            return Ok(());
        }
        let record = |(at, (body, _)): (usize, &(String, String))| json!({ "eventSource": "aws:sqs", "messageId": at.to_string(), "body": body });
        let records: Vec<Value> = messages.iter().enumerate().map(record).collect();
        let answer = lambda.invoke(&json!({ "Records": records })).await.map_err(refused)?;
        ensure!(answer["batchItemFailures"] == json!([]), "{answer}");
        for (_, receipt) in &messages {
            moto.delete_message(queue, receipt).await?;
        }
    }
    anyhow::bail!("{BATCHES_MAX} batches, and the queue is not empty")
}

fn refused((kind, message): (String, String)) -> anyhow::Error {
    anyhow::anyhow!("{kind}: {message}")
}

fn package() -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/dist/lakekey-aws.zip");
    let mut out = std::io::stdout().lock();
    match std::fs::metadata(&path) {
        Ok(file) => writeln!(out, "the package: {:.2} MiB (at most 10)", file.len() as f64 / (1024.0 * 1024.0))?,
        Err(_) => writeln!(out, "the package: not there; `cargo dist` makes it and prints its size")?,
    }
    Ok(())
}

const INITS: usize = 31;
const TARGETS: usize = 1_000;
const BATCHES_MAX: usize = 500;
/// As Secrets Manager asks again, only sooner.
const AGAIN: Duration = Duration::from_secs(5);
const ASKED_MAX: u32 = 60;
const TOKEN: &str = "8f14e45f-ceea-467f-a834-1d9b0a2c3d4e";
const CONFIG: &str = r#"{"version":1,"state":"s3://nowhere/state","identities":{"a":{"auth":"pat","token":"env:TOKEN"}},
"credentials":{"c":{"workspace":"https://adb-1.1.azuredatabricks.net","identity":"a","service_principal":"p","store":"awssm:nowhere"}}}"#;
