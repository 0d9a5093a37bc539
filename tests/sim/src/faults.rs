//! Trouble by plan: rules that pick requests and say what becomes of them. The same seed and the same requests meet the
//! same trouble.

mod spec;

use std::time::Duration;

use serde::Deserialize;

use crate::rng::Rng;
use crate::wire::{Call, Service};

/// Which requests, how often, and what happens to them. Fields left out pick everything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `databricks` (or `databricks-1` for one workspace), `entra`, `powerbi`, `fabric`.
    #[serde(default)]
    pub service: Option<String>,
    #[serde(default)]
    pub method: Option<String>,
    /// A part of the path and query.
    #[serde(default)]
    pub path: Option<String>,
    /// Only the nth request that matches, counted from one.
    #[serde(default)]
    pub nth: Option<u64>,
    /// The share of matching requests, 0 to 1.
    #[serde(default)]
    pub probability: Option<f64>,
    /// At most so many times.
    #[serde(default)]
    pub times: Option<u64>,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Answered late; the effect comes late too, even when the client has gone.
    Latency { ms: u64 },
    /// Answered with this; with `after_effect` although it was done.
    Status {
        status: u16,
        #[serde(default)]
        retry_after: Option<String>,
        #[serde(default)]
        body: Option<String>,
        #[serde(default)]
        after_effect: bool,
    },
    /// The connection is refused: certainly no effect.
    Refuse,
    /// No answer and no effect, but the client can't tell.
    DropBefore,
    /// Done, and the answer lost.
    DropAfter,
    /// No answer ever; with `after_effect` it was done all the same.
    Hang {
        #[serde(default)]
        after_effect: bool,
    },
    /// A sign-in page with 200, as a private link or a proxy gives.
    Html,
    /// Pointed elsewhere, as a workspace behind a private link does.
    Redirect { location: String },
    /// Done, but half of the answer's body is missing.
    Truncate,
    /// Done twice, as when something on the way sends again; the second answer arrives.
    Duplicate,
    /// The answer is lost at once, the effect lands so much later.
    Late { ms: u64 },
}

impl Action {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Latency { ms } => format!("latency {ms} ms"),
            Self::Status { status, after_effect, .. } => {
                format!("status {status}{}", if *after_effect { " after the effect" } else { "" })
            }
            Self::Refuse => "refuse".to_owned(),
            Self::DropBefore => "drop before".to_owned(),
            Self::DropAfter => "drop after".to_owned(),
            Self::Hang { after_effect } => format!("hang{}", if *after_effect { " after the effect" } else { "" }),
            Self::Html => "html".to_owned(),
            Self::Redirect { .. } => "redirect".to_owned(),
            Self::Truncate => "truncate".to_owned(),
            Self::Duplicate => "duplicate".to_owned(),
            Self::Late { ms } => format!("late {ms} ms"),
        }
    }

    pub(crate) fn wait_before(&self) -> Duration {
        if let Self::Latency { ms } = self { Duration::from_millis(*ms) } else { Duration::ZERO }
    }
}

impl Rule {
    /// A rule that picks every request.
    pub fn always(action: Action) -> Self {
        Self { service: None, method: None, path: None, nth: None, probability: None, times: None, action }
    }

    pub fn service(mut self, service: &str) -> Self {
        self.service = Some(service.to_owned());
        self
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = Some(nth);
        self
    }

    pub fn probability(mut self, share: f64) -> Self {
        self.probability = Some(share);
        self
    }

    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Reads the short form of `--faults`, or JSON; `spec.rs` has the grammar.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        spec::parse(text)
    }

    fn picks(&self, call: &Call) -> bool {
        let service = call.service.name();
        let kind = match call.service {
            Service::Databricks(_) => "databricks",
            Service::Account | Service::Entra | Service::PowerBi | Service::Fabric => service.as_str(),
        };
        self.service.as_deref().is_none_or(|wanted| wanted == service || wanted == kind)
            && self.method.as_deref().is_none_or(|wanted| call.method.as_str().eq_ignore_ascii_case(wanted))
            && self.path.as_deref().is_none_or(|wanted| call.target.contains(wanted))
    }
}

/// The rules at work, with how often each has matched and struck.
pub(crate) struct Faults {
    rules: Vec<(Rule, u64, u64)>,
    rng: Rng,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), rng: Rng::new(seed ^ 0xfa17) }
    }

    pub(crate) fn set(&mut self, rules: Vec<Rule>) {
        self.rules = rules.into_iter().map(|rule| (rule, 0, 0)).collect();
    }

    pub(crate) fn add(&mut self, rules: Vec<Rule>) {
        self.rules.extend(rules.into_iter().map(|rule| (rule, 0, 0)));
    }

    /// What becomes of this request: the first rule that strikes decides, all that match count it.
    pub(crate) fn strike(&mut self, call: &Call) -> Option<Action> {
        let mut action = None;
        for (rule, matched, struck) in &mut self.rules {
            if !rule.picks(call) {
                continue;
            }
            *matched += 1;
            let due = rule.nth.is_none_or(|nth| nth == *matched) && rule.times.is_none_or(|times| *struck < times);
            let strikes = rule.probability.is_none_or(|share| self.rng.chance(share));
            if action.is_none() && due && strikes {
                *struck += 1;
                action = Some(rule.action.clone());
            }
        }
        action
    }
}
