//! What people and CI both call, so that neither has steps of its own: `cargo verify`, `cargo demo`, `cargo dist`.

mod contract;
mod demo;
mod dist;
mod parts;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the lakekey repository
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Tasks {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every check that a change must pass
    Verify(verify::VerifyArgs),
    /// Install what the tests run beside them: moto, cargo-lambda, Azurite
    Parts,
    /// Rotate twice against a simulated cloud on this machine
    Demo(demo::DemoArgs),
    /// Check the HTTP API against its OpenAPI document
    Contract,
    /// Make the packages that the platforms take, in target/dist
    Dist(dist::DistArgs),
}

fn main() -> ExitCode {
    // `cargo demo -- --targets 5` arrives as `demo -- --targets 5`.
    let arguments = std::env::args_os().enumerate().filter(|(at, argument)| *at != 2 || argument != "--");
    let result = match Tasks::parse_from(arguments.map(|(_, argument)| argument)).task {
        Task::Verify(args) => verify::verify(&args),
        Task::Parts => parts::parts(),
        Task::Demo(args) => demo::demo(args),
        Task::Contract => contract::contract(),
        Task::Dist(args) => dist::dist(&args),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}
