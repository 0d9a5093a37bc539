mod azure;
mod broker;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Request;
use jiff::SignedDuration;

use super::*;
use crate::clients::oauth::TokenAnswer;
use crate::config::env_vars::Environment;
use crate::config::reference::Reference;
use crate::config::{PlainOrReference, Proof};
use crate::http::testing::{Reply, Scripted, WORKSPACE, endpoints, reply};
use crate::http::{Call, Effect, Service, json};

fn workspace() -> Workspace {
    Workspace::parse(WORKSPACE).unwrap()
}

fn databricks() -> Audience {
    Audience::Databricks(workspace())
}

fn m2m(secret: Reference) -> Auth {
    Auth::OauthM2m { client_id: PlainOrReference::Plain("App-Id".to_owned()), client_secret: secret }
}

fn entra(tenant: Option<&str>) -> Auth {
    Auth::AzureApplication {
        tenant_id: tenant.map(|tenant| PlainOrReference::Plain(tenant.to_owned())),
        client_id: PlainOrReference::Plain("App-Id".to_owned()),
        proof: Proof::Secret(Reference::Env("SECRET".to_owned())),
    }
}

fn identities(script: &Arc<Scripted>, auths: &[(&str, Auth)]) -> Identities {
    identities_in(script, auths, &[("SECRET", "s3cret")])
}

fn identities_in(script: &Arc<Scripted>, auths: &[(&str, Auth)], variables: &[(&str, &str)]) -> Identities {
    let environment: Environment = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let named = auths.iter().map(|(name, auth)| {
        let name = IdentityName::new(*name);
        (name.clone(), Arc::new(Identity { name, auth: auth.clone(), workspace_resource: None }))
    });
    let secrets = Arc::new(SecretReader::new(environment));
    Identities(Arc::new(Inner {
        identities: named.collect(),
        ambient: Arc::new(ambient()),
        kept: BTreeMap::new(),
        endpoints: endpoints(),
        home: Some(workspace()),
        sources: Sources { secrets, storage: Arc::new(crate::http::testing::Nowhere), sign_ins: None },
        http: script.http(),
        skew: Duration::from_secs(120),
        slots: Mutex::default(),
        keepers: AtomicUsize::new(0),
    }))
}

fn signer(script: &Arc<Scripted>, auth: Auth, audience: &Audience) -> Signer {
    identities(script, &[("me", auth)]).signer(&IdentityName::new("me"), audience).unwrap()
}

/// Hands out `token-1`, `token-2`… with this life.
fn issuer(expires_in: u64) -> impl FnMut(&Request<bytes::Bytes>) -> Reply + Send {
    let mut count = 0;
    move |_| {
        count += 1;
        reply(200, &[], &format!(r#"{{"access_token":"token-{count}","token_type":"Bearer","expires_in":{expires_in}}}"#))
    }
}

async fn value(signer: &Signer) -> String {
    signer.token().await.unwrap().reveal().to_owned()
}

async fn get(script: &Arc<Scripted>, signer: &Signer) -> Result<http::Response<bytes::Bytes>, crate::http::HttpError> {
    let request = json::request(http::Method::POST, &format!("{WORKSPACE}/api/x"));
    let call =
        Call { service: Service::Databricks, what: "try", request, signer: Some(signer), effect: Effect::Once, not_after: None };
    script.http().send(call).await
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_share_one_token_request() {
    let script = Scripted::new().always(issuer(3600));
    let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
    let tokens = futures::future::join_all((0..100).map(|_| value(&signer))).await;
    assert!(tokens.iter().all(|token| token == "token-1"));
    let seen = script.seen();
    assert_eq!(script.lines(), [format!("POST {WORKSPACE}/oidc/v1/token")]);
    assert_eq!(seen[0].body, "grant_type=client_credentials&scope=all-apis");
    assert_eq!(seen[0].authorization, Some(format!("Basic {}", STANDARD.encode("App-Id:s3cret"))));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_share_one_refusal() {
    let script = Scripted::new().always(|_| reply(400, &[], r#"{"error":"invalid_scope"}"#));
    let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
    let outcomes = futures::future::join_all((0..100).map(|_| signer.token())).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(script.seen().len(), 1);
    assert!(signer.token().await.is_err());
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_ahead_of_its_expiry() {
    let script = Scripted::new().always(issuer(3600));
    let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
    assert_eq!(value(&signer).await, "token-1");
    script.clock().advance(SignedDuration::from_mins(39));
    assert_eq!(value(&signer).await, "token-1");
    script.clock().advance(SignedDuration::from_mins(1));
    assert_eq!(value(&signer).await, "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_falls_back_to_the_token_that_still_works() {
    let mut issue = issuer(3600);
    let script = Scripted::new().then(move |request| issue(request)).always(|_| reply(400, &[], r#"{"error":"invalid_scope"}"#));
    let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
    assert_eq!(value(&signer).await, "token-1");
    script.clock().advance(SignedDuration::from_mins(45));
    assert_eq!(value(&signer).await, "token-1");
    assert_eq!(value(&signer).await, "token-1");
    assert_eq!(script.seen().len(), 2, "the next renewal waits a minute");
    script.clock().advance(SignedDuration::from_mins(14));
    assert!(signer.token().await.is_err(), "less than a minute is left");
}

#[tokio::test(start_paused = true)]
async fn a_slow_renewal_does_not_hold_up_its_caller() {
    let mut issue = issuer(3600);
    let script = Scripted::new().then(move |request| issue(request)).always(|_| reply(503, &[("retry-after", "60")], ""));
    let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
    assert_eq!(value(&signer).await, "token-1");
    script.clock().advance(SignedDuration::from_mins(45));
    let before = script.clock().now();
    assert_eq!(value(&signer).await, "token-1");
    assert!(script.clock().now().duration_since(before) <= SignedDuration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_token_too_short_to_use_is_an_error() {
    let script = Scripted::new().always(issuer(45));
    let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
    assert_eq!(signer.token().await.unwrap_err().code(), "short-token");
}

#[tokio::test(start_paused = true)]
async fn expiry_is_judged_by_the_servers_clock() {
    let now = "2026-03-01T00:00:00Z".parse().unwrap();
    let ahead = "2026-03-01T00:10:00Z".parse().unwrap();
    let exp: Timestamp = "2026-03-01T00:30:00Z".parse().unwrap();
    let clock = crate::clock::Clock::runtime(now);
    let answer = |date, expires_in, expires_at| TokenAnswer {
        value: Secret::new("t"),
        expires_in,
        expires_at,
        refresh_token: None,
        asked: now,
        received: clock.moment(),
        date,
    };
    let life = cache::life(&answer(Some(ahead), None, None), Some(exp)).unwrap();
    assert_eq!((life.expires, life.skew), (exp, SignedDuration::from_mins(10)));
    let hour = Some(Duration::from_secs(3600));
    let life = cache::life(&answer(Some(ahead), hour, None), None).unwrap();
    assert_eq!(life.expires, "2026-03-01T01:10:00Z".parse().unwrap());
    assert_eq!(life.expires_here(), "2026-03-01T01:00:00Z".parse().unwrap());
    assert_eq!(cache::life(&answer(None, hour, Some(exp)), None).unwrap().expires, exp);
    assert_eq!(cache::life(&answer(None, None, None), None), None);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_replaced_once_and_the_call_sent_again() {
    let expiring = r#"{"error_code":403,"message":"Token is expiring within 30 seconds. (token expired)"}"#;
    for (status, body) in [(401, ""), (403, expiring)] {
        let mut issue = issuer(3600);
        let script = Scripted::new().always(move |request| match request.headers()["authorization"].to_str().unwrap() {
            "Bearer token-1" => reply(status, &[], body),
            "Bearer token-2" => reply(200, &[], "{}"),
            _ => issue(request),
        });
        let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
        get(&script, &signer).await.unwrap();
        assert_eq!(script.seen().len(), 4, "token, refusal, token, answer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_rejection_is_the_answer() {
    let mut issue = issuer(3600);
    let script = Scripted::new().always(move |request| match request.uri().path() {
        "/api/x" => reply(401, &[], ""),
        _ => issue(request),
    });
    let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
    let error = get(&script, &signer).await.unwrap_err();
    assert_eq!((error.status(), error.attempts), (Some(http::StatusCode::UNAUTHORIZED), 2));
    assert_eq!(script.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn many_rejections_of_one_token_reload_it_once() {
    let script = Scripted::new().always(issuer(3600));
    let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
    let rejected = signer.token().await.unwrap();
    futures::future::join_all((0..50).map(|_| signer.reload(&rejected))).await;
    assert_eq!(script.seen().len(), 2);
    assert_eq!(value(&signer).await, "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_refused_secret_is_read_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let path = file.path().to_owned();
    let script = Scripted::new()
        .then(move |_| {
            std::fs::write(&path, "new\r\n").unwrap();
            reply(401, &[], r#"{"error":"invalid_client"}"#)
        })
        .always(issuer(3600));
    let signer = signer(&script, m2m(Reference::File(file.path().to_owned())), &databricks());
    assert_eq!(value(&signer).await, "token-1");
    let basic = |secret: &str| Some(format!("Basic {}", STANDARD.encode(format!("App-Id:{secret}"))));
    let used: Vec<_> = script.seen().into_iter().map(|seen| seen.authorization).collect();
    assert_eq!(used, [basic("old"), basic("new")]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_refused_twice_is_an_error_that_hides_it() {
    let script = Scripted::new().always(|_| reply(401, &[], r#"{"error":"invalid_client","error_description":"no"}"#));
    let signer = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks());
    let error = signer.token().await.unwrap_err();
    assert_eq!(error.code(), "sign-in-refused");
    assert!(!format!("{error:?}").contains("s3cret"));
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn entra_gets_each_audience_its_scope() {
    let script = Scripted::new().always(issuer(3600));
    let identities = identities(&script, &[("me", entra(Some("63ed0c61-9a0b-4c3f-8a63-0e4f8d6a1b2c")))]);
    for audience in [databricks(), Audience::PowerBi, Audience::Fabric] {
        identities.signer(&IdentityName::new("me"), &audience).unwrap().token().await.unwrap();
    }
    let seen = script.seen();
    let url = "POST https://login.microsoftonline.com/63ed0c61-9a0b-4c3f-8a63-0e4f8d6a1b2c/oauth2/v2.0/token";
    assert!(seen.iter().all(|seen| seen.line == url && seen.authorization.is_none()));
    assert!(seen[0].body.ends_with("scope=2ff814a6-3304-4ab8-85cb-cd0e6f879c1d%2F.default"), "{}", seen[0].body);
    assert!(seen[1].body.contains("client_id=App-Id&client_secret=s3cret&scope=https%3A%2F%2Fanalysis"));
    assert!(seen[2].body.contains("api.fabric.microsoft.com"));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_found_from_the_workspace() {
    let to = "https://login.microsoftonline.com/63ed0c61-9a0b-4c3f-8a63-0e4f8d6a1b2c/oauth2/authorize?x=y";
    let script = Scripted::new().then(move |_| reply(302, &[("location", to)], "")).always(issuer(3600));
    assert_eq!(value(&signer(&script, entra(None), &Audience::PowerBi)).await, "token-1");
    assert_eq!(script.lines()[0], format!("GET {WORKSPACE}/aad/auth"));
    assert!(script.lines()[1].contains("/63ed0c61-9a0b-4c3f-8a63-0e4f8d6a1b2c/"));
    let script = Scripted::new().json(404, "").json(404, "");
    assert_eq!(signer(&script, entra(None), &databricks()).token().await.unwrap_err().code(), "no-tenant");
    let script = Scripted::new().then(|_| reply(302, &[("location", "https://login.evil.example/contoso.com/")], ""));
    assert_eq!(signer(&script, entra(None), &databricks()).token().await.unwrap_err().code(), "no-tenant");
}

#[tokio::test(start_paused = true)]
async fn databricks_sign_ins_are_for_databricks_only() {
    let script = Scripted::new();
    let pat = Auth::Pat { token: Reference::Env("SECRET".to_owned()) };
    let identities = identities(&script, &[("pat", pat), ("m2m", m2m(Reference::Env("SECRET".to_owned())))]);
    for name in ["pat", "m2m"] {
        let error = identities.signer(&IdentityName::new(name), &Audience::Fabric).err().unwrap();
        assert_eq!((error.code(), error.kind()), ("wrong-audience", crate::error::ErrorKind::Usage));
    }
    assert_eq!(identities.signer(&IdentityName::new("x"), &Audience::Fabric).err().unwrap().code(), "unknown-identity");
    let signer = identities.signer(&IdentityName::new("pat"), &databricks()).unwrap();
    assert_eq!(value(&signer).await, "s3cret");
    assert!(script.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_known_by_its_token_and_its_config() {
    let claims = URL_SAFE_NO_PAD.encode(r#"{"appid":"App-Id","oid":"OBJECT","upn":"Me@Contoso.com"}"#);
    let body = format!(r#"{{"access_token":"e30.{claims}.s","expires_in":"3600"}}"#);
    let script = Scripted::new().always(move |_| reply(200, &[], &body));
    let signer = signer(&script, entra(Some("contoso.com")), &Audience::PowerBi);
    assert_eq!(signer.known_as().await.unwrap(), ["app-id", "me@contoso.com", "object"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_may_be_kept_in_another_workspace() {
    let kept = Reference::Databricks {
        workspace: workspace(),
        scope: "my scope".to_owned(),
        key: "key".to_owned(),
        identity: IdentityName::new("pat"),
    };
    let pat = Auth::Pat { token: Reference::Env("SECRET".to_owned()) };
    let value_body = format!(r#"{{"key":"key","value":"{}"}}"#, STANDARD.encode("from-scope"));
    let script = Scripted::new().json(200, &value_body).always(issuer(3600));
    let all = identities(&script, &[("pat", pat.clone()), ("me", m2m(kept.clone()))]);
    assert_eq!(value(&all.signer(&IdentityName::new("me"), &databricks()).unwrap()).await, "token-1");
    assert_eq!(script.lines()[0], format!("GET {WORKSPACE}/api/2.0/secrets/get?scope=my%20scope&key=key"));
    assert_eq!(script.seen()[1].authorization, Some(format!("Basic {}", STANDARD.encode("App-Id:from-scope"))));
    let refusal = r#"{"error_code":"BAD_REQUEST","message":"This operation is not allowed outside databricks notebooks."}"#;
    let script = Scripted::new().json(400, refusal);
    let all = identities(&script, &[("pat", pat), ("me", m2m(kept))]);
    let error = all.signer(&IdentityName::new("me"), &databricks()).unwrap().token().await.unwrap_err();
    assert_eq!(error.code(), "secret-notebook-only");
    assert!(error.problem().hint.as_ref().unwrap().contains("env:NAME"));
}

#[tokio::test]
async fn missing_secrets_are_named() {
    let script = Scripted::new();
    let all = identities(&script, &[]);
    let empty = tempfile::NamedTempFile::new().unwrap();
    for reference in [
        Reference::Env("ABSENT".to_owned()),
        Reference::File("/nonexistent/secret".into()),
        Reference::File(empty.path().to_owned()),
    ] {
        let error = all.0.sources.secrets.read(&reference, &all).await.unwrap_err();
        assert_eq!(error.code(), "secret-missing");
        assert!(error.problem().hint.is_some());
    }
}

/// START is 00:00:00; an answer takes ten milliseconds, and the header has whole seconds.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_by_more_than_the_skew_is_refused() {
    for (date, allowed) in [
        ("Sat, 28 Feb 2026 23:57:58 GMT", false),
        ("Sat, 28 Feb 2026 23:57:59 GMT", true),
        ("Sun, 01 Mar 2026 00:00:00 GMT", true),
        ("Sun, 01 Mar 2026 00:02:01 GMT", true),
        ("Sun, 01 Mar 2026 00:02:02 GMT", false),
    ] {
        let answer = r#"{"access_token":"token","token_type":"Bearer","expires_in":3600}"#;
        let script = Scripted::new().always(move |_| reply(200, &[("date", date)], answer));
        let token = signer(&script, m2m(Reference::Env("SECRET".to_owned())), &databricks()).token().await;
        match token {
            Ok(_) => assert!(allowed, "{date}"),
            Err(error) => assert!(!allowed && error.code() == "clock-wrong", "{date}: {error}"),
        }
    }
}
