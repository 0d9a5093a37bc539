//! Makes a service's words fit to be shown: one line, short, and without anything that looks like a secret.

/// Characters of a shown message.
pub const MESSAGE_CHARS_MAX: usize = 300;

const MASK: &str = "[redacted]";
/// A run this long next to a word about secrets is taken for one.
const SECRET_CHARS_MIN: usize = 20;
/// Words on either side of which a long run is taken for a secret.
const SECRET_WORDS: [&str; 11] =
    ["secret", "password", "passwd", "pwd", "token", "key", "credential", "signature", "sig", "bearer", "authorization"];
/// How far back such a word may stand.
const WORDS_BACK: usize = 4;

/// `text` in one line of at most [`MESSAGE_CHARS_MAX`] characters, secrets masked.
pub fn message(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(4 * MESSAGE_CHARS_MAX));
    let mut recent: Vec<&str> = Vec::new();
    let mut gap_start = 0;
    // Reading stops well behind the cut, so that a huge body costs nothing and a masked run is still seen whole.
    let text = &text[..text.floor_char_boundary(64 * 1024)];
    for (start, end) in runs(text) {
        let (gap, run) = (&text[gap_start..start], &text[start..end]);
        shown.push_str(gap);
        let suspicious = recent.iter().rev().take(WORDS_BACK).any(|word| is_secret_word(word));
        let assigned = recent.last().is_some_and(|word| is_secret_word(word)) && is_assignment(gap, run);
        shown.push_str(if is_secret(run, suspicious) || assigned { MASK } else { run });
        recent.push(run);
        gap_start = end;
    }
    shown.push_str(&text[gap_start..]);
    shorten(&one_line(&shown))
}

/// The byte ranges of unbroken runs of characters that secrets are made of.
fn runs(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(is_run_char)?;
        let end = text[start..].find(|c| !is_run_char(c)).map_or(text.len(), |length| start + length);
        rest = end;
        Some((start, end))
    })
}

fn is_run_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/' | '~')
}

fn is_secret_word(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|secret| word.contains(secret))
}

fn is_assignment(gap: &str, run: &str) -> bool {
    let gap = gap.trim_matches([' ', '"', '\'', '\\']);
    gap == "=" || (gap == ":" && run.len() >= 8 && run.contains(|c: char| c.is_ascii_digit()))
}

fn is_secret(run: &str, suspicious: bool) -> bool {
    let long = run.len() >= SECRET_CHARS_MIN;
    let mixed = run.contains(|c: char| c.is_ascii_digit()) && run.contains(|c: char| c.is_ascii_alphabetic());
    let known = ["eyJ", "dose", "dapi", "dkea"].iter().any(|prefix| {
        run.match_indices(prefix).any(|(at, _)| {
            run.len() - at >= SECRET_CHARS_MIN && (*prefix == "eyJ" || run[at..].contains(|c: char| c.is_ascii_digit()))
        })
    });
    let entra = run.len() >= 30 && run.contains('~');
    known || entra || (suspicious && long && mixed && uuid::Uuid::try_parse(run).is_err())
}

fn one_line(text: &str) -> String {
    let visible = |c: char| {
        if c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            ' '
        } else {
            c
        }
    };
    let text: String = text.chars().map(visible).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= MESSAGE_CHARS_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MESSAGE_CHARS_MAX - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        let table = [
            ("bad eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "bad [redacted]"),
            ("Bearer=eyJhbGciOiJSUzI1NiJ9.e30.c2ln!", "Bearer=[redacted]!"),
            ("dose1234567890abcdef1234567890abcdef is wrong", "[redacted] is wrong"),
            ("dapi0123456789abcdef0123456789abcdef", "[redacted]"),
            ("client_secret=hunter2&x=1", "client_secret=[redacted]&x=1"),
            (r#"{"password":"hunter2hunter2"}"#, r#"{"password":"[redacted]"}"#),
            ("the secret 0123456789abcdef0123 is unknown", "the secret [redacted] is unknown"),
            ("app secret abc8Q~aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "app secret [redacted]"),
        ];
        for (text, expected) in table {
            assert_eq!(message(text), expected);
        }
    }

    #[test]
    fn ids_and_plain_words_stay() {
        for text in [
            "Service principal with application ID 2c8e3c1e-8a3c-4f5e-9a7c-1f2e3d4c5b6a already exists.",
            "Token is expiring within 30 seconds. (token expired)",
            "invalid_client: the token was refused",
            "SQL warehouse 1234567890abcdef does not exist",
            "AADSTS7000215: Invalid client secret provided",
        ] {
            assert_eq!(message(text), text);
        }
    }

    #[test]
    fn a_message_is_one_short_line() {
        assert_eq!(message("a\r\n\tb\u{1b}[31mc"), "a b [31mc");
        let long = message(&"word ".repeat(10_000));
        assert_eq!(long.chars().count(), MESSAGE_CHARS_MAX);
        assert!(long.ends_with('…'));
    }

    proptest! {
        #[test]
        fn any_text_is_made_showable(text in "\\PC{0,400}|(?s).{0,400}") {
            let shown = message(&text);
            prop_assert!(shown.chars().count() <= MESSAGE_CHARS_MAX);
            prop_assert!(!shown.contains(char::is_control));
        }

        #[test]
        fn a_planted_token_never_survives(before in "(?s).{0,40}", token in "(eyJ[A-Za-z0-9_-]{20,60}|dose[0-9a-f]{32}1)", after in "(?s).{0,40}") {
            let shown = message(&format!("{before} {token} {after}"));
            prop_assert!(!shown.contains(&token));
        }
    }
}
