//! A secret value. It has no `Display`, no `Serialize`, and its `Debug` is a placeholder, so that it can only leave by
//! [`Secret::reveal`], whose callers are counted by `clippy.toml` (each states its reason).

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

/// A password, client secret, token or key; clones share its memory. Equality is deliberately absent: compare in constant time
/// where needed.
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl Secret {
    /// Takes ownership of the value; the memory is wiped when the last clone is dropped.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Arc::new(SecretString::from(value.into())))
    }

    /// The value itself, for the wire or a store. Calling this elsewhere is a review stop (`clippy.toml`).
    pub fn reveal(&self) -> &str {
        #[expect(clippy::disallowed_methods, reason = "the one place where a secret leaves its wrapper")]
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
