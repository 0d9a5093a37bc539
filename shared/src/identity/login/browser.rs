//! The authorization code flow with PKCE (RFC 7636, RFC 8252): the browser comes back to a port of loopback, and only what
//! carries the `state` of this very sign-in is taken.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use url::Url;

use super::super::PersonClient;
use super::super::person::redeem;
use super::{Invitation, Show, declined, too_late};
use crate::clients::oauth::TokenAnswer;
use crate::error::Error;
use crate::http::{Effect, Http, Service};
use crate::random::Random;

/// What the browser brings back.
#[derive(Deserialize)]
struct Back {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// The page that the browser comes back to; the first answer that means this sign-in counts.
struct Landing {
    state: String,
    answer: Mutex<Option<oneshot::Sender<Result<String, Error>>>>,
}

pub(super) async fn sign_in(http: &Http, client: &PersonClient, random: &Random, show: &Show<'_>) -> Result<TokenAnswer, Error> {
    let listener = listen(client.service).await?;
    let port = listener.local_addr().map_err(no_port)?.port();
    let redirect = format!("http://localhost:{port}");
    let (verifier, state) = (unguessable(random), unguessable(random));
    show(Invitation::Open(address(client, &redirect, &verifier, &state)?));
    let code = tokio::select! {
        code = wait(listener, port, state) => code?,
        () = http.clock().sleep(PATIENCE) => return Err(too_late()),
    };
    let fields =
        [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", &redirect), ("code_verifier", &verifier)];
    // A code works once.
    Ok(redeem(http, client, "sign a person in", &fields, Effect::Once).await?)
}

/// Where the browser begins.
fn address(client: &PersonClient, redirect: &str, verifier: &str, state: &str) -> Result<String, Error> {
    let mut url = Url::parse(&client.authorize_url).map_err(|error| {
        Error::failed("login-address", "the address of the sign-in is none")
            .hint("check the workspace's address")
            .caused_by(error)
    })?;
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    url.query_pairs_mut()
        .append_pair("client_id", &client.client_id)
        .append_pair("response_type", "code")
        .append_pair("redirect_uri", redirect)
        .append_pair("scope", &client.scopes)
        .append_pair("state", state)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    Ok(url.into())
}

/// Serves the landing page until the browser has come back.
async fn wait(listener: TcpListener, port: u16, state: String) -> Result<String, Error> {
    let (sender, answer) = oneshot::channel();
    let landing = Arc::new(Landing { state, answer: Mutex::new(Some(sender)) });
    let router = Router::new().route("/", get(land)).with_state(landing);
    let done = Arc::new(Notify::new());
    let ended = Arc::clone(&done);
    let first = axum::serve(listener, router.clone()).with_graceful_shutdown(async move { ended.notified().await });
    // Some browsers take `localhost` for the address of IPv6 alone; machines without it are no worse for it.
    let second = async {
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(listener) => axum::serve(listener, router).await,
            Err(_) => std::future::pending().await,
        }
    };
    let mut first = Box::pin(first.into_future());
    let code = tokio::select! {
        answer = answer => answer.unwrap_or_else(|_| Err(too_late())),
        served = &mut first => Err(no_port(served.err().unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into()))),
        served = second => Err(no_port(served.err().unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into()))),
    };
    // The browser is still to be shown its page.
    done.notify_one();
    let _ = tokio::time::timeout(FAREWELL, first).await;
    code
}

async fn land(State(landing): State<Arc<Landing>>, Query(back): Query<Back>) -> Response {
    let Back { state, code, error, error_description } = back;
    let Some(state) = state.filter(|_| code.is_some() || error.is_some()) else {
        return page(StatusCode::BAD_REQUEST, "This is where a sign-in to lakekey ends. Begin with `lakekey login`.");
    };
    let is_ours = verify_slices_are_equal(state.as_bytes(), landing.state.as_bytes()).is_ok();
    let (answer, page) = match (is_ours, code, error) {
        (false, _, _) => (
            Err(Error::failed("login-state", "the browser came back from a sign-in that was not begun here")
                .hint("close its other windows, and run `lakekey login` again")),
            page(StatusCode::BAD_REQUEST, "This sign-in was not begun by lakekey here. Nothing was done."),
        ),
        (true, Some(code), None) => (Ok(code), page(StatusCode::OK, "You are signed in. You may close this window.")),
        (true, _, error) => {
            let what = error_description.or(error).unwrap_or_default();
            (Err(declined(&shown(&what))), page(StatusCode::OK, "You are not signed in. lakekey says why."))
        }
    };
    if let Some(waiting) = landing.answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = waiting.send(answer);
    }
    page
}

fn page(status: StatusCode, text: &str) -> Response {
    let html = format!("<!DOCTYPE html><html lang=\"en\"><head><title>lakekey</title></head><body><p>{text}</p></body></html>");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONNECTION, "close"),
    ];
    (status, headers, html).into_response()
}

/// The applications have registered these: Databricks' CLI a range of ports, Entra's any, the connector's app only 8030.
async fn listen(service: Service) -> Result<TcpListener, Error> {
    let ports: Vec<u16> = if service == Service::Databricks { (8_020..=8_040).collect() } else { vec![8_030, 0] };
    let mut last = None;
    for port in ports {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(no_port(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into())))
}

fn no_port(error: std::io::Error) -> Error {
    Error::failed("login-port", "no port is free for the browser to come back to")
        .hint("end what uses the ports 8020 to 8040 of this machine, or sign in with a device code")
        .caused_by(error)
}

/// 256 random bits, in 43 characters.
fn unguessable(random: &Random) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A service's own words, cut to a length that fits into a sentence.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the last page may take to reach the browser.
const FAREWELL: Duration = Duration::from_secs(2);
