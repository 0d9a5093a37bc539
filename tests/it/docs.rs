//! The documents say what the program does: every error code and variable is in the reference and nothing else is, the
//! README's config is one that this version accepts, and links lead somewhere.
#![expect(clippy::unwrap_used, reason = "tests panic, and so may what they share")]

mod scan;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lakekey_core::config::env_vars::Environment;
use lakekey_core::config::{Config, ConfigSource};
use scan::Found;

/// Documents whose links are followed.
const LINKED: [&str; 6] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs"];
const REFERENCE: &str = "docs/reference.md";

#[test]
fn the_reference_has_every_error_code_and_no_other() {
    let (made, told) = (sources().codes, documented(&read(REFERENCE)));
    assert!(made.len() > 100, "the scanner found only {made:?}");
    let untold: Vec<_> = made.difference(&told).collect();
    let unmade: Vec<_> = told.difference(&made).collect();
    assert!(untold.is_empty(), "not in {REFERENCE}: {untold:?}");
    assert!(unmade.is_empty(), "in {REFERENCE}, but nothing in the sources makes them: {unmade:?}");
}

#[test]
fn codes_that_are_no_literals_are_made_in_known_places_only() {
    // Each hands on a code that it was given, or that a rule of the scanner finds where it is written.
    let known = ["config/check.rs", "config/tree.rs", "error.rs", "http/failure.rs", "journal/error.rs"];
    let known: BTreeSet<String> = known.map(|file| format!("shared/src/{file}")).into();
    assert_eq!(sources().unresolved, known, "write the code as a literal, or teach the scanner where it comes from");
}

#[test]
fn the_reference_has_every_variable() {
    let reference = read(REFERENCE);
    let variables = sources().variables;
    assert!(variables.contains("LAKEKEY_CONFIG"), "{variables:?}");
    let untold: Vec<_> = variables.iter().filter(|name| !reference.contains(&format!("`{name}`"))).collect();
    assert!(untold.is_empty(), "not in {REFERENCE}: {untold:?}");
}

#[test]
fn every_whole_config_in_the_documents_is_valid() {
    let mut seen = 0;
    for path in documents() {
        for example in fenced(&read(&path), "yaml").into_iter().filter(|text| text.contains("version: 1")) {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("lakekey.yaml"), &example).unwrap();
            let source = ConfigSource::Flag("lakekey.yaml".to_owned());
            let loaded = Config::load(&source, &Environment::default(), folder.path());
            assert!(loaded.is_ok(), "{path}: {:#?}", loaded.err());
            seen += 1;
        }
    }
    assert!(seen > 0, "the README has no config");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for path in documents() {
        for link in links(&read(&path)) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let to = if file.is_empty() { path.clone() } else { beside(&path, file) };
            let there = root().join(&to).exists();
            if !there || !anchor.is_empty() && !anchors(&read(&to)).contains(anchor) {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let sources: String = ["shared", "functions", "tests"]
        .iter()
        .flat_map(|folder| files_below(&root().join(folder), "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let named: BTreeSet<String> = documents().iter().flat_map(|path| sentences(&read(path))).collect();
    assert!(!named.is_empty());
    let missing: Vec<_> = named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_way_to_sign_in_has_a_test_that_shows_it() {
    let told = ways(&read("docs/tokens.md"));
    let schema = lakekey_core::config::schema();
    let known = schema["$defs"]["AuthName"]["oneOf"].as_array().unwrap().iter().map(|kind| kind["const"].as_str().unwrap());
    let known: BTreeSet<&str> = known.chain(["credential"]).collect();
    let rows = told.iter().flat_map(|(kinds, _)| kinds.iter().map(String::as_str));
    assert_eq!(rows.collect::<BTreeSet<_>>(), known);
    let shown: String =
        files_below(&root().join("tests/it"), "rs").iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for (kinds, tests) in told {
        assert!(!tests.is_empty(), "{kinds:?}: no test is named");
        assert!(tests.iter().all(|test| shown.contains(&format!("async fn {test}("))), "{kinds:?}: {tests:?}");
    }
}

#[test]
fn a_missing_code_a_dead_code_and_a_dead_link_would_show() {
    let reference =
        "| `not-a-row-yet` |\n## Error codes\n| code | meaning |\n| `slots-full` | x |\n| `gone` | y |\n## After\n| `no` |\n";
    assert_eq!(documented(reference), ["gone", "slots-full"].map(str::to_owned).into());
    assert_eq!(links("see [a](b.md#c), [web](https://example.com) and `[x](y)`"), ["b.md#c"]);
    assert_eq!(anchors("# One `two`, three\n```\n# no\n```\n"), ["one-two-three".to_owned()].into());
    assert_eq!(sentences("`a_lost_answer_shows`, `service_principal`, a_b_c_d"), ["a_lost_answer_shows"]);
    let row =
        "## Ways to sign in\n| `auth` | by |\n|---|---|\n| `a`, `b: NAME` | x `it_is_shown_here` |\n## After\n| `c` | no |\n";
    assert_eq!(ways(row), [(vec!["a".to_owned(), "b".to_owned()], vec!["it_is_shown_here".to_owned()])]);
    assert_eq!(fenced("```yaml\na: 1\n```\n```console\nb\n```\n", "yaml"), ["a: 1\n"]);
}

/// What the sources of the product make; tests and test equipment are left out.
fn sources() -> Found {
    let mut found = Found::default();
    for folder in ["shared/src", "functions"] {
        for path in files_below(&root().join(folder), "rs") {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            let is_test = ["tests.rs", "/tests/", "testing.rs"].iter().any(|part| name.contains(part));
            if !is_test {
                found.add(&name, &std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The codes in the tables below `## Error codes`.
fn documented(reference: &str) -> BTreeSet<String> {
    let section =
        reference.lines().skip_while(|line| *line != "## Error codes").skip(1).take_while(|line| !line.starts_with("## "));
    let cells = section.filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    cells.map(|(code, _)| code.to_owned()).collect()
}

/// The kinds of sign-in of each row of their table, and the tests that it names.
fn ways(text: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let section =
        text.lines().skip_while(|line| *line != "## Ways to sign in").skip(1).take_while(|line| !line.starts_with("## "));
    let rows = section.filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).skip(1);
    rows.map(|(kinds, rest)| {
        let kinds = kinds.split('`').skip(1).step_by(2).map(|kind| kind.split(':').next().unwrap().to_owned());
        (kinds.collect(), sentences(rest))
    })
    .collect()
}

/// The blocks of one language.
fn fenced(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(word) = line.strip_prefix("```") {
            let block: String = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
            if word == language {
                blocks.push(block);
            }
        }
    }
    blocks
}

/// Text without code, neither in blocks nor in lines.
fn prose(text: &str) -> String {
    let mut fence = false;
    let lines = text.lines().filter(|line| {
        let border = line.starts_with("```");
        fence ^= border;
        !fence && !border
    });
    lines.flat_map(|line| line.split('`').step_by(2).chain(["\n"])).collect()
}

/// Words in code that are sentences, as the names of tests are.
fn sentences(text: &str) -> Vec<String> {
    let words = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_sentence = |word: &&str| {
        word.matches('_').count() > 2 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    words.filter(is_sentence).map(str::to_owned).collect()
}

/// Relative links.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(to, _)| to.to_owned()).filter(|to| !to.contains("://")).collect()
}

/// What a heading is called in a link.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fence = false;
    let headings = text.lines().filter(|line| {
        fence ^= line.starts_with("```");
        !fence && line.starts_with('#')
    });
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

fn documents() -> Vec<String> {
    let paths = LINKED.iter().flat_map(|name| match root().join(name) {
        folder if folder.is_dir() => files_below(&folder, "md"),
        file => vec![file],
    });
    paths.map(|path| path.strip_prefix(root()).unwrap().display().to_string()).collect()
}

fn beside(document: &str, link: &str) -> String {
    Path::new(document).parent().unwrap().join(link).display().to_string()
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_below(&path, extension)),
            false if path.extension().is_some_and(|found| found == extension) => files.push(path),
            false => {}
        }
    }
    files.sort();
    files
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
