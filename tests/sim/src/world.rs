//! Everything the cloud knows, behind one lock. Services are functions on it; none of them waits, so that each request
//! takes effect at one instant.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::clock;
use crate::databricks::Account;
use crate::entra::Entra;
use crate::faults::Faults;
use crate::history::Happening;
use crate::powerbi::PowerBi;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::token::Tokens;
use crate::trust::Trust;
use crate::wire::{Call, Service};

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) settings: Settings,
    pub(crate) addresses: Addresses,
    pub(crate) rng: Rng,
    pub(crate) tokens: Tokens,
    pub(crate) account: Account,
    pub(crate) entra: Entra,
    pub(crate) trust: Trust,
    pub(crate) bi: PowerBi,
    pub(crate) faults: Faults,
    pub(crate) log: Vec<Seen>,
    pub(crate) leaks: Vec<String>,
    /// Who the request at hand signed in as.
    pub(crate) caller: Option<String>,
    /// What the fault rules do to the request at hand.
    pub(crate) trouble: Option<String>,
    pub(crate) history: Vec<Happening>,
    pub(crate) windows: BTreeMap<(Service, String), VecDeque<Timestamp>>,
}

/// Base URLs, without a slash at the end.
#[derive(Clone, Debug, Serialize)]
pub struct Addresses {
    pub databricks: Vec<String>,
    /// The account console.
    pub account: String,
    pub entra: String,
    pub powerbi: String,
    pub fabric: String,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            databricks: vec!["https://adb-1.1.azuredatabricks.net".to_owned(), "https://adb-2.2.azuredatabricks.net".to_owned()],
            account: "https://accounts.azuredatabricks.net".to_owned(),
            entra: "https://login.microsoftonline.com".to_owned(),
            powerbi: "https://api.powerbi.com".to_owned(),
            fabric: "https://api.fabric.microsoft.com".to_owned(),
        }
    }
}

impl Addresses {
    /// The service behind `host[:port]`.
    pub(crate) fn service(&self, authority: &str) -> Option<Service> {
        // Where virtual machines ask for tokens of their identity.
        if authority == "169.254.169.254" {
            return Some(Service::Entra);
        }
        let is = |base: &String| host_of(base) == authority;
        if let Some(index) = self.databricks.iter().position(is) {
            return Some(Service::Databricks(index));
        }
        let others = [
            (&self.account, Service::Account),
            (&self.entra, Service::Entra),
            (&self.powerbi, Service::PowerBi),
            (&self.fabric, Service::Fabric),
        ];
        others.into_iter().find_map(|(base, service)| is(base).then_some(service))
    }
}

/// One request as it was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    pub at: Timestamp,
    pub service: String,
    pub method: String,
    /// Path and query.
    pub path: String,
    /// 0 where the client saw no answer.
    pub status: u16,
    pub caller: Option<String>,
    /// What a fault rule did to it.
    pub fault: Option<String>,
    /// How long the answer asked its caller to wait.
    pub retry_after: Option<Duration>,
}

impl World {
    /// Counts a request against its identity's limit; gives the seconds to wait when it is one too many.
    pub(crate) fn throttle(&mut self, service: Service, who: &str) -> Option<u64> {
        let limit = usize::try_from(self.settings.rate_limit?).unwrap_or(usize::MAX);
        let window = self.windows.entry((service, who.to_owned())).or_default();
        while window.front().is_some_and(|&at| clock::until(at, self.now) >= MINUTE) {
            window.pop_front();
        }
        if let Some(&oldest) = window.front().filter(|_| window.len() >= limit) {
            return Some((MINUTE - clock::until(oldest, self.now)).as_secs() + 1);
        }
        window.push_back(self.now);
        None
    }

    /// Notes every minted value that a request shows outside the places made for it.
    pub(crate) fn watch(&mut self, call: &Call) {
        let may_carry = match call.service {
            Service::Databricks(_) => call.target.starts_with("/api/2.0/secrets/put"),
            Service::PowerBi | Service::Fabric => call.method == http::Method::PATCH,
            Service::Account | Service::Entra => false,
        };
        for secret in self.account.principals.values().flat_map(|principal| &principal.secrets) {
            let value = secret.value.as_str();
            let in_header = call.headers.iter().any(|(name, content)| {
                name != http::header::AUTHORIZATION && content.to_str().is_ok_and(|text| text.contains(value))
            });
            let in_body = !may_carry && contains(&call.body, value.as_bytes());
            if call.target.contains(value) || in_header || in_body {
                self.leaks.push(format!(
                    "{} {} {} shows the secret {}",
                    call.service.name(),
                    call.method,
                    call.path.join("/"),
                    secret.id
                ));
            }
        }
    }
}

pub(crate) fn host_of(base: &str) -> &str {
    base.split_once("://").map_or(base, |(_, host)| host)
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|part| part == needle)
}

const MINUTE: Duration = Duration::from_secs(60);
