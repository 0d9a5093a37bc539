//! `cargo simulate -- --seeds N [--seed S] [--minutes M]`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use lakekey_simulate::counts::Counts;
use lakekey_simulate::course;
use lakekey_simulate::plan::Plan;
use lakekey_simulate::shrink::shrink;
use lakekey_simulate::swarm::{Asked, Came, swarm};
use serde_json::{Value, json};

/// Simulates lakekey against a simulated cloud and checks its guarantees after every effect
#[derive(Parser, Debug)]
#[command(name = "cargo simulate")]
struct Args {
    /// How many seeds; 1,000 unless --seed names one
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; alone, the only one
    #[arg(long)]
    seed: Option<u64>,
    /// Stop after so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Threads; one for each core by default
    #[arg(long)]
    threads: Option<usize>,
    /// Print the plan and the trace of the one seed
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Go on after a seed that fails, and list all that did
    #[arg(long)]
    keep_going: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let first = args.seed.unwrap_or_default();
    if args.trace {
        return trace(first);
    }
    let asked = Asked {
        first,
        seeds: args.seeds.unwrap_or(if args.seed.is_some() { 1 } else { SEEDS_DEFAULT }),
        time: args.minutes.map(|minutes| Duration::from_secs(minutes * 60)),
        threads: args.threads.unwrap_or(cores),
        keep_going: args.keep_going,
    };
    let came = swarm(&asked, &|counts, took| progress(counts, took));
    let summary = if args.json { format!("{}\n", json(&came)) } else { text(&came) };
    std::io::stdout().write_all(summary.as_bytes()).context("stdout is closed")?;
    if let Some(error) = &came.error {
        say(error);
        return Ok(ExitCode::FAILURE);
    }
    let Some((seed, violation)) = came.failed.first() else { return Ok(ExitCode::SUCCESS) };
    say(&format!("seed {seed} FAILED: {violation}\nlooking for the shortest plan that fails so …"));
    let (plan, runs) = shrink(&Plan::of(*seed), violation.guarantee, None);
    let went = course::run(&plan, None, true)?;
    let mut report = went.trace.join("\n");
    report.push_str(&format!("\n\n{}\n", plan.describe()));
    let still = went.violation.map(|violation| violation.to_string()).unwrap_or_default();
    report.push_str(&format!(
        "after {runs} smaller plans: {still}\nthe whole seed again: cargo simulate -- --seed {seed} --trace\n"
    ));
    std::io::stderr().write_all(report.as_bytes()).context("stderr is closed")?;
    Ok(ExitCode::FAILURE)
}

const SEEDS_DEFAULT: u64 = 1_000;

fn trace(seed: u64) -> anyhow::Result<ExitCode> {
    let plan = Plan::of(seed);
    let went = course::run(&plan, None, true)?;
    let mut report = went.trace.join("\n");
    report.push_str(&format!("\n\n{}", plan.describe()));
    let failed = went.violation.is_some();
    report.push_str(&went.violation.map_or_else(|| "every guarantee held".to_owned(), |violation| violation.to_string()));
    report.push('\n');
    std::io::stdout().write_all(report.as_bytes()).context("stdout is closed")?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn progress(counts: &Counts, took: Duration) {
    say(&format!(
        "{} seeds, {} rotations, {} crashes in {} s: {:.0} rotations/s",
        counts.seeds,
        counts.rotations,
        counts.crashes,
        took.as_secs(),
        rate(counts.rotations, took)
    ));
}

/// Progress is for people to see; when nobody can, the work goes on.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "simulate: {text}");
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(0.001)
}

fn text(came: &Came) -> String {
    use std::fmt::Write;
    let counts = &came.counts;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<22}{value}");
    };
    line("seeds", counts.seeds.to_string());
    line("rotations", format!("{} ({:.0} a second)", counts.rotations, rate(counts.rotations, came.took)));
    line("runs", counts.runs.to_string());
    line("effects", counts.effects.to_string());
    line("crashes", counts.crashes.to_string());
    line("freezes", counts.freezes.to_string());
    line("deeds of people", counts.acts.to_string());
    line("secrets made", counts.minted.to_string());
    line("secrets deleted", counts.deleted.to_string());
    line("lines logged", counts.log_lines.to_string());
    line("virtual days", (counts.virtual_s / 86_400).to_string());
    line("took", format!("{:.1} s", came.took.as_secs_f64()));
    line("invariants checked", counts.checks.values().sum::<u64>().to_string());
    for (guarantee, count) in &counts.checks {
        line(&format!("  {guarantee}"), count.to_string());
    }
    line("faults", counts.faults.values().sum::<u64>().to_string());
    for (kind, count) in &counts.faults {
        line(&format!("  {kind}"), count.to_string());
    }
    for (seed, violation) in &came.failed {
        line("FAILED", format!("seed {seed}: {violation}"));
    }
    line("result", if came.failed.is_empty() { "clean".to_owned() } else { format!("{} seeds failed", came.failed.len()) });
    text
}

fn json(came: &Came) -> Value {
    let counts = &came.counts;
    json!({
        "seeds": counts.seeds,
        "rotations": counts.rotations,
        "rotations_per_second": rate(counts.rotations, came.took),
        "runs": counts.runs,
        "effects": counts.effects,
        "crashes": counts.crashes,
        "freezes": counts.freezes,
        "acts": counts.acts,
        "minted": counts.minted,
        "deleted": counts.deleted,
        "log_lines": counts.log_lines,
        "virtual_seconds": counts.virtual_s,
        "seconds": came.took.as_secs_f64(),
        "checks": counts.checks,
        "faults": counts.faults,
        "failed": came.failed.iter().map(|(seed, violation)| json!({
            "seed": seed, "guarantee": violation.guarantee, "at": violation.at, "what": violation.what,
        })).collect::<Vec<_>>(),
    })
}
