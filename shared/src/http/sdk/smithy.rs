//! The transport as the SDKs of AWS want it.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use super::{NotCarried, SdkTransport};
use crate::http::transport::TransportError;

impl HttpClient for SdkTransport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SdkTransport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move { this.exchange(request).await })
    }
}

impl SdkTransport {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let (parts, body) = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?.into_parts();
        // The calls that lakekey makes all have their body in memory.
        let body = body.bytes().map(Bytes::copy_from_slice).ok_or_else(|| ConnectorError::user("a body that streams".into()))?;
        let answer = self.carry(http::Request::from_parts(parts, body)).await.map_err(failed)?;
        HttpResponse::try_from(answer.map(SdkBody::from)).map_err(|error| ConnectorError::other(error.into(), None))
    }
}

fn failed(error: NotCarried) -> ConnectorError {
    match error {
        NotCarried::ForbiddenHost(_) => ConnectorError::user(error.into()),
        NotCarried::Transport(TransportError::NotSent(_)) => ConnectorError::io(error.into()).never_connected(),
        NotCarried::Transport(TransportError::Timeout(_)) => ConnectorError::timeout(error.into()),
        NotCarried::Transport(TransportError::Ambiguous(_)) => ConnectorError::io(error.into()),
        NotCarried::Transport(TransportError::TooLarge { .. }) => ConnectorError::other(error.into(), None),
    }
}
