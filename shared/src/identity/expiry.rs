//! Until when what an identity itself signs in with is good, where that can be read off it.

use jiff::Timestamp;

use super::certificate::Certificate;
use super::{Identities, claims, fetch};
use crate::config::reference::Reference;
use crate::config::{Auth, Proof};
use crate::error::Error;
use crate::ids::IdentityName;

/// Something that an identity signs in with and that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnExpiry {
    /// As people know it.
    pub(crate) what: &'static str,
    /// When it ends.
    pub(crate) at: Timestamp,
    /// Whether somebody must put another one in its place.
    pub(crate) by_hand: bool,
}

impl Identities {
    /// Read from the thing itself; `None` where it does not say.
    pub(crate) async fn own_expiry(&self, identity: &IdentityName) -> Result<Option<OwnExpiry>, Error> {
        let Some(known) = self.0.identities.get(identity) else { return Ok(None) };
        let (what, at, by_hand) = match &known.auth {
            Auth::Pat { token } => ("personal access token", claims::expiry(&fetch::read(self, token).await?), true),
            Auth::AzureApplication { proof: Proof::Certificate(reference), .. } => {
                ("certificate", Certificate::parse(&fetch::read(self, reference).await?)?.expires(), true)
            }
            Auth::AzureApplication { proof: Proof::Secret(Reference::Vault(secret)), .. } => {
                ("secret, by what its vault was told,", self.0.sources.storage.secret_expiry(secret).await?, true)
            }
            Auth::Credential { name } => {
                let value = fetch::kept(&self.0, name).await?;
                ("secret, which lakekey keeps fresh,", value.expires_at, false)
            }
            Auth::OauthM2m { .. }
            | Auth::ExternalBrowser { .. }
            | Auth::DatabricksCli { .. }
            | Auth::Federation { .. }
            | Auth::AzureApplication { .. }
            | Auth::AzurePerson { .. }
            | Auth::AzureCli { .. }
            | Auth::AzureMsi { .. }
            | Auth::AzureWorkloadIdentity { .. }
            | Auth::AzureDefault { .. } => return Ok(None),
        };
        Ok(at.map(|at| OwnExpiry { what, at, by_hand }))
    }
}
