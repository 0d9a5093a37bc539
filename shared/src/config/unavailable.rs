//! What the config's language has and this version can't do yet. Using it is an error that says so, instead of a silent
//! difference between what is written and what happens. To make a feature available, delete its row.

use super::problem::Problems;
use super::tree::Node;

/// A use of a feature: where in the document, when, and the feature's name.
struct Row {
    /// Keys from the root; `*` is every key or item.
    path: &'static str,
    used: Use,
    feature: &'static str,
}

/// Which values at a path use the feature.
enum Use {
    /// One of these words.
    OneOf(&'static [&'static str]),
}

const fn row(path: &'static str, used: Use, feature: &'static str) -> Row {
    Row { path, used, feature }
}

const ROWS: &[Row] = &[row("identities.*.auth", Use::OneOf(&["aws-web-identity"]), "`auth: aws-web-identity`")];

/// Notes every use of a feature that is not available.
pub(super) fn check(document: &Node, problems: &mut Problems) {
    for row in ROWS {
        let path: Vec<&str> = row.path.split('.').collect();
        visit(document, &path, &mut |node| {
            if row.used.by(node) {
                let message = format!("this version of lakekey does not have {} yet", row.feature);
                problems.add(node.at, "not-available-yet", message, "remove it, or use a later version");
            }
        });
    }
}

impl Use {
    fn by(&self, node: &Node) -> bool {
        match self {
            Self::OneOf(words) => node.text().is_some_and(|text| words.contains(&text)),
        }
    }
}

fn visit(node: &Node, path: &[&str], seen: &mut impl FnMut(&Node)) {
    match path {
        [] => seen(node),
        ["*", rest @ ..] => {
            node.entries().map(|(_, child)| child).chain(node.items()).for_each(|child| visit(child, rest, seen));
        }
        [key, rest @ ..] => {
            if let Some(child) = node.get(key) {
                visit(child, rest, seen);
            }
        }
    }
}
