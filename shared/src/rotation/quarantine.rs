//! What a quarantined credential tells people beside its reason: what is safe meanwhile, and the exact command to go on. Pure.

use crate::error::Problem;
use crate::ids::CredentialName;

/// The reason of a quarantine, with what is safe and what to run.
pub fn told(name: &CredentialName, mut problem: Problem) -> Problem {
    let hint = problem.hint.take().unwrap_or_else(|| "see the runbook".to_owned());
    let go_on = match problem.code.as_str() {
        // Decided where the rotation is known; the commands are in the hint.
        "canary-failed" | "value-lost" | "strays-unrecognisable" => None,
        "journal-missing" => Some(format!(
            "then run `lakekey rotate {name}`; if it is lost for good, `lakekey rotate {name} --force` starts a new one, which adopts the stored secret and leaves every other secret alone as foreign"
        )),
        _ if hint.contains("`--force`") => Some(format!("run `lakekey rotate {name} --force`")),
        _ => Some(format!("then run `lakekey rotate {name}`")),
    };
    let go_on = go_on.map(|go_on| format!("; {go_on}")).unwrap_or_default();
    problem.hint(format!(
        "{hint}{go_on}. Meanwhile every data source keeps the secret that it holds, until that expires, and nothing is deleted under it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::journal::{BrokenReason, JournalError};

    #[test]
    fn every_reason_says_what_is_safe_and_which_command_goes_on() {
        let name = CredentialName::new("sales-bi");
        let broken = |reason| Error::from(JournalError::Broken { seq: 3, reason }).problem().clone();
        let forced = [broken(BrokenReason::Unsigned), Problem::new("journal-missing", "m").hint("restore it")];
        let others = [
            broken(BrokenReason::Chain),
            broken(BrokenReason::Signature),
            broken(BrokenReason::Version(9)),
            Problem::new("journal-mismatch", "m").hint("restore the state"),
            Problem::new("store-corrupt", "m").hint("restore the value"),
            Problem::new("store-slot-occupied", "m"),
        ];
        for (problem, command) in forced
            .into_iter()
            .map(|problem| (problem, "`lakekey rotate sales-bi --force`"))
            .chain(others.into_iter().map(|problem| (problem, "`lakekey rotate sales-bi`")))
        {
            let told = told(&name, problem);
            let hint = told.hint.as_deref().unwrap();
            assert!(hint.contains(command) && hint.contains("keeps the secret that it holds"), "{told:?}");
            assert!(!hint.contains("`lakekey rotate`") && !hint.contains("`lakekey rotate --force`"), "{told:?}");
        }
    }
}
