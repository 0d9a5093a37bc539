//! Reads the values that references point to. Nothing is kept: a value that was rotated is seen at the next read.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Audience, Identities};
use crate::clients::databricks::Databricks;
use crate::config::env_vars::Environment;
use crate::config::reference::Reference;
use crate::error::Error;
use crate::ids::{IdentityName, Workspace};
use crate::secret::Secret;

/// Bytes of a secret; a longer one is a mistake.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Reads the values that references point to.
pub struct SecretReader {
    environment: Environment,
}

impl SecretReader {
    /// A reader over this environment.
    pub fn new(environment: Environment) -> Self {
        Self { environment }
    }

    /// The environment, for ways to sign in that look into it.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The value that `reference` points to, read now.
    pub async fn read(&self, reference: &Reference, identities: &Identities) -> Result<Secret, Error> {
        match reference {
            Reference::Env(name) => self.environment.get(name).map(Secret::new).ok_or_else(|| {
                Error::failed("secret-missing", format!("the environment variable `{name}` is not set"))
                    .hint(format!("set `{name}`, or let the config refer to another place"))
            }),
            Reference::File(path) => file(path),
            Reference::Vault(secret) => identities.0.sources.storage.secret(secret).await,
            Reference::Databricks { workspace, scope, key, identity } => {
                scope_value(identities, workspace, scope, key, identity).await
            }
        }
    }
}

/// One trailing newline belongs to the editor, not to the secret.
pub(super) fn file(path: &Path) -> Result<Secret, Error> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Error::failed("secret-missing", format!("the secret file `{shown}` cannot be read"))
            .hint("check that it exists and that this user may read it")
            .caused_by(error)
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > SECRET_BYTES_MAX {
        return Err(Error::failed("secret-too-long", format!("the secret file `{shown}` is longer than any secret"))
            .hint("let the reference point to a file that holds only the secret"));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let value = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if value.is_empty() {
        return Err(
            Error::failed("secret-missing", format!("the secret file `{shown}` is empty")).hint("write the secret into it")
        );
    }
    Ok(Secret::new(value))
}

async fn scope_value(
    identities: &Identities,
    workspace: &Workspace,
    scope: &str,
    key: &str,
    identity: &IdentityName,
) -> Result<Secret, Error> {
    let place = format!("databricks:{}/{scope}/{key}", workspace.host());
    let signer = identities.signer(identity, &Audience::Databricks(workspace.clone()))?;
    let client = Databricks::new(std::sync::Arc::clone(&identities.0.http), workspace.clone(), signer);
    let encoded = match client.get_secret(scope, key).await {
        Ok(encoded) => encoded,
        Err(error) if is_notebook_only(&error) => {
            return Err(Error::failed("secret-notebook-only", format!("`{place}` cannot be read outside a Databricks notebook"))
                .hint("this workspace gives secret values to notebooks only; refer to `env:NAME` or `file:PATH` instead")
                .caused_by(error));
        }
        Err(error) => return Err(error.into()),
    };
    let unreadable = || {
        Error::failed("secret-unreadable", format!("`{place}` does not hold text"))
            .hint("store the secret as a text value (`string_value`)")
    };
    let bytes = STANDARD.decode(encoded.reveal()).map_err(|_| unreadable())?;
    String::from_utf8(bytes).map(Secret::new).map_err(|_| unreadable())
}

/// `secrets/get` answers 400 `BAD_REQUEST` with these words in workspaces that allow it to DBUtils only
/// (databricks-sdk-java#132).
fn is_notebook_only(error: &crate::http::HttpError) -> bool {
    let says_so = |message: &str| message.to_ascii_lowercase().contains("not allowed outside databricks notebooks");
    error.problem().and_then(|problem| problem.message.as_deref()).is_some_and(says_so)
}
