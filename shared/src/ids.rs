//! Names and ids as types, parsed once. They are plain strings on the wire and in the journal, and cheap to clone: the state
//! of a rotation, which has thousands of them, is copied for each entry.

mod shared;

use std::fmt;
use std::sync::LazyLock;

use arcstr::ArcStr;
use schemars::JsonSchema;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use shared::Texts;

macro_rules! string_id {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, ToSchema)]
        #[schema(value_type = String)]
        pub struct $name(#[schemars(with = "String")] ArcStr);

        impl $name {
            /// Wraps a value that the caller has checked or that came from the service itself.
            pub fn new(value: impl AsRef<str>) -> Self {
                Self(Self::texts().shared(value.as_ref()))
            }

            /// A table for each kind: one for all would have room for twice as many as there are.
            fn texts() -> &'static Texts {
                static TEXTS: LazyLock<Texts> = LazyLock::new(Texts::default);
                &TEXTS
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(SharedIn(Self::texts())).map(Self)
            }
        }
    )+};
}

struct SharedIn(&'static Texts);

impl Visitor<'_> for SharedIn {
    type Value = ArcStr;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ArcStr, E> {
        Ok(self.0.shared(text))
    }
}

string_id! {
    /// The name of a credential in the config.
    CredentialName;
    /// The name of an identity in the config.
    IdentityName;
    /// The id of an OAuth secret at Databricks; opaque, not secret.
    SecretId;
    /// The numeric SCIM id of a service principal, kept as text (it exceeds 53 bits).
    ServicePrincipalId;
    /// The application (client) id of a service principal: a UUID in lower case.
    ApplicationId;
    /// The id of a Databricks account: a UUID in lower case.
    AccountId;
    /// The id of a SQL warehouse.
    WarehouseId;
    /// The id of a Power BI workspace ("group").
    GroupId;
    /// The id of a Power BI dataset (semantic model); text, not always a UUID.
    DatasetId;
    /// The id of a gateway (cluster), or of the virtual gateway of a cloud data source.
    GatewayId;
    /// The id of a data source; equals the id of its Fabric connection.
    DatasourceId;
    /// `powerbi:GATEWAYID/DATASOURCEID`, else `fabric:CONNECTIONID`.
    TargetId;
    /// One process that may hold a lease: host name, process id and a random part.
    RunnerId;
    /// What a service says of many things alike: the name of a workspace or a dataset, an owner, a host, an HTTP path.
    Text;
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl<T: AsRef<str>> From<T> for Text {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new("")
    }
}

impl TargetId {
    /// The id of a target that Power BI knows by gateway and data source.
    pub fn powerbi(gateway: &GatewayId, datasource: &DatasourceId) -> Self {
        Self::new(format!("powerbi:{gateway}/{datasource}"))
    }

    /// The same wherever the gateway is known, be it a virtual one; else the id of a connection.
    pub fn of(gateway: Option<&GatewayId>, datasource: &DatasourceId) -> Self {
        match gateway {
            Some(gateway) => Self::powerbi(gateway, datasource),
            None => Self::new(format!("fabric:{datasource}")),
        }
    }
}

/// One minted secret of a credential, counted 1, 2, 3….
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(transparent)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Databricks workspace: scheme, lower-case host and port, no path. `https`, or `http` on loopback.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Workspace(String);

impl Workspace {
    /// Normalises what users and consoles write: adds `https://`, drops path, query, `:443` and a trailing slash.
    pub fn parse(text: &str) -> Result<Self, String> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = url::Url::parse(&with_scheme).map_err(|error| format!("`{text}` is not a workspace address: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a workspace address has no user or password in it".to_owned());
        }
        match (url.scheme(), url.host_str()) {
            ("https" | "http", Some(host)) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                Ok(Self(format!("{}://{}{port}", url.scheme(), host.to_ascii_lowercase())))
            }
            _ => Err(format!("`{text}` is not a workspace address: expected `https://HOST`")),
        }
    }

    /// `https://host[:port]`, ready to have a path appended.
    pub fn base(&self) -> &str {
        &self.0
    }

    /// `host[:port]`, as data sources name it.
    pub fn host(&self) -> &str {
        self.0.split_once("://").map_or(self.0.as_str(), |(_, host)| host)
    }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}
