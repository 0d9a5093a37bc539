//! The value that stores keep: one generation of one credential, in the shape of AWS's own Databricks secret type so that
//! users can move either way.

use jiff::Timestamp;

use crate::ids::{ApplicationId, Generation, SecretId, ServicePrincipalId, Workspace};
use crate::secret::Secret;

/// One generation with its secret. Serialised only by [`to_json`](Self::to_json) and only for a store.
#[derive(Clone, Debug)]
pub struct StoredCredential {
    /// The principal's application id: the user name at Power BI, the client id at Databricks.
    pub client_id: ApplicationId,
    /// The OAuth secret.
    pub client_secret: Secret,
    /// Its id at Databricks.
    pub secret_id: SecretId,
    /// The principal's SCIM id.
    pub service_principal_id: ServicePrincipalId,
    /// The Databricks account, when known.
    pub account_id: Option<String>,
    /// The workspace that minted it.
    pub host: Workspace,
    /// Which generation.
    pub generation: Generation,
    /// When Databricks made it.
    pub created_at: Timestamp,
    /// When it expires; `None` for ever.
    pub expires_at: Option<Timestamp>,
    /// Hash of the journal's head when this value was written: a journal that does not contain it was rewritten.
    pub journal: Option<String>,
}
