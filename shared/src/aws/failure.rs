//! How a call of an AWS SDK fails, in the words of every other call: the same codes and hints. AWS answers most refusals with
//! 400 and a code of its own, which is told by the status that it means. Nothing of the SDK's error is kept but its code and message:
//! the rest may hold the request or the answer.

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use http::StatusCode;

use crate::http::problem::ServiceProblem;
use crate::http::sdk::NotCarried;
use crate::http::transport::TransportError;
use crate::http::{Failure, HttpError};

/// What came of `what`, which was asked of `service`.
pub fn failure<E: ProvideErrorMetadata>(what: &'static str, service: &str, error: SdkError<E, HttpResponse>) -> HttpError {
    let failure = match &error {
        SdkError::ServiceError(answer) => {
            let (code, message) = (answer.err().code().unwrap_or_default(), answer.err().message().unwrap_or_default());
            let status = StatusCode::from_u16(answer.raw().status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
            let mut problem = ServiceProblem::new(code, message);
            problem.request_id = answer.raw().headers().get("x-amzn-requestid").map(str::to_owned);
            Failure::Answer { status: meant(code, status), problem, retry_after: None }
        }
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Failure::Ambiguous(None),
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => not_sent(&error),
        // A later version of the SDK may know more ways.
        _ => Failure::Ambiguous(None),
    };
    HttpError { what, target: format!("POST {service}"), failure, attempts: 1, earlier_may_land: false }
}

/// What a code means, where the status does not say it.
/// (docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html)
fn meant(code: &str, status: StatusCode) -> StatusCode {
    match code {
        "AccessDeniedException" | "AccessDenied" | "OptInRequired" => StatusCode::FORBIDDEN,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "MissingAuthenticationToken" => StatusCode::UNAUTHORIZED,
        "ThrottlingException" | "Throttling" | "RequestLimitExceeded" | "TooManyRequestsException" => {
            StatusCode::TOO_MANY_REQUESTS
        }
        "ResourceNotFoundException" => StatusCode::NOT_FOUND,
        _ => status,
    }
}

/// The transport's own word is among the causes; where there is none, the credentials could not be had.
fn not_sent<E>(error: &SdkError<E, HttpResponse>) -> Failure {
    let dispatch = if let SdkError::DispatchFailure(failure) = error { failure.as_connector_error() } else { None };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = dispatch.map(|error| error as _);
    while let Some(found) = cause {
        match found.downcast_ref::<NotCarried>() {
            Some(NotCarried::ForbiddenHost(_)) => return Failure::ForbiddenHost,
            Some(NotCarried::Transport(TransportError::NotSent(_))) => {
                return Failure::NotSent(TransportError::NotSent("no connection".into()));
            }
            Some(NotCarried::Transport(TransportError::Timeout(after))) => {
                return Failure::Ambiguous(Some(TransportError::Timeout(*after)));
            }
            Some(NotCarried::Transport(TransportError::TooLarge { limit })) => {
                return Failure::Ambiguous(Some(TransportError::TooLarge { limit: *limit }));
            }
            Some(NotCarried::Transport(TransportError::Ambiguous(_))) => return Failure::Ambiguous(None),
            None => cause = found.source(),
        }
    }
    let error = crate::error::Error::failed("aws-credentials", "no AWS credentials could be had")
        .hint("give the function or machine a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    Failure::SignIn(Box::new(error))
}
