//! How long a rotation takes, beside how long it would have to take: the same story over real sockets, for people, and in
//! virtual time, where the ratio of the two is the same on every machine and a test can hold it.

mod customer;
mod deployed;
mod floor;
mod limits;
mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lakekey_sim::Seen;

pub use customer::Customer;
pub use deployed::{Deployed, VAULT, built, unpack};
pub use floor::{Floor, Phase};
pub use limits::{Limited, Limits};
pub use process::{Process, Started, be_lakekey_if_asked};

/// Where each measure should be at most: the time taken, in times of its floor.
pub const RATIO_MAX: f64 = 1.3;
/// Requests that the config allows at once; the default.
pub const CONCURRENCY: usize = 16;

/// What one rotation took.
#[derive(Clone, Debug)]
pub struct Measured {
    pub targets: usize,
    pub seconds: f64,
    pub floor: Floor,
    pub limits: Limits,
    /// Tokens fetched, by client and audience.
    pub tokens: BTreeMap<String, u64>,
}

impl Measured {
    /// The second rotation: the first has taken over what it must, and every rotation from then on is like the second.
    pub async fn second_rotation(customer: &Customer, latency: Duration) -> anyhow::Result<Self> {
        customer.rotate().await?;
        customer.pass(Duration::from_secs(7 * 24 * 60 * 60 + 60));
        let (seen, issued, start) = (customer.cloud.requests().len(), customer.cloud.truth().tokens, customer.clock.now());
        let answer = customer.rotate().await?;
        let seconds = customer.clock.now().duration_since(start).as_secs_f64();
        anyhow::ensure!(answer["outcome"] == "rotated", "it was not rotated: {answer}");
        let targets = answer["targets"].as_array().map_or(0, Vec::len);
        let log = customer.cloud.requests().split_off(seen);
        let mut tokens = at_databricks(&log);
        for (client, count) in customer.cloud.truth().tokens {
            let fetched = count - issued.get(&client).copied().unwrap_or_default();
            if fetched > 0 {
                tokens.insert(client, fetched);
            }
        }
        Ok(Self { targets, seconds, floor: Floor::of(&log, latency), limits: Limits::of(&log, latency), tokens })
    }

    /// The time taken, in times of the least possible.
    pub fn ratio(&self) -> f64 {
        self.seconds / self.floor.seconds()
    }
}

fn at_databricks(log: &[Seen]) -> BTreeMap<String, u64> {
    let mut tokens = BTreeMap::new();
    for seen in log.iter().filter(|seen| seen.path == "/oidc/v1/token") {
        *tokens.entry(format!("{} {}", seen.caller.as_deref().unwrap_or("?"), seen.service)).or_default() += 1;
    }
    tokens
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<34} {:>8} {:>8} {:>8} {:>6}", "", "requests", "seconds", "floor", "ratio")?;
        let mut line = |name: &str, requests: usize, seconds: f64, floor: f64| {
            writeln!(f, "  {name:<34} {requests:>8} {seconds:>8.2} {floor:>8.2} {:>6.2}", seconds / floor)
        };
        for phase in &self.floor.phases {
            line(phase.name, phase.requests, phase.seconds, phase.floor_seconds)?;
        }
        line("the whole rotation", self.floor.requests(), self.seconds, self.floor.seconds())?;
        let apply = self.floor.phases.iter().find(|phase| phase.name == floor::APPLY).map_or(0, |phase| phase.requests);
        let per_target = |requests: usize| requests as f64 / self.targets.max(1) as f64;
        writeln!(
            f,
            "  requests per data source: {:.2} to move it, {:.2} in all",
            per_target(apply),
            per_target(self.floor.requests())
        )?;
        writeln!(f, "  tokens fetched, by client and audience:")?;
        for (client, count) in &self.tokens {
            writeln!(f, "    {count} {client}")?;
        }
        Ok(())
    }
}
