//! The account beside the workspace. An identity that may not manage principals and secrets in the workspace may do so as an
//! account admin: a call that the workspace definitely refuses for want of rights, or because the principal is not one of
//! its own, is made once more at the account. From the first such refusal on, secrets are managed there alone, so that
//! what is listed and what is made come from one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;

use super::{Databricks, segment};
use crate::http::{Http, HttpError};
use crate::identity::Signer;
use crate::ids::{AccountId, Workspace};

/// Whose API a client speaks.
#[derive(Clone)]
pub(super) enum Level {
    /// A workspace's, with the account to turn to.
    Workspace {
        /// `None`: the config names no account.
        account: Option<Arc<Account>>,
    },
    /// The account console's.
    Account(AccountId),
}

/// The account's own client.
pub(super) struct Account {
    pub(super) client: Databricks,
    pub(super) id: AccountId,
    /// Whether the workspace has refused to manage secrets.
    in_use: AtomicBool,
}

impl Databricks {
    /// The same workspace with an account to turn to. Clones share what was learnt of who manages secrets.
    #[must_use]
    pub fn with_account(self, console: Workspace, id: AccountId, signer: Signer) -> Self {
        let http: Arc<Http> = Arc::clone(&self.http);
        let (level, memo) = (Level::Account(id.clone()), self.memo.clone());
        let client = Self { http, workspace: console, signer, level, memo };
        let account = Some(Arc::new(Account { client, id, in_use: AtomicBool::new(false) }));
        Self { level: Level::Workspace { account }, ..self }
    }

    /// Whether secrets are managed at the account, because the workspace refused.
    pub fn is_account_in_use(&self) -> bool {
        self.account().is_some_and(|account| account.in_use.load(Ordering::Relaxed))
    }

    pub(super) fn account(&self) -> Option<&Account> {
        match &self.level {
            Level::Workspace { account } => account.as_deref(),
            Level::Account(_) => None,
        }
    }

    /// The client that manages secrets.
    pub(super) fn keeper(&self) -> &Self {
        match self.account() {
            Some(account) if account.in_use.load(Ordering::Relaxed) => &account.client,
            Some(_) | None => self,
        }
    }

    /// The account's client, if secrets are not managed there yet and this refusal says that they should be.
    pub(super) fn turn_to_account(&self, refusal: &HttpError) -> Option<&Self> {
        let account = self.account().filter(|account| !account.in_use.load(Ordering::Relaxed))?;
        if !is_beyond_workspace(refusal) {
            return None;
        }
        account.in_use.store(true, Ordering::Relaxed);
        tracing::info!(workspace = self.workspace.host(), "the workspace refuses; secrets are managed at the account");
        Some(&account.client)
    }

    /// Where principals are.
    pub(super) fn principals_path(&self) -> String {
        match &self.level {
            Level::Workspace { .. } => "/api/2.0/preview/scim/v2/ServicePrincipals".to_owned(),
            Level::Account(id) => format!("/api/2.0/accounts/{}/scim/v2/ServicePrincipals", segment(id.as_str())),
        }
    }

    /// Where secrets are. The workspace's path holds the word `accounts` too, but no account id.
    pub(super) fn secrets_root(&self) -> String {
        match &self.level {
            Level::Workspace { .. } => "/api/2.0/accounts/servicePrincipals".to_owned(),
            Level::Account(id) => format!("/api/2.0/accounts/{}/servicePrincipals", segment(id.as_str())),
        }
    }
}

/// A definite refusal that an account admin would not get: it had no effect, so that even a create may be sent elsewhere.
pub(super) fn is_beyond_workspace(refusal: &HttpError) -> bool {
    let status = refusal.status();
    !refusal.may_have_taken_effect() && matches!(status, Some(StatusCode::FORBIDDEN | StatusCode::NOT_FOUND))
}
