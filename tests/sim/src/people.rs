//! People who sign in: authorization codes with PKCE, device codes and refresh tokens, at a workspace, at the account and at
//! Entra (facts §5.4, §5.5). The person is always the same; what they do in front of a browser is decided by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;
use url::Url;

use crate::clock::later;
use crate::cloud::Cloud;
use crate::fleet::PERSON;
use crate::token::Claims;
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

/// Where somebody signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Workspace(usize),
    Account,
    Entra,
}

/// What somebody has agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Consent {
    door: Door,
    client_id: String,
    scope: String,
}

struct Code {
    consent: Consent,
    redirect: String,
    challenge: String,
    expires: Timestamp,
}

struct Device {
    user_code: String,
    consent: Consent,
    expires: Timestamp,
    interval: Duration,
    asked: Option<Timestamp>,
    /// `None` until the person has entered the code.
    approved: Option<bool>,
}

#[derive(Default)]
pub(crate) struct People {
    codes: BTreeMap<String, Code>,
    devices: BTreeMap<String, Device>,
    refresh_tokens: BTreeMap<String, Consent>,
    /// The person closes the page of the browser with "no".
    declines: bool,
    /// Public clients of the tenant's own that are registered as single-page applications.
    single_page: BTreeSet<String>,
}

/// `GET …/authorize`: the person says yes or no at once, and the browser is sent back.
pub(crate) fn authorize(world: &mut World, door: Door, call: &Call) -> Answer {
    let page = |text: &str| Reply::text(400, "text/html", format!("<html><body>{text}</body></html>"));
    let field = |name: &str| call.asked(name).filter(|value| !value.is_empty());
    let client_id = field("client_id").ok_or_else(|| page("client_id is missing"))?;
    let redirect = field("redirect_uri").ok_or_else(|| page("redirect_uri is missing"))?;
    if !may_redirect(world, door, client_id, redirect) {
        return Err(page("AADSTS50011: the redirect URI does not match those of the application"));
    }
    let state = field("state").ok_or_else(|| page("state is missing"))?.to_owned();
    let back = |pairs: &[(&str, &str)]| {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Reply::empty(302).with("location", format!("{redirect}/?{query}"))
    };
    let challenge = field("code_challenge").filter(|challenge| challenge.len() == 43);
    let (Some("code"), Some("S256"), Some(challenge)) = (field("response_type"), field("code_challenge_method"), challenge)
    else {
        return Ok(back(&[("error", "invalid_request"), ("error_description", "PKCE is required"), ("state", &state)]));
    };
    if world.people.declines {
        return Ok(back(&[("error", "access_denied"), ("error_description", "The person said no"), ("state", &state)]));
    }
    let consent = Consent { door, client_id: client_id.to_owned(), scope: field("scope").unwrap_or_default().to_owned() };
    let expires = later(world.now, Duration::from_secs(600));
    let (redirect_uri, challenge) = (redirect.to_owned(), challenge.to_owned());
    let code = world.rng.hex(2);
    let reply = back(&[("code", &code), ("state", &state)]);
    world.people.codes.insert(code, Code { consent, redirect: redirect_uri, challenge, expires });
    Ok(reply)
}

/// `POST …/devicecode`, at Entra only.
pub(crate) fn device_code(world: &mut World, call: &Call) -> Answer {
    let form = call.form().ok_or_else(|| refusal("invalid_request", 900_144, "The body must be form-encoded"))?;
    let field = |name: &str| form.get(name).filter(|value| !value.is_empty());
    let client_id = field("client_id").ok_or_else(|| refusal("invalid_request", 900_144, "client_id is missing"))?;
    let scope = field("scope").ok_or_else(|| refusal("invalid_request", 900_144, "scope is missing"))?;
    if !is_registered(world, client_id) {
        return Err(refusal("unauthorized_client", 700_016, "Application was not found in the directory"));
    }
    let (device_code, user_code) = (world.rng.hex(2), world.rng.hex(1)[..9].to_uppercase());
    let (interval, life) = (world.settings.device_interval, Duration::from_secs(900));
    let body = json!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": "https://microsoft.com/devicelogin",
        "expires_in": life.as_secs(),
        // Older endpoints write it as text.
        "interval": interval.as_secs().to_string(),
        "message": format!("To sign in, open https://microsoft.com/devicelogin and enter the code {user_code}"),
    });
    let consent = Consent { door: Door::Entra, client_id: client_id.clone(), scope: scope.clone() };
    let expires = later(world.now, life);
    world.people.devices.insert(device_code, Device { user_code, consent, expires, interval, asked: None, approved: None });
    Ok(Reply::json(200, &body))
}

/// The grants of people at a token endpoint; `None` for any other.
pub(crate) fn token(world: &mut World, door: Door, call: &Call, form: &BTreeMap<String, String>) -> Option<Answer> {
    if let Err(refused) = check_origin(world, door, call, form) {
        return Some(Err(refused));
    }
    match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => Some(redeem_code(world, door, form)),
        Some("refresh_token") => Some(redeem_refresh_token(world, door, form)),
        Some("urn:ietf:params:oauth:grant-type:device_code") if door == Door::Entra => Some(redeem_device(world, form)),
        _ => None,
    }
}

/// Entra lets a browser redeem for single-page applications, and for no others.
fn check_origin(world: &World, door: Door, call: &Call, form: &BTreeMap<String, String>) -> Result<(), Reply> {
    let Some(client_id) = form.get("client_id").filter(|_| door == Door::Entra) else { return Ok(()) };
    let by_browser = call.header("origin").is_some();
    match world.people.single_page.contains(client_id) {
        true if !by_browser => {
            let text =
                "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.";
            Err(refusal("invalid_request", 9_002_327, text))
        }
        false if by_browser => {
            let text = "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type or 'Native' client-type with origin registered in AllowedOriginForNativeAppCorsRequestInOAuthToken allow list.";
            Err(refusal("invalid_request", 9_002_326, text))
        }
        true | false => Ok(()),
    }
}

fn redeem_code(world: &mut World, door: Door, form: &BTreeMap<String, String>) -> Answer {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    // A code works once, even where the rest is wrong.
    let code = world.people.codes.remove(field("code"));
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, field("code_verifier").as_bytes()));
    let good = code.filter(|code| {
        code.consent.door == door
            && code.consent.client_id == field("client_id")
            && code.redirect == field("redirect_uri")
            && code.challenge == challenge
            && (43..=128).contains(&field("code_verifier").len())
            && code.expires > world.now
    });
    let good =
        good.ok_or_else(|| refusal("invalid_grant", 70_008, "The provided authorization code is invalid or has expired"))?;
    issue(world, &good.consent, None)
}

fn redeem_refresh_token(world: &mut World, door: Door, form: &BTreeMap<String, String>) -> Answer {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let token = field("refresh_token");
    let known =
        world.people.refresh_tokens.get(token).filter(|consent| consent.door == door && consent.client_id == field("client_id"));
    let consent = known.cloned().ok_or_else(|| match door {
        Door::Entra => refusal("invalid_grant", 70_008, "The refresh token has expired or been revoked"),
        Door::Workspace(_) | Door::Account => {
            let body = json!({ "error": "invalid_request", "error_description": "Refresh token is invalid" });
            Reply::json(400, &body)
        }
    })?;
    // Databricks' may be good for one use only; Entra's last.
    if door != Door::Entra && !world.settings.refresh_token_omitted {
        world.people.refresh_tokens.remove(token);
    }
    let scope = Some(field("scope")).filter(|scope| !scope.is_empty()).map_or_else(|| consent.scope.clone(), str::to_owned);
    issue(world, &Consent { scope, ..consent }, Some(token))
}

fn redeem_device(world: &mut World, form: &BTreeMap<String, String>) -> Answer {
    let now = world.now;
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let device =
        world.people.devices.get_mut(field("device_code")).filter(|device| device.consent.client_id == field("client_id"));
    let device = device.ok_or_else(|| refusal("bad_verification_code", 70_020, "The device code is not known"))?;
    if device.expires <= now {
        return Err(refusal("expired_token", 70_020, "The device code has expired"));
    }
    let soon = device.asked.is_some_and(|asked| later(asked, device.interval) > now);
    device.asked = Some(now);
    if soon {
        device.interval += Duration::from_secs(5);
        return Err(refusal("slow_down", 70_017, "The client polls too often"));
    }
    match device.approved {
        None => Err(refusal("authorization_pending", 70_016, "The person has not signed in yet")),
        Some(false) => Err(refusal("authorization_declined", 70_018, "The person declined")),
        Some(true) => {
            let consent = device.consent.clone();
            world.people.devices.remove(field("device_code"));
            issue(world, &consent, None)
        }
    }
}

/// An access token in the person's name, and what later gets another.
fn issue(world: &mut World, consent: &Consent, before: Option<&str>) -> Answer {
    let words: Vec<&str> = consent.scope.split(' ').collect();
    let (aud, iss, scope) = match consent.door {
        Door::Workspace(index) => {
            let workspace = &world.account.workspaces[index];
            (workspace.org_id.to_string(), format!("{}/oidc", workspace.base), api_scope(&words)?)
        }
        Door::Account => (world.account.id.to_string(), crate::databricks::account_issuer(world), api_scope(&words)?),
        Door::Entra => {
            let audience =
                words.iter().find_map(|word| word.strip_suffix("/.default").or_else(|| word.strip_suffix("/user_impersonation")));
            let audience = audience.filter(|audience| crate::entra::AUDIENCES.contains(audience));
            let audience = audience.ok_or_else(|| refusal("invalid_scope", 70_011, "The scope is not valid"))?;
            (audience.to_owned(), format!("https://sts.windows.net/{}/", world.entra.tenant), "all-apis".to_owned())
        }
    };
    let life = i64::try_from(world.settings.token_life.as_secs()).unwrap_or(i64::MAX / 2);
    world.caller = Some(PERSON.to_owned());
    let claims = Claims {
        aud,
        iss,
        appid: consent.client_id.clone(),
        oid: PERSON_OID.to_owned(),
        upn: Some(PERSON.to_owned()),
        scope: scope.clone(),
        iat: world.now.as_second(),
        exp: world.now.as_second() + life,
        jti: 0,
    };
    let token = world.tokens.issue(claims);
    let mut body = json!({ "token_type": "Bearer", "expires_in": life, "scope": scope, "access_token": token });
    let renews = words.contains(&"offline_access");
    if renews && !(before.is_some() && world.settings.refresh_token_omitted) {
        let next = world.rng.hex(4);
        world.people.refresh_tokens.insert(next.clone(), consent.clone());
        body["refresh_token"] = next.into();
    }
    Ok(Reply::json(200, &body))
}

/// What remains of Databricks' scopes in the token.
fn api_scope(words: &[&str]) -> Result<String, Reply> {
    let apis: Vec<&str> = words.iter().copied().filter(|word| *word != "offline_access").collect();
    let known = !apis.is_empty() && apis.iter().all(|word| ["all-apis", "sql"].contains(word));
    known.then(|| apis.join(" ")).ok_or_else(|| Reply::json(400, &json!({ "error": "invalid_scope" })))
}

/// Which addresses an application has registered.
fn may_redirect(world: &World, door: Door, client_id: &str, redirect: &str) -> bool {
    let url = Url::parse(redirect).ok().filter(|url| url.scheme() == "http" && url.host_str() == Some("localhost"));
    let port = url.filter(|_| !redirect.ends_with('/')).and_then(|url| url.port());
    match (door, client_id, port) {
        (Door::Workspace(_) | Door::Account, "databricks-cli", Some(port)) => (8_020..=8_040).contains(&port),
        (Door::Entra, CONNECTOR, port) => port == Some(8_030),
        // Of a native app any port will do.
        (Door::Entra, client_id, Some(_)) => is_registered(world, client_id),
        _ => false,
    }
}

fn is_registered(world: &World, client_id: &str) -> bool {
    ENTRA_CLIENTS.contains(&client_id) || world.people.single_page.contains(client_id)
}

fn refusal(error: &str, code: u32, text: &str) -> Reply {
    crate::entra::refusal(400, error, code, text)
}

impl Cloud {
    /// The person enters a device code, and says yes or no; whether there is such a code.
    pub fn person_enters_code(&self, user_code: &str, approved: bool) -> bool {
        let mut world = self.lock();
        let found = world.people.devices.values_mut().find(|device| device.user_code == user_code);
        found.map(|device| device.approved = Some(approved)).is_some()
    }

    /// From now on the person says no in the browser, or yes again.
    pub fn person_declines(&self, declines: bool) {
        self.lock().people.declines = declines;
    }

    /// The tenant's admin registers a public client as a single-page application.
    pub fn register_single_page_app(&self, client_id: &str) {
        self.lock().people.single_page.insert(client_id.to_owned());
    }

    /// Entra gives up every device code that still waits.
    pub fn device_codes_expire(&self) {
        let mut world = self.lock();
        let now = world.now;
        world.people.devices.values_mut().for_each(|device| device.expires = now);
    }

    /// Somebody ends every session of the person.
    pub fn person_is_signed_out(&self) {
        self.lock().people.refresh_tokens.clear();
    }

    /// How many refresh tokens are good.
    pub fn refresh_tokens(&self) -> usize {
        self.lock().people.refresh_tokens.len()
    }

    /// Device codes that wait for the person.
    pub fn device_codes(&self) -> Vec<String> {
        self.lock()
            .people
            .devices
            .values()
            .filter(|device| device.approved.is_none())
            .map(|device| device.user_code.clone())
            .collect()
    }
}

/// The SQL connector's application.
const CONNECTOR: &str = "96eecda7-19ea-49cc-abb5-240097d554f5";
/// Public clients of Microsoft's and Databricks' own: the Azure CLI, the SQL connector.
const ENTRA_CLIENTS: [&str; 2] = ["04b07795-8ddb-461a-bbee-02f9e1bf7b46", CONNECTOR];
const PERSON_OID: &str = "5d1f0e3c-0000-4000-8000-00000000ada0";
