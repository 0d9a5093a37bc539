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
    /// Any.
    Present,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A text that begins so.
    Begins(&'static str),
}

const fn row(path: &'static str, used: Use, feature: &'static str) -> Row {
    Row { path, used, feature }
}

const ROWS: &[Row] = &[
    row("state", Use::Begins("az:"), "state on Azure Blob storage"),
    row("state.url", Use::Begins("az:"), "state on Azure Blob storage"),
    row("state.key", Use::Begins("akv:"), "reading from Key Vault"),
    row("identities.*.token", Use::Begins("akv:"), "reading from Key Vault"),
    row("identities.*.client_id", Use::Begins("akv:"), "reading from Key Vault"),
    row("identities.*.client_secret", Use::Begins("akv:"), "reading from Key Vault"),
    row("identities.*.tenant_id", Use::Begins("akv:"), "reading from Key Vault"),
    row("identities.*.credential", Use::Present, "signing in as a credential that lakekey keeps"),
    row("identities.*.auth", Use::OneOf(&["external-browser", "databricks-oauth"]), "`auth: external-browser`"),
    row("identities.*.auth", Use::OneOf(&["databricks-cli"]), "`auth: databricks-cli`"),
    row("identities.*.auth", Use::OneOf(&["azure-client-certificate"]), "`auth: azure-client-certificate`"),
    row("identities.*.auth", Use::OneOf(&["azure-browser", "azure-oauth"]), "`auth: azure-browser`"),
    row("identities.*.auth", Use::OneOf(&["azure-device-code"]), "`auth: azure-device-code`"),
    row("identities.*.auth", Use::OneOf(&["azure-cli"]), "`auth: azure-cli`"),
    row("identities.*.auth", Use::OneOf(&["azure-msi"]), "`auth: azure-msi`"),
    row("identities.*.auth", Use::OneOf(&["azure-workload-identity"]), "`auth: azure-workload-identity`"),
    row("identities.*.auth", Use::OneOf(&["azure-default"]), "`auth: azure-default`"),
    row("identities.*.auth", Use::OneOf(&["env-oidc"]), "`auth: env-oidc`"),
    row("identities.*.auth", Use::OneOf(&["file-oidc"]), "`auth: file-oidc`"),
    row("identities.*.auth", Use::OneOf(&["aws-web-identity"]), "`auth: aws-web-identity`"),
    row("credentials.*.store", Use::Begins("akv:"), "a store in Key Vault"),
    row("credentials.*.copies.*", Use::Begins("akv:"), "a copy in Key Vault"),
];

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
            Self::Present => true,
            Self::OneOf(words) => node.text().is_some_and(|text| words.contains(&text)),
            Self::Begins(start) => node.text().is_some_and(|text| text.starts_with(start)),
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
