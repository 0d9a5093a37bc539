//! Secret references: where a value is, never the value.
/// Where a secret value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`, absolute.
    File(std::path::PathBuf),
    /// `databricks:HOST/SCOPE/KEY?identity=NAME`
    Databricks {
        /// The workspace.
        workspace: crate::ids::Workspace,
        /// The secret scope.
        scope: String,
        /// The key in it.
        key: String,
        /// Who reads it.
        identity: crate::ids::IdentityName,
    },
}
