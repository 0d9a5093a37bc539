//! What the handler says and does when it can't be started as it is set up.

use std::collections::BTreeMap;

use lakekey_bench::unpack;
use lakekey_host::{Host, Stream};

use super::handler;

/// An instance with these settings.
async fn started(settings: &[(&str, &str)]) -> Result<Host, String> {
    let app = tempfile::tempdir().unwrap();
    unpack(handler(), app.path()).unwrap();
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let fixed = [("LAKEKEY_SCHEDULE", "0 0 * * * *"), ("AzureWebJobsStorage__accountName", "account")];
    let settings: BTreeMap<String, String> =
        settings.chain(fixed.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect();
    Host::start(app.path(), &settings).await.map_err(|error| error.to_string())
}

/// What the host is told of a process that has ended, before or after it was found to be there.
async fn refused(settings: &[(&str, &str)]) -> String {
    match started(settings).await {
        Ok(mut host) => host.ended().await.unwrap(),
        Err(said) => said,
    }
}

#[tokio::test]
async fn a_broken_config_ends_the_process_so_that_it_is_started_again_and_says_why() {
    let nothing = refused(&[]).await;
    assert!(nothing.contains("and would be started again") && nothing.contains("lakekey.yaml"), "{nothing}");

    let planted = "dose-0123456789abcdef";
    let broken = format!("version: 2\nstate: file:x\nidentities: {{ a: {{ auth: pat, token: {planted} }} }}\n");
    let said = refused(&[("LAKEKEY_CONFIG", &broken)]).await;
    assert!(said.contains("and would be started again") && said.contains("LAKEKEY_CONFIG:1:"), "{said}");
    assert!(said.lines().any(|line| line.starts_with('{') && line.contains("\"level\":\"ERROR\"")), "{said}");
    assert!(!said.contains(planted), "{said}");
}

#[tokio::test]
async fn what_would_end_with_the_machine_is_refused() {
    let on_disk = "version: 1\nstate: file:state\nidentities: { a: { auth: pat, token: env:TOKEN } }\n\
        credentials: { c: { workspace: 'https://adb-1.1.azuredatabricks.net', identity: a, service_principal: p, store: 'file:store.json' } }\n";
    let said = refused(&[("LAKEKEY_CONFIG", on_disk)]).await;
    assert!(said.contains("file-on-platform") && said.contains("az://"), "{said}");
}

#[tokio::test]
async fn the_host_is_answered_although_nothing_answers_the_handler() {
    let silent = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let identity = format!("http://{}/token", silent.local_addr().unwrap());
    let host = started(&[
        ("LAKEKEY_CONFIG", "az://account/config/lakekey.yaml"),
        ("IDENTITY_ENDPOINT", &identity),
        ("IDENTITY_HEADER", "header"),
    ])
    .await
    .unwrap();
    let (asked, _) = silent.accept().await.unwrap();
    assert!(host.lines().iter().all(|line| line.stream == Stream::Stdout), "{:?}", host.lines());
    drop(asked);
}
