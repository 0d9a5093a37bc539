//! `cargo verify`: every check that a change must pass, one after another, in the words of plain cargo commands, so that a
//! step that fails can be run again by hand.

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use clap::Args;
use lakekey_core::clock::Clock;

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Skip the check of licences, bans and advisories
    #[arg(long)]
    quick: bool,
}

/// One cargo command.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    /// One variable for it.
    variable: Option<(&'static str, &'static str)>,
}

impl Step {
    const fn new(name: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { name, arguments, variable: None }
    }

    /// As a person would type it.
    fn line(&self) -> String {
        let variable = self.variable.map(|(name, value)| format!("{name}='{value}' ")).unwrap_or_default();
        format!("{variable}cargo {}", self.arguments.join(" "))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("cargo");
        command.args(self.arguments);
        if let Some((name, value)) = self.variable {
            command.env(name, value);
        }
        command
    }
}

pub(crate) fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    for step in CODE {
        if !passes(step)? {
            return Ok(ExitCode::FAILURE);
        }
    }
    if args.quick {
        say("ok, dependencies not checked (--quick)")?;
        return Ok(ExitCode::SUCCESS);
    }
    if !succeeds(&DENY_INSTALLED)? && !passes(&DENY_INSTALL)? || !passes(&DENY)? {
        return Ok(ExitCode::FAILURE);
    }
    if !succeeds(&DENY_FETCH)? {
        say("ok, but ADVISORIES WERE NOT CHECKED: their database can't be fetched (is github.com out of reach?)")?;
        return Ok(ExitCode::SUCCESS);
    }
    if !passes(&DENY_ADVISORIES)? {
        return Ok(ExitCode::FAILURE);
    }
    say("ok")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a step for everybody to see.
fn passes(step: &Step) -> anyhow::Result<bool> {
    say(&format!("{}: {}", step.name, step.line()))?;
    let clock = Clock::wall();
    let start = clock.now();
    let status = step.command().status().with_context(|| format!("`{}` can't be started", step.line()))?;
    let seconds = clock.now().duration_since(start).as_secs_f64();
    if status.success() {
        say(&format!("{}: ok, {seconds:.1} s", step.name))?;
    } else {
        say(&format!("{}: FAILED after {seconds:.1} s; run it again with:\n    {}", step.name, step.line()))?;
    }
    Ok(status.success())
}

/// Runs a step whose failure is an answer and no news.
fn succeeds(step: &Step) -> anyhow::Result<bool> {
    let mut command = step.command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().with_context(|| format!("`{}` can't be started", step.line()))?.success())
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr().lock(), "verify: {text}").context("stderr is closed")
}

const CODE: &[Step] = &[
    Step::new("format", &["fmt", "--all", "--", "--check"]),
    Step::new("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    Step::new("build", &["build", "--workspace", "--locked"]),
    Step::new("parts of the tests", &["xtask", "parts"]),
    Step::new("tests", &["test", "--workspace", "--exclude", "lakekey-simulate", "--locked"]),
    Step::new("simulation", &["test", "--profile", "sim", "--package", "lakekey-simulate", "--locked"]),
    Step::new("contract", &["xtask", "contract"]),
    Step {
        name: "docs",
        arguments: &["doc", "--workspace", "--no-deps", "--locked"],
        variable: Some(("RUSTDOCFLAGS", "-D warnings")),
    },
];

const DENY_INSTALLED: Step = Step::new("cargo-deny", &["deny", "--version"]);
const DENY_INSTALL: Step = Step::new("install cargo-deny", &["install", "--locked", "cargo-deny", "--version", "0.20.2"]);
const DENY: Step = Step::new("dependencies", &["deny", "check", "bans", "licenses", "sources"]);
const DENY_FETCH: Step = Step::new("fetch advisories", &["deny", "fetch", "db"]);
const DENY_ADVISORIES: Step = Step::new("advisories", &["deny", "check", "advisories"]);
