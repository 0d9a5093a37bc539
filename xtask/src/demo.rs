//! `cargo demo`: two rotations against an embedded simulated cloud over real HTTP on loopback.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Targets that hold the credential
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub(crate) targets: usize,
    /// How long the simulated services take to answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 40)]
    pub(crate) latency: u64,
    /// Faults that the simulated services inject
    #[arg(long, value_name = "SPEC")]
    pub(crate) faults: Option<String>,
    /// How the result is written to stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

pub(crate) fn demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let DemoArgs { targets, latency, faults, output } = args;
    anyhow::bail!("the demo is not built yet ({targets} targets, {latency} ms, faults {faults:?}, {output:?})")
}
