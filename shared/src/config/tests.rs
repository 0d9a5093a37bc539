//! The config as users meet it: documents in, configs or located problems out. In the documents of these tests `▶` marks
//! where the next expected problem stands.

mod loading;
mod problems;
mod whole;

use std::path::Path;

use super::env_vars::{ALLOWED_HOSTS, CONFIG, Environment};
use super::{Config, ConfigProblem, ConfigSource};

/// A small valid document; tests replace parts of it.
const SMALL: &str = "\
version: 1
state: file:.lakekey
identities:
  dbx: { auth: oauth-m2m, client_id: abc, client_secret: env:DBX }
  pbi: { auth: azure-client-secret, tenant_id: t, client_id: c, client_secret: env:PBI }
credentials:
  sales:
    workspace: https://adb-1.7.azuredatabricks.net
    identity: dbx
    service_principal: pbi-sales
    store: file:sales.json
    targets:
      identity: pbi
      select: [{ workspace: Sales, dataset: Orders }]
";

fn load(document: &str) -> Result<Config, Vec<ConfigProblem>> {
    load_with(document, "")
}

fn load_with(document: &str, allowed_hosts: &str) -> Result<Config, Vec<ConfigProblem>> {
    let environment =
        [(CONFIG, document), (ALLOWED_HOSTS, allowed_hosts)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::load(&ConfigSource::Environment, &environment.into_iter().collect::<Environment>(), Path::new("/etc/lakekey"))
}

/// `SMALL` with one part replaced.
fn small(part: &str, replacement: &str) -> String {
    assert!(SMALL.contains(part), "{part}");
    SMALL.replacen(part, replacement, 1)
}

/// Loads a document and expects these codes at its marks, in order, and nothing else.
#[track_caller]
fn expect(marked: &str, codes: &[&str]) -> Vec<ConfigProblem> {
    let document = marked.replace('▶', "");
    let problems = load(&document).map(|_| Vec::new()).unwrap_or_else(|problems| problems);
    let found: Vec<(u32, u32, &str)> =
        problems.iter().map(|problem| (problem.line, problem.column, problem.code.as_str())).collect();
    let wanted: Vec<(u32, u32, &str)> =
        marks(marked).into_iter().zip(codes).map(|((line, column), code)| (line, column, *code)).collect();
    assert_eq!(marks(marked).len(), codes.len(), "marks and codes");
    assert_eq!(found, wanted, "{document}\n{problems:#?}");
    assert!(problems.iter().all(|problem| problem.file == CONFIG && problem.hint.is_some()));
    problems
}

fn marks(marked: &str) -> Vec<(u32, u32)> {
    let mut marks = Vec::new();
    for (line, text) in marked.lines().enumerate() {
        let mut column = 1;
        for character in text.chars() {
            if character == '▶' { marks.push((line as u32 + 1, column)) } else { column += 1 }
        }
    }
    marks
}
