//! lakekey in a process of its own, whose memory is nobody else's: the benchmark starts itself anew with `lakekey` as its
//! first argument.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::Context;
use lakekey_cli::{CliSurroundings, run};
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::random::Random;
use serde_json::Value;

/// What a process of lakekey came to.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its answer.
    pub answer: Value,
    /// The most memory that it had resident, in MiB.
    pub peak_mib: f64,
}

/// A process of lakekey that has begun.
pub struct Started(Child);

/// Does what a process of lakekey does, if this is to be one.
pub fn be_lakekey_if_asked() -> anyhow::Result<Option<ExitCode>> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.first().is_none_or(|word| word != "lakekey") {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let surroundings = CliSurroundings {
        environment: Environment::of_process(),
        current_dir: std::env::current_dir()?,
        clock: Clock::wall(),
        random: Random::system(),
        transport: None,
        stdin: None,
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::sink()),
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        width: None,
        stop: Box::pin(std::future::pending()),
    };
    let status = runtime.block_on(run(arguments, surroundings));
    writeln!(std::io::stderr(), "{}", peak_kib()?)?;
    Ok(Some(status.into()))
}

/// Starts `lakekey` with these words in `folder`.
pub(crate) fn start(words: &[&str], folder: &Path, environment: &[(String, String)]) -> anyhow::Result<Started> {
    let child = Command::new(std::env::current_exe()?)
        .arg("lakekey")
        .args(words)
        .current_dir(folder)
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("lakekey can't be started")?;
    Ok(Started(child))
}

impl Started {
    /// Waits for its answer.
    pub fn finish(self) -> anyhow::Result<Process> {
        let done = self.0.wait_with_output()?;
        let stdout = String::from_utf8_lossy(&done.stdout);
        anyhow::ensure!(done.status.success(), "lakekey ended with {}: {stdout}", done.status);
        let peak_kib: f64 = String::from_utf8_lossy(&done.stderr).trim().parse().context("it did not tell its memory")?;
        Ok(Process { answer: serde_json::from_str(&stdout).context("the answer is not JSON")?, peak_mib: peak_kib / 1_024.0 })
    }

    /// SIGKILL.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

/// The most memory that this process has had resident, as Linux counts it.
fn peak_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("memory is measured on Linux only")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel does not tell peaks")?;
    line.trim().trim_end_matches(" kB").parse().context("the peak is not a number")
}
