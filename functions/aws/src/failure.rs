//! Why an invocation has no answer, in the form that the platform and whoever watches it read: a type that says whether
//! asking again can help, and a text without a secret.

use lakekey_core::error::{Error, ErrorKind};
use lambda_runtime::Diagnostic;

/// Why an invocation has no answer, as the runtime hands it on.
pub(crate) fn diagnostic(error: &Error) -> Diagnostic {
    let problem = error.problem();
    let error_message = match &problem.hint {
        Some(hint) => format!("{}; {hint}", problem.message),
        None => problem.message.clone(),
    };
    Diagnostic { error_type: error_type(error), error_message }
}

/// `Lakekey.Retryable.CODE` or `Lakekey.Permanent.CODE`.
pub fn error_type(error: &Error) -> String {
    let kind = if is_retryable(error) { "Retryable" } else { "Permanent" };
    format!("Lakekey.{kind}.{}", error.code())
}

/// Whether the same event may do better later, without anybody's doing.
pub(crate) fn is_retryable(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unfinished => true,
        ErrorKind::Failed => error.problem().is_passing(),
        ErrorKind::Usage | ErrorKind::Quarantined => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_says_whether_asking_again_can_help() {
        let of = |error: Error| error_type(&error);
        assert_eq!(of(Error::unfinished("lease-held", "x")), "Lakekey.Retryable.lease-held");
        assert_eq!(of(Error::failed("throttled", "x")), "Lakekey.Retryable.throttled");
        assert_eq!(of(Error::failed("principal-not-found", "x")), "Lakekey.Permanent.principal-not-found");
        assert_eq!(of(Error::usage("unknown-credential", "x")), "Lakekey.Permanent.unknown-credential");
        assert_eq!(of(Error::quarantined("journal-missing", "x")), "Lakekey.Permanent.journal-missing");
    }

    #[test]
    fn the_text_says_what_to_do() {
        let error = Error::usage("unknown-event", "what is this").hint("look");
        assert_eq!(diagnostic(&error).error_message, "what is this; look");
    }
}
