//! Finds the stable words in Rust sources: error codes where an error or a problem is made, and environment variables. It
//! reads tokens, so that comments, line breaks and the rest of a message make no difference.

use std::collections::BTreeSet;

/// What was found in all files.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) codes: BTreeSet<String>,
    /// Files that make an error whose code is not a literal there.
    pub(super) unresolved: BTreeSet<String>,
    pub(super) variables: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

use Token::{Mark, Text, Word};

/// Files whose tuples pair a code with what to do.
const TABLES: [&str; 2] = ["shared/src/http/failure.rs", "shared/src/targets/failure.rs"];

impl Found {
    pub(super) fn add(&mut self, file: &str, source: &str) {
        let tokens = tokens(without_tests(source));
        for (at, token) in tokens.iter().enumerate() {
            let (before, after) = (&tokens[..at], &tokens[at + 1..]);
            match token {
                Text(text) if text.strip_prefix("LAKEKEY_").is_some_and(|rest| rest.chars().all(is_upper)) => {
                    self.variables.insert(text.clone());
                }
                Mark('(') if makes_error(before) => self.argument(file, &tokens, after, 0),
                Mark('(') if file.contains("/config/") && places_problem(before) => self.argument(file, &tokens, after, 1),
                Mark('(') if TABLES.contains(&file) => self.codes.extend(pair(after)),
                Word(word) if word == "code" => {
                    if let [Mark(':'), Text(code), ..] = after
                        && is_code(code)
                    {
                        self.codes.insert(code.clone());
                    }
                }
                Word(word) if word == "ErrorKind" => {
                    // Also `io::ErrorKind`, which a sentence follows.
                    if let [Mark(':'), Mark(':'), Word(_), Mark(','), Text(code), ..] = after
                        && is_code(code)
                    {
                        self.codes.insert(code.clone());
                    }
                }
                Word(_) | Text(_) | Mark(_) => {}
            }
        }
    }

    /// Notes the code that is this argument of a call.
    fn argument(&mut self, file: &str, all: &[Token], arguments: &[Token], number: usize) {
        match nth(arguments, number) {
            [Text(code), ..] => drop(self.codes.insert(code.clone())),
            [Word(name), ..] if name.chars().all(is_upper) => self.codes.extend(constant(all, name)),
            [Mark('&'), Word(format), Mark('!'), Mark('('), Text(pattern), ..] if format == "format" => {
                let whats = all.windows(3).filter_map(|window| match window {
                    [Word(one), Mark('('), Text(what)] if one == "one" => Some(pattern.replace("{what}", what)),
                    _ => None,
                });
                self.codes.extend(whats);
            }
            _ => drop(self.unresolved.insert(file.to_owned())),
        }
    }
}

/// `Error::failed(` and its like, `Problem::new(`.
fn makes_error(before: &[Token]) -> bool {
    let [.., Word(class), Mark(':'), Mark(':'), Word(name)] = before else { return false };
    match class.as_str() {
        "Error" | "Self" => ["usage", "failed", "unfinished", "quarantined"].contains(&name.as_str()),
        "Problem" => name == "new",
        _ => false,
    }
}

/// `.problem(at, code, …`, `.add(at, code, …` and `unread(file, code, …` of the config.
fn places_problem(before: &[Token]) -> bool {
    match before {
        [.., Mark('.'), Word(name)] => name == "problem" || name == "add",
        [.., last, Word(name)] => name == "unread" && *last != Word("fn".to_owned()),
        _ => false,
    }
}

/// The code of `("code", …` or `("Service's code", "code", …`.
fn pair(after: &[Token]) -> Option<String> {
    match after {
        [Text(code), Mark(','), ..] if is_code(code) => Some(code.clone()),
        [Text(_), Mark(','), Text(code), Mark(','), ..] if is_code(code) => Some(code.clone()),
        _ => None,
    }
}

/// What begins with the argument of this number.
fn nth(arguments: &[Token], number: usize) -> &[Token] {
    let (mut depth, mut left) = (0, number);
    for (at, token) in arguments.iter().enumerate() {
        if left == 0 {
            return &arguments[at..];
        }
        match token {
            Mark('(' | '[' | '{') => depth += 1,
            Mark(')' | ']' | '}') => depth -= 1,
            Mark(',') if depth == 0 => left -= 1,
            Word(_) | Text(_) | Mark(_) => {}
        }
    }
    &[]
}

fn constant(all: &[Token], wanted: &str) -> Option<String> {
    all.windows(7).find_map(|window| match window {
        [Word(keyword), Word(name), Mark(':'), Mark('&'), Word(_), Mark('='), Text(value)]
            if keyword == "const" && name == wanted =>
        {
            Some(value.clone())
        }
        _ => None,
    })
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

fn is_upper(c: char) -> bool {
    c.is_ascii_uppercase() || c == '_'
}

/// Tests stand last in a file.
fn without_tests(source: &str) -> &str {
    let starts = source.match_indices("#[cfg(test)]").map(|(at, _)| at);
    let module = |at: &usize| source[*at..].lines().nth(1).is_some_and(|line| line.contains("mod ") && line.ends_with('{'));
    starts.into_iter().find(module).map_or(source, |at| &source[..at])
}

fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        at += match rest {
            ['/', '/', ..] => until(rest, &['\n']),
            ['/', '*', ..] => until(rest, &['*', '/']) + 2,
            ['r', '"', ..] => raw(rest, 1, &['"'], &mut tokens),
            ['r', '#', '"', ..] => raw(rest, 2, &['"', '#'], &mut tokens),
            ['"', ..] => text(rest, &mut tokens),
            // Characters, and not lifetimes.
            ['\'', '\\', _, ..] => 3 + until(&rest[3..], &['\'']) + 1,
            ['\'', _, '\'', ..] => 3,
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                let word: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                let length = word.chars().count();
                tokens.push(Word(word));
                length
            }
            [c, ..] => {
                tokens.extend((!c.is_whitespace()).then_some(Mark(*c)));
                1
            }
            [] => 1,
        };
    }
    tokens
}

fn until(chars: &[char], end: &[char]) -> usize {
    chars.windows(end.len()).position(|window| window == end).unwrap_or(chars.len())
}

fn raw(chars: &[char], open: usize, close: &[char], tokens: &mut Vec<Token>) -> usize {
    let body = &chars[open + 1..];
    let length = until(body, close);
    tokens.push(Text(body[..length.min(body.len())].iter().collect()));
    open + 1 + length + close.len()
}

fn text(chars: &[char], tokens: &mut Vec<Token>) -> usize {
    let mut length = 1;
    while length < chars.len() && chars[length] != '"' {
        length += if chars[length] == '\\' { 2 } else { 1 };
    }
    tokens.push(Text(chars[1..length.min(chars.len())].iter().collect()));
    length + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, source: &str) -> Found {
        let mut found = Found::default();
        found.add(file, source);
        found
    }

    fn codes(file: &str, source: &str) -> Vec<String> {
        found(file, source).codes.into_iter().collect()
    }

    #[test]
    fn constructors_are_seen_over_lines_and_past_comments() {
        let source = r#"
            // Error::failed("in-a-comment", "x")
            fn f<'a>(x: &'a str) -> char { Problem::new(
                "on-two-lines", // and Problem::new("also-no", "y")
                format!("`{x}`, \"Error::failed(\""),
            ); Self::quarantined("by-self", m); ServiceProblem::new("not-ours", "z"); '"' }
            fn g() { Error::unfinished(LOST, "l"); Error::usage(
                "fourth", "a, b") }
            const LOST: &str = "from-a-constant";
            #[cfg(test)]
            mod tests;
            fn h() { Error::failed("after-a-test-module-elsewhere", "x") }
            #[cfg(test)]
            mod inline {
                fn t() { Error::failed("of-a-test", "x") }
            }"#;
        let expected = ["after-a-test-module-elsewhere", "by-self", "fourth", "from-a-constant", "on-two-lines"];
        assert_eq!(codes("shared/src/a.rs", source), expected);
        assert!(found("shared/src/a.rs", source).unresolved.is_empty());
    }

    #[test]
    fn codes_of_the_config_are_the_second_argument() {
        let source = r#"
            self.problem(place.key("name").at(), "bad-grant", message, "x");
            problems.add(Position { line: 1, column: 2 }, "yaml-syntax", "m", "h");
            return Err(unread(file, "config-too-large", "m", "h"));
            ConfigProblem { code: "bad-allowed-hosts".to_owned() };"#;
        assert_eq!(
            codes("shared/src/config/x.rs", source),
            ["bad-allowed-hosts", "bad-grant", "config-too-large", "yaml-syntax"]
        );
        assert_eq!(codes("shared/src/other.rs", source), ["bad-allowed-hosts"]);
    }

    #[test]
    fn tables_tuples_and_patterns_are_seen() {
        let source =
            r#"match x { A => ("timeout", "h"), B => ("GatewayOffline", "gateway-unreachable", H), C => ("Not a code", 1) }"#;
        assert_eq!(codes("shared/src/http/failure.rs", source), ["gateway-unreachable", "timeout"]);
        assert_eq!(codes("shared/src/a.rs", r#"(ErrorKind::Failed, "state-unavailable", "h")"#), ["state-unavailable"]);
        let source = r#"one("gateway", x); one("dataset", y); Problem::new(&format!("{what}-not-found"), "m")"#;
        assert_eq!(codes("shared/src/a.rs", source), ["dataset-not-found", "gateway-not-found"]);
    }

    #[test]
    fn a_code_that_is_no_literal_is_not_passed_over() {
        let found = found("shared/src/a.rs", r#"Problem::new(&code, "m"); env.get("LAKEKEY_X_Y"); "LAKEKEY_ is a prefix""#);
        assert_eq!(found.unresolved, ["shared/src/a.rs".to_owned()].into());
        assert_eq!(found.variables, ["LAKEKEY_X_Y".to_owned()].into());
    }
}
