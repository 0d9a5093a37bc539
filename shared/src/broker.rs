//! Tokens for programs on this machine: which hosts they may ask for, and as whom. The broker keeps nothing itself; tokens
//! are cached where every other part of lakekey has them from, so that one fetch serves all.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::config::BrokerRow;
use crate::error::Error;
use crate::identity::{Audience, Identities, Signer};
use crate::ids::{IdentityName, Workspace};
use crate::secret::Secret;

/// Hands out tokens for the hosts of `broker:`; clones share their tokens.
#[derive(Clone)]
pub struct Broker {
    rows: Vec<Row>,
    identities: Identities,
    clock: Clock,
}

/// A host, and who signs in to it.
#[derive(Clone)]
struct Row {
    row: BrokerRow,
    /// Made once, for programs ask often; `None` where this identity can't sign in there, which is told when it is asked for.
    signer: Option<Signer>,
}

/// A token that a program is given.
#[derive(Clone, Debug)]
pub struct Handout {
    /// The value.
    pub token: Secret,
    /// When to ask again, on this machine's clock.
    pub expires_at: Timestamp,
    /// Whether the token ends then; one that does not say so may live for years.
    pub ends: bool,
}

impl Broker {
    /// A broker for these hosts.
    pub fn new(rows: Vec<BrokerRow>, identities: Identities, clock: Clock) -> Self {
        let prepared = |row: BrokerRow| {
            let signer = identities.signer(&row.identity, &Audience::Databricks(row.workspace.clone())).ok();
            Row { row, signer }
        };
        let rows = rows.into_iter().map(prepared).collect();
        Self { rows, identities, clock }
    }

    /// The hosts that it hands out tokens for, in the order of the config.
    pub fn hosts(&self) -> impl Iterator<Item = &Workspace> {
        self.rows.iter().map(|row| &row.row.workspace)
    }

    /// Who signs in to a host.
    pub fn identity(&self, host: &Workspace) -> Result<&IdentityName, Error> {
        self.row(host).map(|row| &row.row.identity)
    }

    fn row(&self, host: &Workspace) -> Result<&Row, Error> {
        self.rows.iter().find(|row| row.row.workspace == *host).ok_or_else(|| not_brokered(host))
    }

    /// A token for a host of `broker:`, good for at least a minute.
    pub async fn token(&self, host: &Workspace) -> Result<Handout, Error> {
        let Row { row, signer } = self.row(host)?;
        match signer {
            Some(signer) => self.handout(signer).await,
            None => self.token_as(&row.identity, host).await,
        }
    }

    /// A token of this identity, whatever `broker:` says: for whoever has the config, and so its secrets.
    pub async fn token_as(&self, identity: &IdentityName, host: &Workspace) -> Result<Handout, Error> {
        self.handout(&self.signer(identity, host)?).await
    }

    /// The same, but never one that was handed out before.
    pub async fn fresh_token_as(&self, identity: &IdentityName, host: &Workspace) -> Result<Handout, Error> {
        let signer = self.signer(identity, host)?;
        signer.reload(&signer.token().await?).await?;
        self.handout(&signer).await
    }

    /// Renews tokens in the background for as long as it is polled; it never ends.
    pub async fn keep_fresh(&self) {
        self.identities.keep_fresh().await;
    }

    fn signer(&self, identity: &IdentityName, host: &Workspace) -> Result<Signer, Error> {
        self.identities.signer(identity, &Audience::Databricks(host.clone()))
    }

    async fn handout(&self, signer: &Signer) -> Result<Handout, Error> {
        let issued = signer.issued().await?;
        // Personal access tokens do not say when they expire: programs are to ask again now and then.
        let life = SignedDuration::try_from(UNKNOWN_LIFE).unwrap_or(SignedDuration::ZERO);
        let expires_at = issued.expires_at.unwrap_or_else(|| self.clock.now().saturating_add(life).unwrap_or(Timestamp::MAX));
        Ok(Handout { token: issued.value, expires_at, ends: issued.expires_at.is_some() })
    }
}

fn not_brokered(host: &Workspace) -> Error {
    Error::usage("host-not-brokered", format!("`{}` is none of the hosts that `broker:` names", host.host()))
        .hint("add a row with this host and an identity to `broker:` in the config")
}

/// What is said of a token that does not say when it expires.
const UNKNOWN_LIFE: Duration = Duration::from_secs(3_600);
