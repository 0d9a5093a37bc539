//! What AWS says of this process to others: `sts:GetWebIdentityToken`, which an account must have enabled (outbound identity
//! federation). Databricks takes RS256 of the algorithms there are, and its token ends when this one does.

use aws_sdk_sts::error::ProvideErrorMetadata;

use super::{Aws, failure};
use crate::error::Error;
use crate::secret::Secret;

/// The longest that AWS gives; five minutes is its default.
const LIFE_SECONDS: i32 = 3600;

impl Aws {
    /// A token that shows the role of this process to `audience`.
    pub async fn web_identity_token(&self, audience: &str) -> Result<Secret, Error> {
        let client = aws_sdk_sts::Client::new(self.sdk_config().await?);
        let request =
            client.get_web_identity_token().audience(audience).duration_seconds(LIFE_SECONDS).signing_algorithm("RS256");
        let answer = request.send().await.map_err(|error| {
            let code = error.code().unwrap_or_default().to_owned();
            let error = Error::from(failure("get a token from AWS", "sts", error));
            match code.as_str() {
                "OutboundWebIdentityFederationDisabled" | "OutboundWebIdentityFederationDisabledException" => error.hint(
                    "enable outbound identity federation for the AWS account: `aws iam enable-outbound-web-identity-federation`",
                ),
                "AccessDenied" | "AccessDeniedException" => {
                    error.hint("allow `sts:GetWebIdentityToken` in the policy of this role")
                }
                _ => error,
            }
        })?;
        answer.web_identity_token().filter(|token| !token.is_empty()).map(Secret::new).ok_or_else(|| {
            Error::failed("unusable-answer", "get a token from AWS: the answer holds none")
                .hint("try again; if it lasts, report this")
        })
    }
}
