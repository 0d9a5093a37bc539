//! `cargo demo`: the whole story of two rotations against an embedded simulated cloud, over real HTTP on loopback. lakekey is
//! the real one, called with the arguments that a person would type; what it claims is checked against the cloud's own truth,
//! and the first claim that does not hold ends the demo with a failure.

mod proof;
mod scene;
mod story;
#[cfg(test)]
mod tests;
mod watch;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use lakekey_core::clock::Clock;

use scene::Scene;
use story::{Story, Teller};

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Data sources that hold the credential
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    pub(crate) targets: u16,
    /// How long the simulated services take to answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 40, value_parser = clap::value_parser!(u64).range(..=10_000))]
    pub(crate) latency: u64,
    /// Faults that the simulated services inject: none, mild, hostile, or rules such as `service=powerbi,p=0.1,do=status:503`
    #[arg(long, value_name = "SPEC")]
    pub(crate) faults: Option<String>,
    /// How the result is written to stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Keep the folder with config, journal and store
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

pub(crate) fn demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bars = std::io::stderr().is_terminal();
    runtime.block_on(async {
        let mut stdout = std::io::stdout();
        let told = match args.output {
            Output::Text => tell(&args, &mut stdout, bars).await.map(drop),
            Output::Json => match tell(&args, &mut std::io::stderr(), bars).await {
                Ok(facts) => writeln!(stdout, "{}", serde_json::to_string_pretty(&facts)?).context("stdout is closed"),
                Err(error) => Err(error),
            },
        };
        told.map(|()| ExitCode::SUCCESS)
    })
}

/// Tells the story to `out`, and gives its facts when every claim has held. Ctrl-C ends it early, its folder removed.
async fn tell(args: &DemoArgs, out: &mut dyn Write, bars: bool) -> anyhow::Result<story::Facts> {
    let clock = Clock::wall();
    let scene = Scene::open(args, clock.clone(), bars).await?;
    let mut story = Story::new(&scene, Teller::new(out));
    let told = tokio::select! {
        told = story.tell() => told,
        () = clock.sleep(TIME_MAX) => Err(anyhow::anyhow!("it did not come to its end within {} minutes", TIME_MAX.as_secs() / 60)),
        stopped = tokio::signal::ctrl_c() => {
            stopped?;
            Err(anyhow::anyhow!("stopped"))
        }
    };
    if args.keep {
        story.say(&format!("\nkept: {}", scene.keep().display()))?;
    }
    told
}

/// Faults make lakekey wait and try again; even the worst come to an end.
const TIME_MAX: Duration = Duration::from_secs(20 * 60);
