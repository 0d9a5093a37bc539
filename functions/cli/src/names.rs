//! Names on the command line: each must be a credential of the config.

use lakekey_core::error::Error;
use lakekey_core::ids::CredentialName;

/// The credentials named, each once, in the order given; none means every one, and stays empty.
pub(crate) fn known(given: &[String], credentials: &[CredentialName]) -> Result<Vec<CredentialName>, Error> {
    let mut names: Vec<CredentialName> = Vec::new();
    for text in given {
        match credentials.iter().find(|name| name.as_str() == text) {
            Some(name) if names.contains(name) => {}
            Some(name) => names.push(name.clone()),
            None => return Err(unknown(text, credentials)),
        }
    }
    Ok(names)
}

fn unknown(text: &str, credentials: &[CredentialName]) -> Error {
    let error = Error::usage("unknown-credential", format!("the config has no credential `{text}`"));
    let list = credentials.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let closest = credentials
        .iter()
        .map(|name| (strsim::jaro_winkler(name.as_str(), text), name))
        .filter(|(likeness, _)| *likeness > LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match closest {
        Some((_, name)) if credentials.len() == 1 => error.hint(format!("did you mean `{name}`?")),
        Some((_, name)) => error.hint(format!("did you mean `{name}`? known names: {list}")),
        None => error.hint(format!("known names: {list}")),
    }
}

/// Below this, two names merely share letters (the value that clap uses is about the same).
const LIKENESS_MIN: f64 = 0.75;

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Vec<CredentialName> {
        ["sales-bi", "finance", "hr"].map(CredentialName::new).to_vec()
    }

    #[test]
    fn names_are_kept_in_order_and_once() {
        let given = ["hr", "sales-bi", "hr"].map(str::to_owned);
        let names = known(&given, &credentials()).expect("known");
        assert_eq!(names, ["hr", "sales-bi"].map(CredentialName::new));
        assert!(known(&[], &credentials()).expect("none is every one").is_empty());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let hint = |text: &str| known(&[text.to_owned()], &credentials()).expect_err("unknown").problem().hint.clone();
        assert_eq!(hint("sales").as_deref(), Some("did you mean `sales-bi`? known names: `sales-bi`, `finance`, `hr`"));
        assert_eq!(hint("xyz").as_deref(), Some("known names: `sales-bi`, `finance`, `hr`"));
    }
}
