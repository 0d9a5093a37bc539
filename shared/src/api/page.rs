//! The status page: HTML made here, without a script, so that its policy can forbid everything but its own style.

use std::sync::{Arc, LazyLock};

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::problem::Refusal;
use super::{Api, credentials};
use crate::error::Error;
use crate::report::CredentialStatus;

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'a> {
    style: &'static str,
    version: &'static str,
    at: String,
    credentials: &'a [CredentialStatus],
}

pub(super) async fn page(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Refusal> {
    api.access.check_browser(&api.app, &headers).await?;
    let credentials = credentials::statuses(&api, Vec::new()).await?;
    let html = render(&credentials, api.app.now())?;
    Ok(([(header::CONTENT_SECURITY_POLICY, POLICY.as_str())], Html(html)).into_response())
}

fn render(credentials: &[CredentialStatus], now: Timestamp) -> Result<String, Error> {
    let page = Page { style: STYLE, version: env!("CARGO_PKG_VERSION"), at: format!("{now:.0}"), credentials };
    page.render().map_err(|error| Error::failed("page-unmade", "the status page can't be made").caused_by(error))
}

fn time(at: &Option<Timestamp>) -> String {
    at.map_or_else(|| "–".to_owned(), |at| format!("{at:.0}"))
}

const STYLE: &str = include_str!("../../templates/status.css");

/// The style is allowed by its hash; nothing else is.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()).as_ref());
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;
    use crate::ids::CredentialName;
    use crate::report::{Phase, TargetCounts};

    #[test]
    fn what_services_say_is_text_on_the_page() {
        let hostile = "<script>alert(1)</script>\"'&";
        let status = CredentialStatus {
            name: CredentialName::new(hostile),
            phase: Phase::Quarantined,
            generation: None,
            secret_id: None,
            rotated_at: None,
            expires_at: None,
            next_rotation_at: None,
            reason: Some(hostile.to_owned()),
            targets: TargetCounts::default(),
            secrets: Vec::new(),
            error: Some(Problem::new(hostile, hostile).hint(hostile)),
        };
        let html = render(&[status], Timestamp::UNIX_EPOCH).unwrap();
        assert!(!html.contains("<script") && html.contains("&#60;script&#62;"), "{html}");
        assert!(html.contains(&format!("<style>{STYLE}</style>")), "the policy allows exactly this style");
    }
}
