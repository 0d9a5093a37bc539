//! Python environments for parts that are written in Python or come from its registry: each holds exactly what its list pins, and
//! is made below `target/parts` when it is first needed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// The programs of the environment of `tests/parts/NAME.txt`. Whoever comes while it is being made waits, in other processes too.
pub(crate) fn programs(name: &str) -> anyhow::Result<PathBuf> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{name}.txt"));
    let wanted = fs::read(&list).with_context(|| format!("{} can't be read", list.display()))?;
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/parts");
    fs::create_dir_all(&parts)?;
    let parts = parts.canonicalize()?;
    let lock = File::create(parts.join(format!("{name}.lock")))?;
    lock.lock()?;
    let environment = parts.join(name);
    let (installed, programs) = (environment.join("installed.txt"), environment.join("bin"));
    if !fs::read(&installed).is_ok_and(|present| present == wanted) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        // The list is whole: what a package would like to have besides is left away.
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
        run(Command::new(programs.join("python")).args(pip).arg(&list))?;
        fs::write(installed, wanted)?;
    }
    Ok(programs)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = format!("{command:?}").replace('"', "");
    let done = command.output().with_context(|| format!("`{line}` can't be started"))?;
    ensure!(done.status.success(), "`{line}` ended with {}: {}", done.status, String::from_utf8_lossy(&done.stderr));
    Ok(())
}
