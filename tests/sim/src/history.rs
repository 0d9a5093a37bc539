//! What has happened to secrets and data sources, in order and to the instant: a checker that reads it sees every state
//! that ever was, and need not look at the whole cloud after each step.

use jiff::Timestamp;

use crate::cloud::Cloud;
use crate::powerbi::{Credential, Source};
use crate::world::World;

/// One change of what is really so.
#[derive(Clone, Debug)]
pub struct Happening {
    pub at: Timestamp,
    pub what: Happened,
    /// The fault that the request met, if any.
    pub fault: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A secret was made; so many slots of its principal are used up now.
    Minted { secret: String, application_id: String, by: String, expires: Timestamp, used: usize },
    /// A secret was deleted; `None` is a person's hand.
    Deleted { secret: String, by: Option<String> },
    /// A data source was given a credential, through an API (`by` is given) or by hand.
    Written { source: String, secret: Option<String>, alive: bool, privacy: String, sso: bool, by: Option<String> },
    /// A take-over bound a dataset to another data source.
    Rebound { dataset: String, from: String, to: String },
}

impl World {
    pub(crate) fn happened(&mut self, what: Happened) {
        let happening = Happening { at: self.now, what, fault: self.trouble.clone() };
        self.history.push(happening);
    }

    /// A data source's credential was replaced.
    pub(crate) fn written(&mut self, source: &Source, by: Option<&str>) {
        let held = match &source.credential {
            Credential::Basic { username, password } => self.account.secret(username, password),
            Credential::Missing | Credential::Key(_) | Credential::OAuth2 | Credential::Windows => None,
        };
        let what = Happened::Written {
            source: source.id.clone(),
            secret: held.map(|secret| secret.id.clone()),
            alive: held.is_some_and(|secret| secret.alive(self.now)),
            privacy: source.privacy.clone(),
            sso: source.sso,
            by: by.map(str::to_owned),
        };
        self.happened(what);
    }
}

impl Cloud {
    /// What has happened since the first `seen` happenings.
    pub fn happenings_since(&self, seen: usize) -> Vec<Happening> {
        self.lock().history.get(seen..).unwrap_or_default().to_vec()
    }
}
