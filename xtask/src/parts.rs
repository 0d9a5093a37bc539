//! `cargo xtask parts`: installs what the tests run as processes of their own, at fixed versions, below `target/parts`.
//! Nothing there is committed, and what is there already is left as it is.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};

pub(crate) fn parts() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace is the parent of `xtask`")?;
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None => root.join("target"),
    };
    moto(&root.join("tests/parts/moto.txt"), &target.join("parts/moto"))?;
    Ok(ExitCode::SUCCESS)
}

/// A Python environment with moto, which plays AWS.
fn moto(requirements: &Path, environment: &Path) -> anyhow::Result<()> {
    let wanted = std::fs::read(requirements)?;
    let installed = environment.join("installed.txt");
    if std::fs::read(&installed).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))?;
    let pip = environment.join("bin/python");
    run(Command::new(pip)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(requirements))?;
    std::fs::write(installed, wanted)?;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = format!("{command:?}").replace('"', "");
    writeln!(std::io::stderr().lock(), "parts: {line}").context("stderr is closed")?;
    let status = command.status().with_context(|| format!("`{line}` can't be started"))?;
    ensure!(status.success(), "`{line}` ended with {status}");
    Ok(())
}
