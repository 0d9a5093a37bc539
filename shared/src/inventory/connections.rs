//! What Fabric says: of data sources that Power BI does not explain, of gateways on virtual networks, which only Fabric
//! serves, and of connections that rows name. Each question is asked once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join;
use http::StatusCode;

use super::walk::{each, is_wide};
use crate::clients::fabric::{Connection, ConnectionType, Connectivity, Fabric, Member, NetworkKind};
use crate::clients::powerbi::is_refusal;
use crate::config::Selector;
use crate::error::Error;
use crate::http::{Failure, HttpError};
use crate::ids::{DatasourceId, GatewayId};

/// What Fabric says to the identity.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// All on which it has a role, where that was asked.
    pub(super) listed: Arc<BTreeMap<DatasourceId, Connection>>,
    /// Those that were asked for by themselves. `None`: Fabric says nothing of that one.
    pub(super) asked: BTreeMap<DatasourceId, Option<Connection>>,
    /// Gateways on virtual networks, by name; an empty name where only a connection tells of the gateway.
    pub(super) networks: BTreeMap<GatewayId, String>,
    /// Members of gateways that must be sealed for one by one; `None`: the identity may not list them.
    pub(super) members: BTreeMap<GatewayId, Option<Vec<Member>>>,
    /// Fabric is closed to this identity altogether.
    pub(super) is_closed: bool,
    is_listed: bool,
    has_networks: bool,
}

/// From this many connections on, counting those of the credentials that share the answers, the list of all comes first:
/// Fabric allows 200 calls a minute.
const LIST_FROM: usize = 8;

impl Connections {
    /// What is sure to be needed, asked while Power BI is walked. Nearly every selection asks Fabric in the end: a sign-in that
    /// fails here fails again, with its reason, when it does.
    pub(super) async fn begin(fabric: &Fabric, rows: &[Selector]) -> Result<Self, Error> {
        let mut connections = Self::default();
        if is_wide(rows) {
            connections.find_networks(fabric).await?;
        } else {
            let _ = fabric.signer().token().await;
        }
        let named = rows.iter().filter_map(Selector::connection).cloned();
        connections.ask(fabric, named.collect()).await?;
        Ok(connections)
    }

    /// Gateways on virtual networks, and every connection: what stands on them is known by these alone.
    pub(super) async fn find_networks(&mut self, fabric: &Fabric) -> Result<(), Error> {
        if self.has_networks || self.is_closed {
            return Ok(());
        }
        self.has_networks = true;
        let (listed, gateways) = join(self.list(fabric), fabric.gateways()).await;
        listed?;
        let gateways = match gateways {
            Ok(gateways) => gateways,
            Err(error) if is_closed(&error) || is_refusal(&error) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for gateway in gateways.into_iter().filter(|gateway| gateway.kind == NetworkKind::VirtualNetwork) {
            self.networks.insert(gateway.id, gateway.name.unwrap_or_default());
        }
        let on_networks = self.shown().filter(|connection| is_on_network(connection));
        let on_networks: Vec<GatewayId> = on_networks.filter_map(|connection| connection.gateway.clone()).collect();
        for gateway in on_networks {
            self.networks.entry(gateway).or_default();
        }
        Ok(())
    }

    /// Asks for those that have not been asked for. The list leaves out what the identity sees as a gateway's administrator
    /// only, so what it lacks is asked for one by one.
    pub(super) async fn read(&mut self, fabric: &Fabric, mut sources: BTreeSet<DatasourceId>) -> Result<(), Error> {
        sources.retain(|source| !self.has(source));
        if sources.len() * fabric.askers() >= LIST_FROM {
            self.list(fabric).await?;
            sources.retain(|source| !self.has(source));
        }
        self.ask(fabric, sources).await
    }

    /// The members of these gateways.
    pub(super) async fn read_members(&mut self, fabric: &Fabric, gateways: BTreeSet<GatewayId>) -> Result<(), Error> {
        self.members.extend(each(gateways, |gateway| async move { fabric.gateway_members(&gateway).await }).await?);
        Ok(())
    }

    pub(super) fn get(&self, source: &DatasourceId) -> Option<&Connection> {
        self.asked.get(source).map_or_else(|| self.listed.get(source), Option::as_ref)
    }

    /// Every connection that Fabric shows.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Connection> {
        let listed = self.listed.values().filter(|connection| !self.asked.contains_key(&connection.id));
        self.asked.values().flatten().chain(listed)
    }

    fn has(&self, source: &DatasourceId) -> bool {
        self.asked.contains_key(source) || self.listed.contains_key(source)
    }

    async fn list(&mut self, fabric: &Fabric) -> Result<(), Error> {
        if self.is_listed {
            return Ok(());
        }
        self.is_listed = true;
        match fabric.connections().await {
            Ok(all) => self.listed = all,
            Err(error) if is_closed(&error) => self.is_closed = true,
            // Whatever else it has against the list: each connection may still be asked for by itself.
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn ask(&mut self, fabric: &Fabric, sources: BTreeSet<DatasourceId>) -> Result<(), Error> {
        if self.is_closed {
            self.asked.extend(sources.into_iter().map(|source| (source, None)));
            return Ok(());
        }
        let is_forbidden = AtomicBool::new(false);
        let asked = each(sources, |source| {
            let is_forbidden = &is_forbidden;
            async move {
                let answer = fabric.connection(&source).await;
                is_forbidden.fetch_or(answer.as_ref().is_err_and(is_closed), Ordering::Relaxed);
                answer
            }
        });
        let asked = asked.await?;
        // The list has more to say than a connection that is hidden: it tells whether Fabric is closed altogether.
        if is_forbidden.into_inner() {
            self.list(fabric).await?;
        }
        self.asked.extend(asked);
        Ok(())
    }
}

pub(super) fn is_on_network(connection: &Connection) -> bool {
    connection.connectivity == Connectivity::Writable(ConnectionType::VirtualNetworkGateway)
}

/// Not allowed at all, be it that Entra gives no token for Fabric.
fn is_closed(error: &HttpError) -> bool {
    matches!(&error.failure, Failure::SignIn(inner) if inner.code() == "sign-in-refused")
        || matches!(error.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
}
