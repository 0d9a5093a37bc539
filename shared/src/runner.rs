//! Who this process is in leases and journal entries.

use crate::config::env_vars::Environment;
use crate::ids::RunnerId;
use crate::random::Random;

/// `HOST:PID:RANDOM`: the first two are for people, the last tells apart what a process id reused after a crash does not.
pub fn id(environment: &Environment, random: &Random) -> RunnerId {
    let mut part: String = random.nonce();
    part.truncate(RANDOM_DIGITS);
    RunnerId::new(format!("{}:{}:{part}", host(environment), std::process::id()))
}

fn host(environment: &Environment) -> String {
    let name = match environment.get("HOSTNAME") {
        Some(name) => name.to_owned(),
        None => std::fs::read_to_string("/etc/hostname").unwrap_or_default(),
    };
    let plain: String = name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).take(HOST_MAX).collect();
    if plain.is_empty() { "local".to_owned() } else { plain }
}

/// The longest label of a host name.
const HOST_MAX: usize = 63;
const RANDOM_DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_host_process_and_chance() {
        let environment: Environment = [("HOSTNAME".to_owned(), "build\u{1b}-1.local:x".to_owned())].into_iter().collect();
        let id = id(&environment, &Random::seeded(1));
        let parts: Vec<&str> = id.as_str().split(':').collect();
        assert_eq!(parts[0], "build-1.localx");
        assert_eq!(parts[1], std::process::id().to_string());
        assert_eq!(parts[2].len(), 8);
    }
}
