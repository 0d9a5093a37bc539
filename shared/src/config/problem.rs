//! What is wrong with a config, with its place in the file. Messages quote names and harmless values only, through
//! [`shown`]; a value from a secret's place is never quoted at all.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// One thing that is wrong with the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConfigProblem {
    /// A stable kebab-case word, listed in the reference.
    pub code: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// The file, or the environment variable that held the document.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// A place in the document: line and column from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// Collects problems, so that all are reported at once.
pub(super) struct Problems {
    file: String,
    found: Vec<ConfigProblem>,
}

impl Problems {
    pub(super) fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), found: Vec::new() }
    }

    /// Notes a problem; one place has one problem of a kind.
    pub(super) fn add(&mut self, at: Position, code: &str, message: impl Into<String>, hint: impl Into<String>) {
        let problem = ConfigProblem {
            code: code.to_owned(),
            message: message.into(),
            hint: Some(hint.into()),
            file: self.file.clone(),
            line: at.line,
            column: at.column,
        };
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// Takes over a problem that lies elsewhere than in the document.
    pub(super) fn push(&mut self, problem: ConfigProblem) {
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Everything found, in the order of the document; what lies elsewhere comes last.
    pub(super) fn into_sorted(mut self) -> Vec<ConfigProblem> {
        let own = self.file;
        self.found.sort_by_key(|problem| (problem.file != own, problem.line, problem.column));
        self.found
    }
}

/// Longest text quoted in a message, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// Shortest run of mixed letters and digits that is taken for a secret. Warehouse ids have 16, parts of UUIDs 12.
const SECRET_RUN_CHARS_MIN: usize = 20;

/// A value in backticks for a message; what looks like a secret in the wrong place is left out.
pub(super) fn shown(text: &str) -> String {
    if looks_secret(text) {
        return "`…` (not shown: it looks like a secret)".to_owned();
    }
    let mut quoted: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        quoted.push('…');
    }
    format!("`{quoted}`")
}

/// Whether a text may hold a token, key or password. Errs on the side of silence.
fn looks_secret(text: &str) -> bool {
    const MARKS: [&str; 5] = ["dose", "dapi", "whsec_", "eyj", "8q~"];
    let lower = text.to_ascii_lowercase();
    let marked = MARKS.iter().any(|mark| {
        lower.match_indices(mark).any(|(at, _)| lower[at + mark.len()..].bytes().take(8).any(|byte| byte.is_ascii_digit()))
    });
    let long_run = text.split(|character: char| !(character.is_alphanumeric() || "~_+=".contains(character))).any(|run| {
        run.chars().count() >= SECRET_RUN_CHARS_MIN
            && run.chars().any(|character| character.is_ascii_digit())
            && run.chars().any(char::is_alphabetic)
    });
    marked || long_run || (text.contains("://") && text.contains('@'))
}

/// The known name that `word` is most likely a slip of.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = 1 + word.chars().count().min(20) / 4;
    let (distance, name) = known.into_iter().map(|name| (edits(word, name), name)).min()?;
    (distance <= allowed).then_some(name)
}

/// Levenshtein distance, ignoring case; words beyond 64 characters are far from everything.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    if a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_the_wrong_place_are_not_shown() {
        for secret in [
            "dose0123456789abcdef0123456789abcdef",
            "dapi0123456789",
            "abc8Q~x1yzKQ",
            "https://me:pw@host/",
            "Zk3mQ9vT7pXw2LrB5nCd",
        ] {
            assert!(!shown(secret).contains(secret), "{secret}");
        }
        for plain in [
            "1234567890abcdef",
            "pbi-sales",
            "adb-1234567890123456.7.azuredatabricks.net",
            "2c8e7f0a-1111-4222-8333-444455556666",
            "14days",
        ] {
            assert_eq!(shown(plain), format!("`{plain}`"));
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not() {
        assert_eq!(nearest("lifetme", ["lifetime", "grace"]), Some("lifetime"));
        assert_eq!(nearest("colour", ["lifetime", "grace"]), None);
    }
}
