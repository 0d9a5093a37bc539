//! Wires a [`Config`] and its surroundings together and runs commands.

use std::sync::Arc;

use crate::clock::Clock;
use crate::command::{Command, Outcome, Progress};
use crate::config::Config;
use crate::config::env_vars::Environment;
use crate::error::Error;
use crate::http::transport::Transport;
use crate::ids::RunnerId;
use crate::random::Random;

/// What a run takes from outside: no part of the program asks the machine for any of these itself.
#[derive(Clone)]
pub struct Surroundings {
    /// Carries every request.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The environment, for references and proxies.
    pub environment: Environment,
    /// Who this process is in leases and journal entries.
    pub runner: RunnerId,
}

/// The program without its triggers.
pub struct App;

impl App {
    /// Prepares everything that needs no request.
    pub fn new(config: Config, surroundings: Surroundings) -> Result<Self, Error> {
        let _ = (config, surroundings);
        Ok(Self)
    }

    /// Runs one command. May be dropped at any point: the journal is the memory.
    pub async fn run(&self, command: Command, progress: &Progress) -> Result<Outcome, Error> {
        let _ = (command, progress);
        Err(Error::failed("not-built", "this part of lakekey is not built yet"))
    }
}
