//! Places in the clouds, as the config names them: folders and objects in object stores, secrets in vaults. If one of these
//! exists, its form is what the service allows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A folder or an object in an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectPlace {
    /// `s3://bucket/path`.
    S3 {
        /// The bucket.
        bucket: String,
        /// The path in it, without slashes at its ends; may be empty.
        path: String,
    },
    /// `az://account/container/path`.
    AzureBlob {
        /// The storage account.
        account: String,
        /// The container.
        container: String,
        /// The path in it, without slashes at its ends; may be empty.
        path: String,
    },
}

impl ObjectPlace {
    /// Parses an address; `None` if it is not a whole one.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
            let path = path_of(path).filter(|_| is_bucket(bucket))?;
            return Some(Self::S3 { bucket: bucket.to_owned(), path });
        }
        let (account, rest) = text.strip_prefix("az://")?.split_once('/')?;
        let (container, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path_of(path).filter(|_| is_account(account) && is_container(container))?;
        Some(Self::AzureBlob { account: account.to_owned(), container: container.to_owned(), path })
    }

    /// The path in the bucket or container.
    pub fn path(&self) -> &str {
        match self {
            Self::S3 { path, .. } | Self::AzureBlob { path, .. } => path,
        }
    }
}

impl fmt::Display for ObjectPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, .. } => write!(f, "s3://{bucket}")?,
            Self::AzureBlob { account, container, .. } => write!(f, "az://{account}/{container}")?,
        }
        if self.path().is_empty() { Ok(()) } else { write!(f, "/{}", self.path()) }
    }
}

/// The name or the ARN of a secret in AWS Secrets Manager.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AwsSecretName(String);

impl AwsSecretName {
    /// Parses a name of up to 512 letters, digits and `/_+=.@-`, or an ARN.
    pub fn parse(text: &str) -> Option<Self> {
        let name = match text.strip_prefix("arn:") {
            None => text,
            Some(rest) => {
                let parts: Vec<&str> = rest.splitn(6, ':').collect();
                let [partition, "secretsmanager", region, account, "secret", name] = parts[..] else { return None };
                let is_word =
                    |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                let whole = is_word(partition) && is_word(region) && account.len() == 12 && is_word(account);
                if whole { name } else { return None }
            }
        };
        let fits = (1..=512).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte));
        fits.then(|| Self(text.to_owned()))
    }

    /// The region that an ARN names.
    pub fn region(&self) -> Option<&str> {
        self.0.strip_prefix("arn:")?.split(':').nth(2)
    }

    /// As the API takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AwsSecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret in Azure Key Vault. Both names are compared by the service without regard to case; the vault's is kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyVaultName {
    /// The vault, without the service's suffix.
    pub vault: String,
    /// The secret in it.
    pub secret: String,
}

impl KeyVaultName {
    /// Parses `VAULT/NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        let (vault, secret) = text.split_once('/')?;
        let is_name = |text: &str, length_max: usize| {
            (1..=length_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let fits = is_name(vault, 24) && vault.len() >= 3 && is_name(secret, SECRET_CHARS_MAX);
        fits.then(|| Self { vault: vault.to_ascii_lowercase(), secret: secret.to_owned() })
    }
}

impl fmt::Display for KeyVaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.vault, self.secret)
    }
}

/// A secret in a vault, as a reference names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultSecret {
    /// `akv:VAULT/NAME[/VERSION]`.
    KeyVault {
        /// Which secret.
        name: KeyVaultName,
        /// Which version; the current one if none is named.
        version: Option<String>,
    },
    /// `awssm:NAME-OR-ARN[#json-key]`.
    SecretsManager {
        /// Which secret.
        name: AwsSecretName,
        /// The field of its JSON that is meant; the whole value if none is named.
        key: Option<String>,
    },
}

impl VaultSecret {
    /// Parses what follows `akv:`.
    pub fn key_vault(body: &str) -> Option<Self> {
        let mut parts = body.splitn(3, '/');
        let (vault, secret, version) = (parts.next()?, parts.next()?, parts.next());
        let is_version =
            |text: &str| !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let name = KeyVaultName::parse(&format!("{vault}/{secret}"))?;
        version.is_none_or(is_version).then(|| Self::KeyVault { name, version: version.map(str::to_owned) })
    }

    /// Parses what follows `awssm:`.
    pub fn secrets_manager(body: &str) -> Option<Self> {
        let (name, key) = body.split_once('#').map_or((body, None), |(name, key)| (name, Some(key)));
        let name = AwsSecretName::parse(name)?;
        key.is_none_or(|key| !key.is_empty()).then(|| Self::SecretsManager { name, key: key.map(str::to_owned) })
    }
}

impl fmt::Display for VaultSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, sign, part) = match self {
            Self::KeyVault { name, version } => (format!("akv:{name}"), '/', version),
            Self::SecretsManager { name, key } => (format!("awssm:{name}"), '#', key),
        };
        match part {
            Some(part) => write!(f, "{text}{sign}{part}"),
            None => f.write_str(&text),
        }
    }
}

/// The parts of a path, without slashes at its ends; none may be empty, `.` or `..`.
fn path_of(text: &str) -> Option<String> {
    let path = text.trim_end_matches('/');
    let is_part =
        |part: &str| !matches!(part, "" | "." | "..") && !part.contains(|c: char| c.is_control() || "?#%\\".contains(c));
    (path.is_empty() || (path.len() <= PATH_BYTES_MAX && path.split('/').all(is_part))).then(|| path.to_owned())
}

/// (docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)
fn is_bucket(text: &str) -> bool {
    (3..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
        && !text.contains("..")
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

fn is_account(text: &str) -> bool {
    (3..=24).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn is_container(text: &str) -> bool {
    (3..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// Room for the journal's own names below it: keys have at most 1,024 bytes.
const PATH_BYTES_MAX: usize = 512;
/// Ends the name of the Key Vault secret whose versions are the staged values of a store.
pub const STAGED_SUFFIX: &str = "-next";
/// What Key Vault allows.
const SECRET_CHARS_MAX: usize = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_parse_and_print_alike() {
        for text in ["s3://bucket", "s3://my.bucket-1/a/b c", "az://account1/box", "az://account1/my-box/a/b"] {
            assert_eq!(ObjectPlace::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(ObjectPlace::parse("s3://bucket/a/").unwrap().to_string(), "s3://bucket/a");
        for text in ["akv:my-vault/name", "akv:my-vault/name/0123abcd"] {
            assert_eq!(VaultSecret::key_vault(&text[4..]).unwrap().to_string(), text);
        }
        for text in
            ["awssm:a/b", "awssm:a#k", "awssm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:a/b-X1y2z3#client secret"]
        {
            assert_eq!(VaultSecret::secrets_manager(&text[6..]).unwrap().to_string(), text);
        }
        let name = AwsSecretName::parse("arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:x").unwrap();
        assert_eq!(name.region(), Some("cn-north-1"));
        assert_eq!(AwsSecretName::parse("a/b").unwrap().region(), None);
        assert_eq!(KeyVaultName::parse("My-Vault/Name").unwrap().to_string(), "my-vault/Name");
    }

    #[test]
    fn what_no_service_would_take_does_not_parse() {
        for text in [
            "s3://",
            "s3://B/x",
            "s3://bucket//x",
            "s3://bucket/../x",
            "s3://bucket/a?b",
            "az://account",
            "az://a/b/c",
            "az://acc-1/box",
        ] {
            assert_eq!(ObjectPlace::parse(text), None, "{text}");
        }
        for text in ["vault", "ab/name", "vault/", "vault/na_me", "vault/name/", "vault/name/1/2", "evil.example#/name"] {
            assert_eq!(VaultSecret::key_vault(text), None, "{text}");
        }
        for text in
            ["", "#k", "a#", "a b", "arn:aws:s3:::bucket", "arn:aws:secretsmanager:eu.evil:123456789012:secret:a", "arn:x"]
        {
            assert_eq!(VaultSecret::secrets_manager(text), None, "{text}");
        }
    }
}
