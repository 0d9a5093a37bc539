//! The transport as object stores want it. An error's body is cut down to its code and message before it is kept: S3 repeats
//! the session token in some (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, `ExpiredToken`, `SignatureDoesNotMatch`).

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};

use super::{NotCarried, SdkTransport};
use crate::http::redact;
use crate::http::transport::{BodyLimit, TransportError};

/// Bytes of an object that is read, and some room for headers of a listing.
const OBJECT_BYTES_MAX: usize = 33 << 20;

impl HttpConnector for SdkTransport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for SdkTransport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        parts.extensions.insert(BodyLimit(OBJECT_BYTES_MAX));
        let answer = self.carry(http::Request::from_parts(parts, body)).await.map_err(failed)?;
        let succeeded = answer.status().is_success();
        Ok(answer.map(|body| if succeeded { body.into() } else { said(&body).into() }))
    }
}

fn failed(error: NotCarried) -> HttpError {
    let kind = match &error {
        NotCarried::ForbiddenHost(_) | NotCarried::Transport(TransportError::TooLarge { .. }) => HttpErrorKind::Unknown,
        NotCarried::Transport(TransportError::NotSent(_)) => HttpErrorKind::Connect,
        NotCarried::Transport(TransportError::Timeout(_)) => HttpErrorKind::Timeout,
        NotCarried::Transport(TransportError::Ambiguous(_)) => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error)
}

/// What an error in XML says in `Code` and `Message`.
fn said(body: &Bytes) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(ERROR_BYTES_MAX)]);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inner, _)| redact::message(inner))
    };
    [element("Code"), element("Message")].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

const ERROR_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_and_message_and_nothing_else() {
        let body = "<?xml version=\"1.0\"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>\
            <Token-0>IQoJb3JpZ2luX2VjEXAMPLE</Token-0><RequestId>4442</RequestId></Error>";
        assert_eq!(said(&Bytes::from(body)), "ExpiredToken: The provided token has expired.");
        assert_eq!(said(&Bytes::from_static(b"<html>IQoJb3JpZ2luX2VjEXAMPLE</html>")), "");
    }
}
