//! Gateways as Fabric shows them: those on virtual networks, which Power BI does not list, and the members of on-premises
//! clusters, each with a key of its own.

use http::Method;
use serde::Deserialize;

use super::{Fabric, Page, continuation};
use crate::clients::powerbi::GatewayKey;
use crate::clients::powerbi::request::{address, id, target};
use crate::http::{HttpError, page};
use crate::ids::GatewayId;

/// A gateway that the identity has a role on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FabricGateway {
    /// Its id.
    pub id: GatewayId,
    /// Its name.
    pub name: Option<String>,
    /// What it stands on.
    pub kind: NetworkKind,
}

/// What a gateway stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    /// A virtual network.
    VirtualNetwork,
    /// Somebody's machines, or anything that is not known yet.
    Other,
}

/// One member of an on-premises gateway's cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id; that of the first member is the gateway's.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// The key that its ciphertext is sealed with; `None` where it shows none.
    pub public_key: Option<GatewayKey>,
}

impl Fabric {
    /// Every gateway that the identity has a role on.
    pub async fn gateways(&self) -> Result<Vec<FabricGateway>, HttpError> {
        const WHAT: &str = "list gateways at Fabric";
        let list = target(&Method::GET, &address(&self.base, &["v1", "gateways"], None));
        page::collect(WHAT, &list, async |token: Option<String>| {
            let query = token.as_deref().map(continuation);
            let page: Page<GatewayRow> = self.get(WHAT, &["gateways"], query.as_deref()).await?;
            Ok((page.value.into_iter().filter_map(GatewayRow::gateway).collect(), page.continuation_token))
        })
        .await
    }

    /// The members of an on-premises gateway, disabled ones included: each must be sent a ciphertext of its own.
    pub async fn gateway_members(&self, gateway: &GatewayId) -> Result<Vec<Member>, HttpError> {
        const WHAT: &str = "list the members of a gateway";
        let path = ["gateways", gateway.as_str(), "members"];
        let list = target(&Method::GET, &self.address(&path, None));
        page::collect(WHAT, &list, async |token: Option<String>| {
            let query = token.as_deref().map(continuation);
            let page: Page<MemberRow> = self.get(WHAT, &path, query.as_deref()).await?;
            Ok((page.value.into_iter().map(MemberRow::member).collect(), page.continuation_token))
        })
        .await
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GatewayRow {
    id: Option<String>,
    display_name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl GatewayRow {
    fn gateway(self) -> Option<FabricGateway> {
        let kind = match self.kind.as_deref() {
            Some("VirtualNetwork") => NetworkKind::VirtualNetwork,
            _ => NetworkKind::Other,
        };
        Some(FabricGateway { id: GatewayId::new(id(self.id.as_deref()?)?), name: self.display_name, kind })
    }
}

/// A member without an id cannot be left out: the others' ciphertexts alone would be refused, or worse, taken.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MemberRow {
    id: String,
    display_name: Option<String>,
    public_key: Option<KeyRow>,
}

#[derive(Deserialize)]
struct KeyRow {
    modulus: Option<String>,
    exponent: Option<String>,
}

impl MemberRow {
    fn member(self) -> Member {
        let key = self.public_key.and_then(|key| Some(GatewayKey { modulus: key.modulus?, exponent: key.exponent? }));
        let public_key = key.filter(|key| !key.modulus.is_empty() && !key.exponent.is_empty());
        Member { id: self.id, name: self.display_name, public_key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_of_unknown_types_are_no_virtual_networks() {
        let body = r#"{"value":[{"id":"A","type":"VirtualNetwork","displayName":"v"},{"id":"B","type":"OnPremises"},
            {"id":"C","type":"QuantumNetwork"},{"id":"D"},{"type":"VirtualNetwork"}]}"#;
        let page: Page<GatewayRow> = serde_json::from_str(body).unwrap();
        let kinds: Vec<_> = page.value.into_iter().filter_map(GatewayRow::gateway).map(|gateway| gateway.kind).collect();
        assert_eq!(kinds, [NetworkKind::VirtualNetwork, NetworkKind::Other, NetworkKind::Other, NetworkKind::Other]);
    }

    #[test]
    fn a_member_without_a_usable_key_is_kept_and_one_without_an_id_spoils_the_list() {
        let row: MemberRow = serde_json::from_str(r#"{"id":"m","publicKey":{"modulus":"","exponent":"AQAB"}}"#).unwrap();
        assert_eq!(row.member(), Member { id: "m".to_owned(), name: None, public_key: None });
        assert!(serde_json::from_str::<MemberRow>(r#"{"displayName":"m"}"#).is_err());
    }
}
