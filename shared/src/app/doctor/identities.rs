//! Who signs in: each identity at each service that the config sends it to, and how long its own secret lives.

use std::collections::BTreeSet;

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};

use super::super::{App, many_at_once};
use super::of;
use crate::clients::databricks::{Databricks, SecretInfo};
use crate::config::{Account, Auth, Credential, PrincipalSelector};
use crate::error::Error;
use crate::identity::Audience;
use crate::ids::{ApplicationId, IdentityName, Workspace};
use crate::report::Check;

/// A secret with less than this left is warned of.
const LEFT_MIN: SignedDuration = SignedDuration::from_hours(14 * 24);

const MEMBER_FIX: &str =
    "add the identity to the workspace: Settings > Identity and access > Service principals > Add service principal";

/// One place at which one identity signs in, in the order of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Door {
    Workspace(Workspace),
    Account(Workspace, crate::ids::AccountId),
    PowerBi,
    Fabric,
}

impl Door {
    fn audience(&self) -> Audience {
        match self {
            Self::Workspace(workspace) => Audience::Databricks(workspace.clone()),
            Self::Account(host, id) => Audience::Account(Account { host: host.clone(), id: id.clone() }),
            Self::PowerBi => Audience::PowerBi,
            Self::Fabric => Audience::Fabric,
        }
    }
}

impl App {
    pub(super) async fn check_identities(&self, credentials: &[&Credential]) -> Vec<Check> {
        let mut doors: BTreeSet<(IdentityName, Door)> = BTreeSet::new();
        for credential in credentials {
            let identity = &credential.identity;
            for workspace in std::iter::once(&credential.workspace).chain(&credential.also_workspaces) {
                doors.insert((identity.clone(), Door::Workspace(workspace.clone())));
            }
            if let Some(account) = &credential.account {
                doors.insert((identity.clone(), Door::Account(account.host.clone(), account.id.clone())));
            }
            if let Some(targets) = &credential.targets {
                doors.insert((targets.identity.clone(), Door::PowerBi));
                doors.insert((targets.identity.clone(), Door::Fabric));
            }
        }
        for row in &self.config.broker {
            doors.insert((row.identity.clone(), Door::Workspace(row.workspace.clone())));
        }
        let used: BTreeSet<IdentityName> = doors.iter().map(|(identity, _)| identity.clone()).collect();
        let sign_ins = doors.into_iter().map(|(identity, door)| self.check_sign_in(identity, door).boxed());
        let mut checks: Vec<Check> = many_at_once(sign_ins.collect()).await;
        let secrets = used.iter().map(|identity| self.check_own_secret(identity, credentials).boxed());
        checks.extend(many_at_once(secrets.collect()).await);
        checks
    }

    async fn check_sign_in(&self, identity: IdentityName, door: Door) -> Check {
        let subject = format!("identity {identity}: {}", door.audience());
        of("sign-in", subject, self.sign_in(&identity, &door).await)
    }

    /// What the service says of who signed in. A workspace is asked, for it also turns away those who are not its own.
    async fn sign_in(&self, identity: &IdentityName, door: &Door) -> Result<String, Error> {
        let signer = self.identities.signer(identity, &door.audience())?;
        match door {
            Door::Workspace(workspace) => {
                let client = Databricks::new(std::sync::Arc::clone(&self.http), workspace.clone(), signer);
                let me = client.me().await.map_err(|error| match Error::from(error) {
                    error if error.code() == "forbidden" => error.hint(MEMBER_FIX),
                    // The token endpoint of a workspace knows its own members only.
                    error if error.code() == "sign-in-refused" => error.hint(format!(
                        "check client id, secret and tenant, and that the secret has not expired; if they are right, {MEMBER_FIX}"
                    )),
                    error => error,
                })?;
                let name = me.display_name.filter(|name| *name != me.user_name).map(|name| format!(" (`{name}`)"));
                Ok(format!("signed in as `{}`{}", me.user_name, name.unwrap_or_default()))
            }
            Door::Account(..) | Door::PowerBi | Door::Fabric => {
                signer.token().await?;
                Ok("signed in".to_owned())
            }
        }
    }

    /// When the secret that the identity itself signs in with expires, where anybody can tell.
    async fn check_own_secret(&self, identity: &IdentityName, credentials: &[&Credential]) -> Check {
        const CHECK: &str = "own-secret";
        let subject = format!("identity {identity}");
        let auth = self.config.identities.get(identity).map(|identity| &identity.auth);
        if let Some(Auth::OauthM2m { .. }) = auth {
            return match self.own_secrets(identity, credentials).await {
                Ok(secrets) => judge(CHECK, subject, &secrets, self.surroundings.clock.now()),
                Err(error) => {
                    Check::passed(CHECK, subject, format!("when it expires cannot be seen: {}", error.problem().message))
                }
            };
        }
        match self.identities.own_expiry(identity).await {
            Ok(Some(own)) => {
                let detail = format!("its {} expires: {:.0}", own.what, own.at);
                if own.by_hand && own.at.duration_since(self.surroundings.clock.now()) < LEFT_MIN {
                    return Check::warning(
                        CHECK,
                        subject,
                        detail,
                        "put a new one where the config refers to, and run `lakekey doctor` again",
                    );
                }
                return Check::passed(CHECK, subject, detail);
            }
            Ok(None) => {}
            Err(error) => {
                let detail = format!("when it expires cannot be seen: {}", error.problem().message);
                return Check::passed(CHECK, subject, detail);
            }
        }
        let elsewhere = match auth {
            Some(Auth::AzureApplication { .. }) => {
                "when it expires is shown in the Entra admin center only: App registrations > the app > Certificates & secrets"
            }
            Some(Auth::Pat { .. }) => "when it expires is shown in the workspace only: Settings > Developer > Access tokens",
            _ => "it holds no secret of its own, or none whose expiry can be seen from here",
        };
        Check::passed(CHECK, subject, elsewhere)
    }

    async fn own_secrets(&self, identity: &IdentityName, credentials: &[&Credential]) -> Result<Vec<SecretInfo>, Error> {
        let unseen = |what: &str| Error::failed("not-found", what.to_owned());
        let user = credentials.iter().find(|credential| credential.identity == *identity);
        let user = user.ok_or_else(|| unseen("no workspace is asked as this identity"))?;
        let client = self.workspaces(user)?.remove(&user.workspace).ok_or_else(|| unseen("the workspace is not known"))?;
        let signer = self.identities.signer(identity, &Audience::Databricks(user.workspace.clone()))?;
        let id = signer.client_id().await?.ok_or_else(|| unseen("it has no client id"))?;
        let selector = PrincipalSelector::ApplicationId(ApplicationId::new(id.to_ascii_lowercase()));
        let own = client.find_service_principals(&selector).await?;
        let own = own.first().ok_or_else(|| unseen("the workspace does not list it"))?;
        Ok(client.list_secrets(&own.id).await?)
    }
}

/// Databricks does not say which of several secrets is the one in use: it expires between the first and the last of them.
fn judge(check: &str, subject: String, secrets: &[SecretInfo], now: Timestamp) -> Check {
    let mut ends: Vec<Option<Timestamp>> = secrets.iter().map(|secret| secret.expires_at).collect();
    ends.retain(|end| end.is_none_or(|end| end > now));
    ends.sort_by_key(|end| end.unwrap_or(Timestamp::MAX));
    let shown = |end: &Option<Timestamp>| end.map_or_else(|| "never".to_owned(), |end| format!("{end:.0}"));
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
        return Check::passed(check, subject, "when it expires cannot be seen: no secret of it is listed");
    };
    let detail = match ends.len() {
        1 => format!("its secret expires: {}", shown(first)),
        count => format!("one of its {count} secrets, of which the first expires: {}, the last: {}", shown(first), shown(last)),
    };
    match first {
        Some(end) if end.duration_since(now) < LEFT_MIN => Check::warning(
            check,
            subject,
            detail,
            "make a new secret for this identity at Databricks (Settings > Identity and access > Service principals > Secrets), put it where the config refers to, and run `lakekey doctor` again",
        ),
        Some(_) | None => Check::passed(check, subject, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SecretId;

    fn secret(expires: Option<&str>) -> SecretInfo {
        SecretInfo {
            id: SecretId::new("s"),
            created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            expires_at: expires.map(|text| text.parse().unwrap()),
            scopes: Vec::new(),
        }
    }

    #[test]
    fn an_expiry_that_may_be_near_is_warned_of_and_one_that_has_passed_is_not_the_one_in_use() {
        let now = "2026-03-01T00:00:00Z".parse().unwrap();
        let judged = |ends: &[Option<&str>]| {
            judge("own-secret", String::new(), &ends.iter().map(|end| secret(*end)).collect::<Vec<_>>(), now)
        };
        assert!(judged(&[Some("2026-03-14T00:00:00Z")]).fix.is_some());
        assert!(judged(&[Some("2026-03-16T00:00:00Z")]).fix.is_none());
        assert!(judged(&[Some("2026-03-14T00:00:00Z"), None]).detail.contains("one of its 2 secrets"));
        assert!(judged(&[Some("2026-02-14T00:00:00Z"), None]).detail.ends_with("expires: never"));
        assert!(judged(&[]).detail.contains("cannot be seen"));
    }
}
