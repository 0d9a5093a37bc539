//! `cargo bench --bench azure`: the handler of Azure Functions beside an empty one that is built the same way, from the start of the
//! process to its first answer; its memory after a rotation of 1,000 data sources; the size of the package, and a rotation by it.
//! `cargo bench --bench azure -- PART…` prints some of them: `start`, `memory`, `package`.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use lakekey_bench::{Deployed, built};
use lakekey_core::clock::Clock;
use lakekey_host::{Host, Payload, Tick};
use lakekey_sim::Fleet;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let asked = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    if asked("start") {
        starts()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if asked("memory") {
        runtime.block_on(memory())?;
    }
    if asked("package") {
        runtime.block_on(package())?;
    }
    Ok(())
}

/// In turn, so that whatever else the machine does hits both alike.
fn starts() -> anyhow::Result<()> {
    let handlers = [built("lakekey-bench", "empty-handler")?, built("lakekey-azure", "lakekey-azure")?];
    let mut taken = [const { Vec::new() }; 2];
    for _ in 0..STARTS {
        for (handler, taken) in handlers.iter().zip(&mut taken) {
            taken.push(one_start_ms(handler)?);
        }
    }
    let [empty, lakekey] = taken.map(median);
    let mut out = std::io::stdout().lock();
    writeln!(out, "from the start of the process to its first answer, the median of {STARTS}")?;
    writeln!(out, "  an empty handler {empty:>8.1} ms")?;
    writeln!(out, "  lakekey-azure    {lakekey:>8.1} ms: x{:.2} (at most x1.5)\n", lakekey / empty)?;
    Ok(())
}

fn median(mut taken: Vec<f64>) -> f64 {
    taken.sort_by(f64::total_cmp);
    taken[taken.len() / 2]
}

/// Asks again at once, for the host's 25 ms would hide what is measured.
fn one_start_ms(binary: &Path) -> anyhow::Result<f64> {
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let clock = Clock::wall();
    let begun = clock.now();
    let mut child = Command::new(binary)
        .env_clear()
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("AzureWebJobsStorage__accountName", "nowhere")
        .env("LAKEKEY_CONFIG", CONFIG)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let answered = (0..TRIES).any(|_| {
        let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
            std::io::Read::read(&mut stream, &mut [0; 16])
        });
        let answered = matches!(asked, Ok(1..));
        if !answered {
            std::thread::sleep(Duration::from_micros(200));
        }
        answered
    });
    let taken = clock.now().duration_since(begun).as_secs_f64() * 1_000.0;
    child.kill()?;
    child.wait()?;
    ensure!(answered, "{} has not answered", binary.display());
    Ok(taken)
}

async fn memory() -> anyhow::Result<()> {
    let fleet = Fleet { decoys: false, gateways: false, ..Fleet::new(TARGETS, 1) };
    let deployed = Deployed::new(&built("lakekey-azure", "lakekey-azure")?, &fleet, Duration::ZERO).await?;
    let host = rotated(&deployed).await?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid().context("the handler runs")?))?;
    let mib = |name: &str| -> anyhow::Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("Linux tells")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1_024.0)
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "after a rotation of {TARGETS} data sources")?;
    writeln!(out, "  resident {:>6.1} MiB (at most 64), {:.1} MiB at its peak\n", mib("VmRSS:")?, mib("VmHWM:")?)?;
    Ok(())
}

/// A host that runs, and has had the handler rotate.
async fn rotated(deployed: &Deployed) -> anyhow::Result<Host> {
    let host = deployed.start().await?;
    for _ in 0..TICKS {
        let invocation = host.invoke("schedule", &Payload::Timer(Tick::default())).await;
        ensure!(invocation.succeeded(), "{invocation:?}");
        deployed.work_off(&host).await?;
    }
    ensure!(!deployed.vault.versions("sales-bi").is_empty(), "nothing was rotated");
    Ok(host)
}

async fn package() -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/dist/lakekey-azure.zip");
    let Ok(package) = File::open(&path) else {
        writeln!(std::io::stdout(), "the package: not there; `cargo dist` makes it and prints its size")?;
        return Ok(());
    };
    let mib = package.metadata()?.len() as f64 / (1024.0 * 1024.0);
    let fleet = Fleet { decoys: false, gateways: false, ..Fleet::new(FEW, 1) };
    let deployed = Deployed::of_package(package, &fleet, Duration::ZERO).await?;
    rotated(&deployed).await?;
    writeln!(std::io::stdout(), "the package: {mib:.2} MiB (at most 12); unpacked, it has rotated {FEW} data sources")?;
    Ok(())
}

const STARTS: usize = 101;
const TRIES: usize = 50_000;
const TARGETS: usize = 1_000;
const FEW: usize = 20;
const TICKS: usize = 2;
const CONFIG: &str = r#"{"version":1,"state":"az://nowhere/state","identities":{"a":{"auth":"pat","token":"env:TOKEN"}},
"credentials":{"c":{"workspace":"https://adb-1.1.azuredatabricks.net","identity":"a","service_principal":"p","store":"akv:nowhere/c"}}}"#;
