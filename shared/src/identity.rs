//! Ways to sign in, and the one cache of tokens.

use std::sync::Arc;

use crate::config::{Config, Endpoints};
use crate::error::Error;
use crate::http::Http;
use crate::ids::{IdentityName, Workspace};
use crate::secret::Secret;

/// Every identity of a config, with its tokens.
pub struct Identities {}

/// Whom a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// A Databricks workspace.
    Databricks(Workspace),
    /// The Power BI REST API.
    PowerBi,
    /// The Fabric REST API.
    Fabric,
}

/// Signs requests of one identity for one audience; clones share the cached token.
#[derive(Clone)]
pub struct Signer {}

impl Identities {
    /// Prepares every identity; nothing is fetched yet.
    pub fn new(config: &Config, secrets: Arc<SecretReader>, http: Arc<Http>) -> Self {
        let _ = (config, secrets, http);
        unimplemented!("skeleton")
    }

    /// The signer of this identity for this audience.
    pub fn signer(&self, identity: &IdentityName, audience: &Audience) -> Result<Signer, Error> {
        let _ = (identity, audience);
        unimplemented!("skeleton")
    }
}

impl Signer {
    /// A token that is good for at least a minute.
    pub async fn token(&self) -> Result<Secret, Error> {
        unimplemented!("skeleton")
    }

    /// Ids by which services may name this identity as an owner: application id, object id, user name; lower case.
    pub async fn known_as(&self) -> Result<Vec<String>, Error> {
        unimplemented!("skeleton")
    }
}

/// Reads the values that references point to.
pub struct SecretReader {}

impl SecretReader {
    /// A reader over this environment.
    pub fn new(environment: crate::config::env_vars::Environment, endpoints: Endpoints) -> Self {
        let _ = (environment, endpoints);
        unimplemented!("skeleton")
    }
}
