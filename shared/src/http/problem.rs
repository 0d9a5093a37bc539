//! The error dialects of the services, read into one shape.

/// What a service's error body said; free of values that could be secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceProblem {
    /// The service's own code, in its spelling.
    pub code: Option<String>,
    /// Its message, shortened and redacted.
    pub message: Option<String>,
    /// The request id to quote to the vendor.
    pub request_id: Option<String>,
}
