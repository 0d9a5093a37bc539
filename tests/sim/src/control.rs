//! The control API of a served cloud, for programs in other languages and for people at a terminal:
//!
//! ```text
//! GET    /truth[?values=true]     what is really so (`Truth`); secret values only when asked for
//! GET    /requests                every request so far (`Seen`)
//! GET    /cast                    who plays a part, with the credentials of lakekey's identities
//! POST   /advance                 {"seconds":N} skips time, for the cloud alone
//! POST   /faults                  a list of rules as JSON, or the short form as text, in place of the present ones
//! DELETE /faults                  no more faults
//! POST   /person/mint             {"application_id"?,"lifetime_seconds"?} -> {"id","value"}
//! POST   /person/delete-secret    {"id"}
//! POST   /person/delete-dataset   {"id"}
//! POST   /person/delete-source    {"id"}
//! POST   /person/set-owner        {"dataset","owner"}
//! POST   /person/repoint          {"source","host","warehouse"}
//! POST   /person/write-credential {"source","username","password"}
//! POST   /person/set-can-use      {"warehouse","application_id"?,"on":bool}
//! POST   /person/gateway-admin    {"gateway","identity"?,"on":bool}
//! POST   /person/leave-group      {"group","identity"?}
//! POST   /person/scanner          {"on":bool}: whether the tenant lets service principals use the scanner
//! POST   /person/enter-code       {"user_code","approved":bool}, as at a device login page
//! POST   /person/declines         {"on":bool}: in the browser, from now on
//! POST   /person/signed-out       every session of the person ends
//! ```
//!
//! A browser is any program that gets the address of a sign-in and goes where it is sent. A principal or identity left out is the one that lakekey rotates, or signs in to Power BI with. What can't be done,
//! because there is no such thing, is 404; a body that makes no sense is 400.

use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::databricks::Level;
use crate::faults::Rule;
use crate::settings::Scanner;
use crate::wire::text;

pub(crate) fn router(cloud: Cloud) -> Router {
    Router::new()
        .route("/truth", get(truth))
        .route("/requests", get(|State(cloud): State<Cloud>| async move { Json(json!(cloud.requests())) }))
        .route("/cast", get(|State(cloud): State<Cloud>| async move { Json(json!(cloud.cast())) }))
        .route("/advance", post(advance))
        .route("/faults", post(set_faults).delete(clear_faults))
        .route("/person/{what}", post(person))
        .with_state(cloud)
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    values: bool,
}

async fn truth(State(cloud): State<Cloud>, Query(shown): Query<Shown>) -> Response {
    Json(if shown.values { cloud.truth_with_values() } else { cloud.truth() }).into_response()
}

#[derive(Deserialize)]
struct Advance {
    seconds: u64,
}

async fn advance(State(cloud): State<Cloud>, Json(by): Json<Advance>) -> Response {
    cloud.advance(Duration::from_secs(by.seconds));
    Json(json!({ "now": cloud.now() })).into_response()
}

async fn set_faults(State(cloud): State<Cloud>, rules: String) -> Response {
    match Rule::parse(&rules) {
        Ok(rules) => {
            cloud.set_faults(rules);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
    }
}

async fn clear_faults(State(cloud): State<Cloud>) -> StatusCode {
    cloud.set_faults(Vec::new());
    StatusCode::NO_CONTENT
}

async fn person(State(cloud): State<Cloud>, axum::extract::Path(what): axum::extract::Path<String>, body: String) -> Response {
    let body: Value = if body.is_empty() { json!({}) } else { serde_json::from_str(&body).unwrap_or(Value::Null) };
    if !body.is_object() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    if what == "mint" {
        return mint(&cloud, &body);
    }
    match act(&cloud, &what, &body) {
        Some(true) => Json(json!({ "done": true })).into_response(),
        Some(false) => StatusCode::NOT_FOUND.into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn mint(cloud: &Cloud, body: &Value) -> Response {
    let principal = text(body, "application_id").unwrap_or(&cloud.cast().principal.application_id);
    let lifetime = Duration::from_secs(body["lifetime_seconds"].as_u64().unwrap_or(MONTH));
    match cloud.person_mints(principal, lifetime) {
        Some((id, value)) => Json(json!({ "id": id, "value": value })).into_response(),
        None => StatusCode::CONFLICT.into_response(),
    }
}

/// `None` for a body or an action that makes no sense, `false` where there is nothing to act on.
fn act(cloud: &Cloud, what: &str, body: &Value) -> Option<bool> {
    let cast = cloud.cast();
    let principal = text(body, "application_id").unwrap_or(&cast.principal.application_id);
    let identity = text(body, "identity").unwrap_or(&cast.powerbi.object_id);
    let on = || body["on"].as_bool();
    Some(match what {
        "delete-secret" => cloud.person_deletes_secret(text(body, "id")?),
        "delete-dataset" => cloud.delete_dataset(text(body, "id")?),
        "delete-source" => cloud.delete_source(text(body, "id")?),
        "set-owner" => cloud.set_owner(text(body, "dataset")?, text(body, "owner")?),
        "repoint" => cloud.repoint(text(body, "source")?, text(body, "host")?, text(body, "warehouse")?),
        "write-credential" => {
            cloud.person_writes_credential(text(body, "source")?, text(body, "username")?, text(body, "password")?)
        }
        "set-can-use" => cloud.set_warehouse_level(text(body, "warehouse")?, principal, on()?.then_some(Level::CanUse)),
        "gateway-admin" => cloud.set_gateway_admin(text(body, "gateway")?, identity, on()?),
        "enter-code" => cloud.person_enters_code(text(body, "user_code")?, body["approved"].as_bool()?),
        "declines" => {
            cloud.person_declines(on()?);
            true
        }
        "signed-out" => {
            cloud.person_is_signed_out();
            true
        }
        "scanner" => {
            let scanner = if on()? { Scanner::Open } else { Scanner::Closed { status: 401 } };
            cloud.configure(|settings| settings.scanner = scanner);
            true
        }
        "leave-group" => cloud.leave_group(text(body, "group")?, identity),
        _ => return None,
    })
}

const MONTH: u64 = 30 * 24 * 60 * 60;
