//! The least that a custom handler can be: what lakekey's start is compared with.

use std::net::Ipv4Addr;

use anyhow::Context;
use axum::Router;
use axum::routing::get;

fn main() -> anyhow::Result<()> {
    let environment = lakekey_core::config::env_vars::Environment::of_process();
    let port = environment.get("FUNCTIONS_CUSTOMHANDLER_PORT").context("the host gives a port")?.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        axum::serve(listener, Router::new().route("/", get(|| async {}))).await.context("the server has ended")
    })
}
