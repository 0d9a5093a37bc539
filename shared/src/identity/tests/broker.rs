//! The one cache: many askers, clocks that stand still or are set, renewal in the background.

use futures::FutureExt;

use super::*;

fn m2m_signer(script: &Arc<Scripted>) -> Signer {
    signer(script, m2m(Reference::Env("SECRET".to_owned())), &databricks())
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_ask_at_once_make_one_request() {
    let script = Scripted::new().always(issuer(3600));
    let signer = m2m_signer(&script);
    let tokens = futures::future::join_all((0..10_000).map(|_| signer.issued())).await;
    let expires = script.clock().now().saturating_add(SignedDuration::from_secs(3600)).unwrap();
    for issued in tokens {
        let issued = issued.unwrap();
        assert_eq!(issued.value.reveal(), "token-1");
        assert!(issued.expires_at.unwrap() <= expires, "{issued:?}");
    }
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_frozen_wakes_up_to_a_fresh_token() {
    let script = Scripted::new().always(issuer(3600));
    let signer = m2m_signer(&script);
    assert_eq!(value(&signer).await, "token-1");
    // The wall clock goes on, the steady one does not.
    script.clock().advance(SignedDuration::from_hours(8));
    assert_eq!(value(&signer).await, "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_no_token_last_longer() {
    let script = Scripted::new().always(issuer(3600));
    let signer = m2m_signer(&script);
    assert_eq!(value(&signer).await, "token-1");
    tokio::time::advance(Duration::from_secs(3590)).await;
    script.clock().advance(SignedDuration::from_mins(-50));
    assert_eq!(value(&signer).await, "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_keeper_renews_what_is_asked_for_and_nobody_waits_for_it() {
    let mut issue = issuer(3600);
    let script = Scripted::new().always(move |request| issue(request));
    let all = identities(&script, &[("me", m2m(Reference::Env("SECRET".to_owned())))]);
    let signer = all.signer(&IdentityName::new("me"), &databricks()).unwrap();
    assert_eq!(value(&signer).await, "token-1");
    let keeper = all.keep_fresh();
    tokio::pin!(keeper);
    let run = |time| tokio::time::timeout(time, std::future::pending::<()>());
    assert!(tokio::time::timeout(Duration::from_secs(41 * 60), &mut keeper).await.is_err());
    assert_eq!(script.seen().len(), 1, "nobody had asked since");
    // Due now: who asks gets the present token at once.
    assert_eq!(signer.issued().now_or_never().unwrap().unwrap().value.reveal(), "token-1");
    tokio::select! { () = &mut keeper => {}, _ = run(Duration::from_secs(30)) => {} }
    assert_eq!(signer.issued().now_or_never().unwrap().unwrap().value.reveal(), "token-2");
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_keeper_the_first_who_asks_renews() {
    let script = Scripted::new().always(issuer(3600));
    let all = identities(&script, &[("me", m2m(Reference::Env("SECRET".to_owned())))]);
    let signer = all.signer(&IdentityName::new("me"), &databricks()).unwrap();
    assert_eq!(value(&signer).await, "token-1");
    let _ = tokio::time::timeout(Duration::from_secs(5), all.keep_fresh()).await;
    script.clock().advance(SignedDuration::from_mins(45));
    assert_eq!(value(&signer).await, "token-2");
}
