//! Signing a person in, once: what stays is a refresh token, with which tokens are had later without the person. A browser
//! is sent to the service and back to a port of this machine; or the person enters a code in any browser.
//!
//! Invariants: what comes back belongs to what was begun here (`state`, PKCE), and the refresh token is kept before anybody
//! is told that it worked.

mod browser;
mod device;

use super::{Audience, Identities, claims};
use crate::error::Error;
use crate::ids::IdentityName;
use crate::random::Random;

/// How somebody signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A browser on this machine, which comes back to a port of it.
    Browser,
    /// A code that is entered in any browser; Entra alone has this.
    DeviceCode,
}

/// What a person is to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invitation {
    /// To open this address.
    Open(String),
    /// To enter this code at this address.
    Enter {
        /// The code.
        code: String,
        /// The address.
        address: String,
    },
}

/// Shows a person what to do.
pub type Show<'a> = dyn Fn(Invitation) + Send + Sync + 'a;

/// Somebody who has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// What the service calls the person, if it says so.
    pub name: Option<String>,
}

impl Identities {
    /// Signs a person in and keeps what later tokens are had with.
    pub async fn login(
        &self,
        identity: &IdentityName,
        audience: &Audience,
        way: Way,
        random: &Random,
        show: &Show<'_>,
    ) -> Result<SignedIn, Error> {
        let client = self.person_client(identity, audience).await?;
        let key = self.0.identities.get(identity).map(|known| Self::sign_in_key(known, audience)).unwrap_or_default();
        let Some(sign_ins) = &self.0.sources.sign_ins else {
            return Err(Error::failed("login-unkept", "there is no place where a sign-in could be kept")
                .hint("set LAKEKEY_SIGN_INS to a folder of your own"));
        };
        let http = &self.0.http;
        let answer = match way {
            Way::Browser => browser::sign_in(http, &client, random, show).await?,
            Way::DeviceCode => device::sign_in(http, &client, show).await?,
        };
        let Some(refresh_token) = &answer.refresh_token else {
            return Err(Error::failed("login-unkept", "the service has signed you in, but for this once only")
                .hint("the application must be allowed the scope `offline_access`"));
        };
        sign_ins.open(&key).await?.keep(refresh_token).await?;
        Ok(SignedIn { name: claims::names(&answer.value).into_iter().find(|name| name.contains('@')) })
    }
}

/// What the person, or the service in their name, has refused.
fn declined(what: &str) -> Error {
    Error::failed("login-declined", format!("the sign-in was refused: {what}")).hint("sign in again, and agree to what is asked")
}

fn too_late() -> Error {
    Error::failed("login-timeout", "nobody has signed in in time").hint("run `lakekey login` again")
}
