//! Secret references: where a value is, never the value. Errors never quote the text, which may be a secret written in
//! the wrong place.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::place::VaultSecret;
use crate::ids::{IdentityName, Workspace};

/// Where a secret value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`, absolute.
    File(PathBuf),
    /// `akv:VAULT/NAME[/VERSION]`, `awssm:NAME-OR-ARN[#json-key]`
    Vault(VaultSecret),
    /// `databricks:HOST/SCOPE/KEY?identity=NAME`
    Databricks {
        /// The workspace.
        workspace: Workspace,
        /// The secret scope.
        scope: String,
        /// The key in it.
        key: String,
        /// Who reads it.
        identity: IdentityName,
    },
}

/// Why a text is no usable reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceError {
    /// It has none of the known schemes: most likely the secret itself.
    Inline,
    /// It has a known scheme and another form than this.
    Malformed(&'static str),
}

/// Every form of a reference, for hints.
pub(super) const FORMS: &str = "`env:NAME`, `file:PATH`, `akv:VAULT/NAME[/VERSION]`, `awssm:NAME-OR-ARN[#json-key]` or `databricks:HOST/SCOPE/KEY?identity=NAME`";

/// Schemes of references.
const SCHEMES: [&str; 5] = ["env:", "file:", "akv:", "awssm:", "databricks:"];

impl Reference {
    /// Parses a reference; relative paths are taken from `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ReferenceError> {
        let Some((scheme, body)) = text.split_once(':').filter(|_| has_scheme(text)) else {
            return Err(ReferenceError::Inline);
        };
        match scheme {
            "env" => parse_env(body).ok_or(ReferenceError::Malformed("env:NAME")),
            "file" => absolute(body, base).map(Self::File).ok_or(ReferenceError::Malformed("file:PATH")),
            "databricks" => parse_databricks(body).ok_or(ReferenceError::Malformed("databricks:HOST/SCOPE/KEY?identity=NAME")),
            "akv" => VaultSecret::key_vault(body).map(Self::Vault).ok_or(ReferenceError::Malformed("akv:VAULT/NAME[/VERSION]")),
            _ => VaultSecret::secrets_manager(body)
                .map(Self::Vault)
                .ok_or(ReferenceError::Malformed("awssm:NAME-OR-ARN[#json-key]")),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Vault(secret) => write!(f, "{secret}"),
            Self::Databricks { workspace, scope, key, identity } => {
                write!(f, "databricks:{}/{scope}/{key}?identity={identity}", workspace.host())
            }
        }
    }
}

/// Whether a text has the scheme of a reference, and so is not meant as a plain value.
pub(super) fn has_scheme(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

/// Joins a path to `base` and resolves `.` and `..` by their spelling, so that one place has one name.
pub(super) fn absolute(path: &str, base: &Path) -> Option<PathBuf> {
    if path.trim().is_empty() || path.contains('\0') {
        return None;
    }
    let mut clean = PathBuf::new();
    for component in base.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(component),
        }
    }
    Some(clean)
}

fn parse_env(name: &str) -> Option<Reference> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    (starts_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .then(|| Reference::Env(name.to_owned()))
}

fn parse_databricks(body: &str) -> Option<Reference> {
    let (place, identity) = body.split_once("?identity=")?;
    let mut parts = place.rsplitn(3, '/');
    let (key, scope, host) = (parts.next()?, parts.next()?, parts.next()?);
    if !is_name(scope) || !is_name(key) || !is_name(identity) || host.is_empty() {
        return None;
    }
    let workspace = Workspace::parse(host).ok()?;
    Some(Reference::Databricks { workspace, scope: scope.to_owned(), key: key.to_owned(), identity: IdentityName::new(identity) })
}

/// What Databricks allows in the names of scopes and keys, and lakekey in names of its own.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text, Path::new("/etc/lakekey"))
    }

    #[test]
    fn references_parse_and_print_alike() {
        for text in [
            "env:DBX_SECRET",
            "file:/run/secrets/x",
            "akv:vault/name/0a1b",
            "awssm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:x#password",
            "databricks:adb-1.7.azuredatabricks.net/scope/key?identity=dbx-admin",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("file:../a/./b").unwrap(), Reference::File("/etc/a/b".into()));
        let Reference::Databricks { workspace, .. } = parse("databricks:http://127.0.0.1:90/s/k?identity=me").unwrap() else {
            panic!()
        };
        assert_eq!(workspace.base(), "http://127.0.0.1:90");
    }

    #[test]
    fn anything_else_is_an_error_of_its_kind() {
        for text in ["", "dose0123", "abc:def", "ENV:X", "env", "https://x"] {
            assert_eq!(parse(text), Err(ReferenceError::Inline), "{text}");
        }
        for text in [
            "env:",
            "env:1A",
            "env:A B",
            "file:",
            "databricks:s/k?identity=x",
            "databricks:h/s/k",
            "akv:vault",
            "akv:a/b/c/d",
            "awssm:",
        ] {
            assert!(matches!(parse(text), Err(ReferenceError::Malformed(_))), "{text}");
        }
    }
}
