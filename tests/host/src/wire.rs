//! One request over one connection of HTTP/1.1, as it is.

use std::net::SocketAddr;

use anyhow::Context;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Sends `request` and reads the whole answer.
pub(crate) async fn send(address: SocketAddr, request: Request<Body>) -> anyhow::Result<Response<Bytes>> {
    let stream = TcpStream::connect(address).await.context("the handler refuses connections")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = to_bytes(Body::new(body), ANSWER_BYTES_MAX).await?;
        // Ends the connection, which is driven beside this.
        drop(sender);
        anyhow::Ok(Response::from_parts(head, body))
    };
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

/// `body` in pieces, so that nobody says beforehand how long it is.
pub(crate) fn in_chunks(body: &[u8]) -> Body {
    let pieces: Vec<_> = body.chunks(CHUNK_BYTES).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
    Body::from_stream(futures::stream::iter(pieces))
}

const CHUNK_BYTES: usize = 1_000;
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
