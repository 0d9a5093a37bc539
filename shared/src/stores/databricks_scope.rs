//! A copy in a Databricks secret scope, for notebooks and jobs: overwritten in place, without versions, never read back
//! (Databricks may refuse to give a value outside a notebook).

use jiff::Timestamp;

use crate::clients::databricks::{Databricks, ScopeBackend};
use crate::credential::StoredCredential;
use crate::error::{Error, Problem};
use crate::http::HttpError;
use crate::secret::Secret;
use crate::targets::{Applied, ApplyError, Landed};

/// One key of one scope in the credential's workspace.
pub struct DatabricksScope {
    databricks: Databricks,
    scope: String,
    key: String,
}

impl DatabricksScope {
    /// The copy at `scope`/`key`.
    pub fn new(databricks: Databricks, scope: String, key: String) -> Self {
        Self { databricks, scope, key }
    }

    /// Puts `credential` there. Two requests: the scope's kind is read first, since one backed by Key Vault is read-only here.
    pub(super) async fn write(&self, credential: &StoredCredential, not_after: Timestamp) -> Result<Applied, ApplyError> {
        self.check().await?;
        let json = credential.to_json();
        let value = Secret::new(String::from_utf8_lossy(&json));
        match self.databricks.put_secret(&self.scope, &self.key, &value, Some(not_after)).await {
            Ok(sent) => Ok(Applied { earlier_may_land: sent.earlier_may_land }),
            Err(error) => {
                let landed = if error.may_have_taken_effect() { Landed::Maybe } else { Landed::Refused };
                Err(ApplyError { landed, problem: Error::from(error).problem().clone() })
            }
        }
    }

    /// Whether the scope is there and is one that can be written.
    pub(super) async fn check(&self) -> Result<(), ApplyError> {
        let scopes = self.databricks.secret_scopes().await.map_err(not_written)?;
        match scopes.iter().find(|scope| scope.name == self.scope).map(|scope| &scope.backend) {
            Some(ScopeBackend::Databricks) => Ok(()),
            Some(ScopeBackend::AzureKeyVault | ScopeBackend::Other(_)) => Err(self
                .refused("is kept elsewhere and is read-only at Databricks")
                .map_hint("name a scope that Databricks itself keeps, or write to the vault behind it")),
            None => Err(self
                .refused("does not exist, or the identity may not see it")
                .map_hint("create the scope and give the identity WRITE on it (`databricks secrets put-acl`)")),
        }
    }

    /// The place as the config spells it.
    pub(super) fn place(&self) -> String {
        format!("databricks:{}/{}", self.scope, self.key)
    }

    fn refused(&self, why: &str) -> ApplyError {
        ApplyError { landed: Landed::No, problem: Problem::new("copy-refused", format!("secret scope `{}` {why}", self.scope)) }
    }
}

impl ApplyError {
    fn map_hint(mut self, hint: &str) -> Self {
        self.problem.hint = Some(hint.to_owned());
        self
    }
}

fn not_written(error: HttpError) -> ApplyError {
    ApplyError { landed: Landed::No, problem: Error::from(error).problem().clone() }
}
