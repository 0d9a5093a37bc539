//! How a connection is reached. The service may add ways at any time: one that is not known here is kept as text, shown to
//! people, and never written.

use serde::{Deserialize, Serialize};

/// How a connection is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connectivity {
    /// In a way for which its credential can be written.
    Writable(ConnectionType),
    /// Through somebody's personal gateway.
    PersonalGateway,
    /// In a way that is not known yet, has no credential of its own, or was not said.
    Other(Option<String>),
}

/// The ways for which a credential can be written; an update must name the connection's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionType {
    /// Through the cloud, shareable with others.
    ShareableCloud,
    /// Through the cloud, one person's own.
    PersonalCloud,
    /// Through an on-premises gateway: one ciphertext for each member of its cluster.
    OnPremisesGateway,
    /// Through a virtual network gateway.
    VirtualNetworkGateway,
}

impl Connectivity {
    pub(super) fn parse(text: Option<String>) -> Self {
        match text.as_deref() {
            Some("ShareableCloud") => Self::Writable(ConnectionType::ShareableCloud),
            Some("PersonalCloud") => Self::Writable(ConnectionType::PersonalCloud),
            // The second spelling stands in an official example.
            Some("OnPremisesGateway" | "OnPremisesDataGateway") => Self::Writable(ConnectionType::OnPremisesGateway),
            Some("VirtualNetworkGateway") => Self::Writable(ConnectionType::VirtualNetworkGateway),
            Some("OnPremisesGatewayPersonal") => Self::PersonalGateway,
            _ => Self::Other(text),
        }
    }

    /// The type to name in an update, where one is possible.
    pub fn writable(&self) -> Option<ConnectionType> {
        match self {
            Self::Writable(kind) => Some(*kind),
            Self::PersonalGateway | Self::Other(_) => None,
        }
    }
}

impl ConnectionType {
    /// Whether it is reached through the cloud.
    pub fn is_cloud(self) -> bool {
        match self {
            Self::ShareableCloud | Self::PersonalCloud => true,
            Self::OnPremisesGateway | Self::VirtualNetworkGateway => false,
        }
    }
}
