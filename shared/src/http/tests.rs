use jiff::SignedDuration;

use super::testing::{Scripted, WORKSPACE, refused, reply, timed_out};
use super::*;

const URL: &str = "https://adb-1.1.azuredatabricks.net/api/2.0/x?filter=hush";

fn call<'a>(effect: Effect, url: &str, signer: Option<&'a Signer>) -> Call<'a> {
    let request = json::request(http::Method::POST, url);
    Call { service: Service::Databricks, what: "try", request, signer, effect, not_after: None }
}

async fn sent(script: &Arc<Scripted>, effect: Effect) -> Result<http::Response<Bytes>, HttpError> {
    script.http().send(call(effect, URL, None)).await
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_host_is_never_contacted() {
    let script = Scripted::new();
    for url in ["https://evil.example/x", "http://adb-1.1.azuredatabricks.net/x", "not an address"] {
        let error = script.http().send(call(Effect::Repeatable, url, None)).await.unwrap_err();
        assert!(matches!(error.failure, Failure::ForbiddenHost), "{url}");
    }
    assert!(script.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_create_is_never_repeated_after_it_may_have_taken_effect() {
    for status in [408, 429, 500, 502, 503, 504] {
        let script = Scripted::new().then(move |_| reply(status, &[("retry-after", "1")], "{}"));
        let error = sent(&script, Effect::Once).await.unwrap_err();
        assert_eq!(error.may_have_taken_effect(), status != 429, "{status}");
        assert_eq!(script.seen().len(), 1, "{status}");
    }
    let script = Scripted::new().then(|_| timed_out());
    assert!(sent(&script, Effect::Once).await.unwrap_err().may_have_taken_effect());
    let script = Scripted::new().then(|_| Err(TransportError::TooLarge { limit: 1 }));
    assert!(sent(&script, Effect::Once).await.unwrap_err().may_have_taken_effect());
}

#[tokio::test(start_paused = true)]
async fn a_create_that_never_arrived_is_sent_again() {
    let script = Scripted::new().then(|_| refused()).then(|_| refused()).json(201, "{}");
    let answer = sent(&script, Effect::Once).await.unwrap();
    assert_eq!(answer.extensions().get(), Some(&Sent { attempts: 3, earlier_may_land: false }));
}

#[tokio::test(start_paused = true)]
async fn a_repeatable_call_outlasts_faults_and_says_that_one_may_land_late() {
    let script = Scripted::new().then(|_| timed_out()).json(500, "").json(429, "").json(200, "{}");
    let answer = sent(&script, Effect::Repeatable).await.unwrap();
    assert_eq!(answer.extensions().get(), Some(&Sent { attempts: 4, earlier_may_land: true }));
    let script = Scripted::new().then(|_| timed_out()).json(403, r#"{"error_code":"PERMISSION_DENIED"}"#);
    let error = sent(&script, Effect::Repeatable).await.unwrap_err();
    assert_eq!((error.code(), error.attempts), (Some("PERMISSION_DENIED"), 2));
    assert!(error.may_have_taken_effect());
}

#[tokio::test(start_paused = true)]
async fn retries_end() {
    let script = Scripted::new().always(|_| reply(503, &[], ""));
    let error = sent(&script, Effect::Repeatable).await.unwrap_err();
    assert_eq!(error.attempts, retry::ATTEMPTS_MAX);
    assert_eq!(script.seen().len(), retry::ATTEMPTS_MAX as usize);
}

#[tokio::test(start_paused = true)]
async fn nobody_sends_inside_a_retry_after() {
    let script =
        Scripted::new().json(200, "{}").then(|_| reply(429, &[("Retry-After", "30")], "")).always(|_| reply(200, &[], "{}"));
    let (http, clock) = (script.http(), script.clock());
    let signer = Signer::fixed(Secret::new("t"));
    http.send(call(Effect::Repeatable, URL, Some(&signer))).await.unwrap();
    let throttled = http.send(call(Effect::Repeatable, URL, Some(&signer)));
    let later = async {
        clock.sleep(Duration::from_secs(1)).await;
        futures::future::join_all((0..20).map(|_| http.send(call(Effect::Repeatable, URL, Some(&signer))))).await
    };
    let stranger = async {
        clock.sleep(Duration::from_secs(2)).await;
        http.send(call(Effect::Repeatable, URL, None)).await
    };
    let (first, others, stranger) = futures::join!(throttled, later, stranger);
    assert!(first.is_ok() && others.iter().all(Result::is_ok) && stranger.is_ok());
    let seen = script.seen();
    assert_eq!(seen.len(), 24);
    let refused_at = seen[1].at.checked_add(SignedDuration::from_millis(10)).unwrap();
    for request in seen[2..].iter().filter(|request| request.authorization.is_some()) {
        assert!(request.at.duration_since(refused_at) >= SignedDuration::from_secs(30), "{request:?}");
    }
    let free: Vec<_> = seen[2..].iter().filter(|request| request.authorization.is_none()).collect();
    assert!(free.len() == 1 && free[0].at.duration_since(refused_at) < SignedDuration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_budget_ends_the_call_and_is_named() {
    let script = Scripted::new().then(|_| reply(429, &[("retry-after", "600")], ""));
    let http = script.http();
    let error = http.send(call(Effect::Repeatable, URL, None)).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(600)));
    let error = http.send(call(Effect::Repeatable, URL, None)).await.unwrap_err();
    assert_eq!((error.attempts, error.code()), (0, Some("HELD")));
    assert!(error.retry_after().is_some_and(|wait| wait <= Duration::from_secs(600)));
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_lease() {
    let script = Scripted::new();
    let past = script.clock().now().checked_sub(SignedDuration::from_secs(1)).ok();
    let error = script.http().send(Call { not_after: past, ..call(Effect::Repeatable, URL, None) }).await.unwrap_err();
    assert!(matches!(error.failure, Failure::OutOfTime));
    assert!(script.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_wait_leads_past_the_lease() {
    let script = Scripted::new().then(|_| reply(429, &[("retry-after", "30")], ""));
    let not_after = script.clock().now().checked_add(SignedDuration::from_secs(20)).ok();
    let http = script.http();
    let error = http.send(Call { not_after, ..call(Effect::Repeatable, URL, None) }).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::TOO_MANY_REQUESTS));
    let error = http.send(Call { not_after, ..call(Effect::Repeatable, URL, None) }).await.unwrap_err();
    assert!(matches!(error.failure, Failure::OutOfTime));
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_lease_may_end_while_an_earlier_attempt_is_open() {
    let script = Scripted::new().always(|_| timed_out());
    let not_after = script.clock().now().checked_add(SignedDuration::from_millis(900)).ok();
    let error = script.http().send(Call { not_after, ..call(Effect::Repeatable, URL, None) }).await.unwrap_err();
    assert!(error.may_have_taken_effect(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thawed_process_looks_at_the_clock_again() {
    let clock = Scripted::new().clock();
    let thaw = clock.clone();
    let script = Scripted::new().then(move |_| {
        thaw.advance(SignedDuration::from_secs(60));
        reply(503, &[], "")
    });
    let http = Http::new(script.clone(), testing::hosts(), clock.clone(), Random::seeded(1), testing::TIMEOUT);
    let not_after = clock.now().checked_add(SignedDuration::from_secs(30)).ok();
    http.send(Call { not_after, ..call(Effect::Repeatable, URL, None) }).await.unwrap_err();
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_page_is_no_answer() {
    let page = "<!DOCTYPE html><html><title>Sign in</title></html>";
    let script = Scripted::new().then(move |_| reply(200, &[("content-type", "text/html; charset=utf-8")], page));
    let error = sent(&script, Effect::Once).await.unwrap_err();
    assert_eq!(error.code(), Some(problem::LOGIN_PAGE));
    assert!(error.may_have_taken_effect());
    assert_eq!(crate::error::Error::from(error).code(), "login-page");
}

#[tokio::test(start_paused = true)]
async fn redirects_are_not_followed_and_lose_their_query() {
    let script = Scripted::new().then(|_| reply(302, &[("location", "https://evil.example/login?code=hush")], ""));
    let error = crate::error::Error::from(sent(&script, Effect::Repeatable).await.unwrap_err());
    assert_eq!(error.code(), "redirect");
    assert!(error.to_string().contains("https://evil.example/login") && !error.to_string().contains("hush"), "{error}");
    assert_eq!(script.seen().len(), 1);
    let script = Scripted::new().then(|_| reply(302, &[("location", "/login.html?error=private-link-validation-error")], ""));
    assert_eq!(crate::error::Error::from(sent(&script, Effect::Repeatable).await.unwrap_err()).code(), "private-link");
}

#[tokio::test(start_paused = true)]
async fn no_error_shows_a_query_or_a_token() {
    let script = Scripted::new().json(400, r#"{"message":"token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln is bad"}"#);
    let signer = Signer::fixed(Secret::new("top-secret-token"));
    let error = script.http().send(call(Effect::Repeatable, URL, Some(&signer))).await.unwrap_err();
    assert_eq!(script.seen()[0].authorization.as_deref(), Some("Bearer top-secret-token"));
    let plain = format!("{error} {error:?}");
    let shown = format!("{plain} {:?}", crate::error::Error::from(error));
    assert!(!shown.contains("hush") && !shown.contains("eyJ") && !shown.contains("top-secret"), "{shown}");
    assert!(shown.contains(&WORKSPACE["https://".len()..]));
}
