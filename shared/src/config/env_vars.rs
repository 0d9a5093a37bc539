//! Environment variables: each one that lakekey reads, and the one place that reads them.

use std::collections::BTreeMap;

/// A snapshot of the environment, taken once in `main` or made by a test.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's own; nothing else reads the environment.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect(),
        )
    }

    /// Every variable, for programs that lakekey starts and SDKs that take theirs from a whole environment.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of `name`, unless absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The config: a path, or the document itself if it has several lines or starts with `{`. `--config` goes before it.
pub const CONFIG: &str = "LAKEKEY_CONFIG";

/// Hosts beyond the built-in ones that credentials may be sent to: `host`, `host:port`, `*.suffix`, separated by commas
/// or spaces. The config cannot set it.
pub const ALLOWED_HOSTS: &str = "LAKEKEY_ALLOWED_HOSTS";

/// The work queue of the functions: the address of a Storage queue, or of one of SQS.
pub const QUEUE_URL: &str = "LAKEKEY_QUEUE_URL";
