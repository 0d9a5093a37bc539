//! Token federation: a token of another issuer is exchanged for one of Databricks, so that no secret of lakekey's own is
//! kept anywhere. Databricks trusts the issuer by a federation policy and takes RS256 and ES256 only.

use std::path::Path;

use super::{Sources, reader};
use crate::config::OidcToken;
use crate::error::Error;
use crate::secret::Secret;

/// Where the SDKs of Databricks look for the token.
const VARIABLE: &str = "DATABRICKS_OIDC_TOKEN";
/// Names another variable, for the SDKs too.
const VARIABLE_NAME: &str = "DATABRICKS_OIDC_TOKEN_ENV";
/// Where the SDKs look for the name of the file; the older name comes second.
const FILE_NAMES: [&str; 2] = ["DATABRICKS_OIDC_TOKEN_FILEPATH", "DATABRICKS_OIDC_TOKEN_FILE"];

/// The token to exchange, as it is now.
pub(super) async fn subject(from: &OidcToken, sources: &Sources, token_address: &str) -> Result<Secret, Error> {
    let environment = sources.secrets.environment();
    match from {
        OidcToken::Env(name) => {
            let name = name.as_deref().or_else(|| environment.get(VARIABLE_NAME)).unwrap_or(VARIABLE);
            environment.get(name).map(Secret::new).ok_or_else(|| {
                Error::failed("secret-missing", format!("the environment variable `{name}` is not set"))
                    .hint(format!("let the platform put its token into `{name}`, or name another variable in `oidc_token_env`"))
            })
        }
        OidcToken::File(Some(path)) => reader::file(path),
        OidcToken::File(None) => {
            let named = FILE_NAMES.iter().find_map(|name| environment.get(name));
            let path = named.ok_or_else(|| {
                Error::failed("secret-missing", "no file is named that holds the token to exchange")
                    .hint(format!("set `oidc_token_filepath` in the config, or the environment variable `{}`", FILE_NAMES[0]))
            })?;
            reader::file(Path::new(path))
        }
        OidcToken::Aws(audience) => sources.storage.web_identity_token(audience.as_deref().unwrap_or(token_address)).await,
    }
}
