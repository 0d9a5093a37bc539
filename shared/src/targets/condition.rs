//! What a data source is like, judged from what the two APIs say of it: how it is reached, what it holds, whose it is.
//! Pure; selection and update judge by the same rules.

use uuid::Uuid;

use crate::clients::fabric::{Connection, ConnectionType, Connectivity};
use crate::clients::powerbi::Gateway;

/// How a data source is reached, and so who may write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Through the cloud: its owner writes it.
    Cloud,
    /// Through a gateway that the identity administers.
    Gateway,
    /// Through a gateway that the identity does not administer.
    ForeignGateway,
    /// Through somebody's personal gateway: only they can enter its credentials.
    PersonalGateway,
    /// Through a virtual network gateway.
    Vnet,
    /// In a way that Fabric names and lakekey does not know.
    Unknown,
}

/// Whose a dataset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ownership {
    /// The identity's own.
    Ours,
    /// Named in a way that cannot be told: worth trying.
    Unknown,
    /// Somebody else's.
    Other,
}

/// What kind of credential a data source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// User name and password, or nothing that is known of.
    OursOrNothing,
    /// A token, a person's sign-in or anything else.
    OtherKind,
}

impl Reach {
    /// `administered` is the gateway, if the identity administers it; `connection` what Fabric says, if it says anything.
    pub(crate) fn of(administered: Option<&Gateway>, connection: Option<&Connection>) -> Self {
        if administered.is_some_and(is_on_premises) {
            return Self::Gateway;
        }
        match connection.map(|connection| &connection.connectivity) {
            Some(Connectivity::Writable(ConnectionType::OnPremisesGateway)) => Self::ForeignGateway,
            Some(Connectivity::Writable(ConnectionType::VirtualNetworkGateway)) => Self::Vnet,
            Some(Connectivity::PersonalGateway) => Self::PersonalGateway,
            Some(Connectivity::Other(Some(_))) => Self::Unknown,
            Some(Connectivity::Writable(ConnectionType::ShareableCloud | ConnectionType::PersonalCloud)) => Self::Cloud,
            Some(Connectivity::Other(None)) | None => Self::Cloud,
        }
    }
}

/// The virtual gateways of cloud sources have neither a name nor a key.
pub(crate) fn is_on_premises(gateway: &Gateway) -> bool {
    gateway.name.is_some() && gateway.public_key.is_some()
}

impl Ownership {
    /// `owner` is what Power BI calls the dataset's owner, `known_as` what it may call the identity, in lower case.
    pub(crate) fn of(owner: Option<&str>, known_as: &[String]) -> Self {
        let Some(owner) = owner.map(|owner| owner.trim().to_lowercase()) else { return Self::Unknown };
        if known_as.contains(&owner) {
            Self::Ours
        } else if owner.contains('@') || Uuid::try_parse(&owner).is_ok() {
            Self::Other
        } else {
            Self::Unknown
        }
    }
}

impl Holding {
    /// Judges the service's word for the kind of credential.
    pub(crate) fn of(credential_type: Option<&str>) -> Self {
        match credential_type.map(|kind| kind.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "basic" | "none" | "notspecified" | "unknown") => Self::OursOrNothing,
            Some(_) => Self::OtherKind,
        }
    }

    /// Whether the credential may be written over this.
    pub(crate) fn may_be_replaced(self, convert: bool) -> bool {
        match self {
            Self::OursOrNothing => true,
            Self::OtherKind => convert,
        }
    }
}

/// Power BI's flag for Fabric's word; `None` where there is no such flag for it.
pub(crate) fn single_sign_on(fabric: Option<&str>) -> Option<bool> {
    match fabric {
        Some("None") => Some(false),
        Some("MicrosoftEntraID") => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::powerbi::GatewayKey;
    use crate::ids::{DatasourceId, GatewayId};

    fn connection(connectivity: Connectivity) -> Connection {
        Connection {
            id: DatasourceId::new("d"),
            name: None,
            connectivity,
            gateway: None,
            databricks: None,
            privacy_level: None,
            credential_type: None,
            single_sign_on: None,
            encryption: None,
            skip_test: None,
        }
    }

    #[test]
    fn a_gateway_with_name_and_key_is_on_premises_and_fabric_decides_otherwise() {
        let key = Some(GatewayKey { modulus: "m".to_owned(), exponent: "e".to_owned() });
        let real = Gateway { id: GatewayId::new("g"), name: Some("n".to_owned()), public_key: key };
        let virtual_one = Gateway { id: GatewayId::new("g"), name: None, public_key: None };
        let said = |connectivity| Some(connection(connectivity));
        for (administered, connection, expected) in [
            (Some(&real), None, Reach::Gateway),
            (Some(&virtual_one), None, Reach::Cloud),
            (None, None, Reach::Cloud),
            (None, said(Connectivity::Writable(ConnectionType::ShareableCloud)), Reach::Cloud),
            (None, said(Connectivity::Writable(ConnectionType::PersonalCloud)), Reach::Cloud),
            (None, said(Connectivity::Other(None)), Reach::Cloud),
            (None, said(Connectivity::Other(Some("Telepathy".to_owned()))), Reach::Unknown),
            (None, said(Connectivity::Writable(ConnectionType::OnPremisesGateway)), Reach::ForeignGateway),
            (None, said(Connectivity::PersonalGateway), Reach::PersonalGateway),
            (Some(&virtual_one), said(Connectivity::Writable(ConnectionType::VirtualNetworkGateway)), Reach::Vnet),
        ] {
            assert_eq!(Reach::of(administered, connection.as_ref()), expected);
        }
    }

    #[test]
    fn an_owner_is_somebody_else_only_when_the_name_tells() {
        let known = ["725c0000-0000-4000-8000-000000000001".to_owned(), "bot@contoso.com".to_owned()];
        for (owner, expected) in [
            (Some("725C0000-0000-4000-8000-000000000001"), Ownership::Ours),
            (Some(" Bot@Contoso.com "), Ownership::Ours),
            (Some("ann@contoso.com"), Ownership::Other),
            (Some("999c0000-0000-4000-8000-000000000001"), Ownership::Other),
            (Some("Sales refresh app"), Ownership::Unknown),
            (None, Ownership::Unknown),
        ] {
            assert_eq!(Ownership::of(owner, &known), expected, "{owner:?}");
        }
    }

    #[test]
    fn only_a_known_other_kind_needs_leave_to_be_replaced() {
        for kind in [None, Some(""), Some("Basic"), Some("basic"), Some("None")] {
            assert!(Holding::of(kind).may_be_replaced(false), "{kind:?}");
        }
        for kind in [Some("OAuth2"), Some("Key"), Some("ServicePrincipal"), Some("SomethingNew")] {
            assert!(!Holding::of(kind).may_be_replaced(false), "{kind:?}");
            assert!(Holding::of(kind).may_be_replaced(true), "{kind:?}");
        }
    }

    #[test]
    fn single_sign_on_is_never_guessed() {
        let read = ["None", "MicrosoftEntraID", "Kerberos"].map(|text| single_sign_on(Some(text)));
        assert_eq!((read, single_sign_on(None)), ([Some(false), Some(true), None], None));
    }
}
