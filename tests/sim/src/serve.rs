//! The cloud over real HTTP on loopback, one port for each service. A lost answer is a cut connection here.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::HOST;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::clock::detach;
use crate::cloud::Cloud;
use crate::control;
use crate::fleet::Fleet;
use crate::settings::Settings;
use crate::wire::Service;
use crate::world::Addresses;

/// A cloud on its ports; dropping it closes them.
pub struct Served {
    pub cloud: Cloud,
    /// Base URL of the control API.
    pub control: String,
    closed: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        // Connections that are open have tasks of their own.
        self.closed.store(true, Ordering::Release);
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Makes the fleet's cloud and serves it: two workspaces, their account, Entra, Power BI, Fabric and the control API.
pub async fn serve(fleet: &Fleet, settings: Settings) -> io::Result<Served> {
    let mut ports = Vec::new();
    for _ in 0..7 {
        ports.push(TcpListener::bind(("127.0.0.1", 0)).await?);
    }
    let mut urls = Vec::new();
    for port in &ports {
        urls.push(format!("http://{}", port.local_addr()?));
    }
    let [first, second, account, entra, powerbi, fabric, control] = <[String; 7]>::try_from(urls).expect("there are seven ports");
    let addresses = Addresses { databricks: vec![first, second], account, entra, powerbi, fabric };
    let cloud = fleet.build_at(settings, addresses);
    let routers = [
        cloud.databricks_router(0),
        cloud.databricks_router(1),
        cloud.account_router(),
        cloud.entra_router(),
        cloud.powerbi_router(),
        cloud.fabric_router(),
        cloud.control_router(),
    ];
    let closed = Arc::new(AtomicBool::new(false));
    let start = |(port, router)| detach(run(Cuttable { port, closed: Arc::clone(&closed) }, router));
    let tasks = ports.into_iter().zip(routers).map(start).collect();
    Ok(Served { cloud, control, closed, tasks })
}

impl Cloud {
    /// All services behind one door, told apart by the `Host` header.
    pub fn router(&self) -> Router {
        let by_host = |State(cloud): State<Self>, request: Request| async move {
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            match cloud.addresses().service(host.trim_end_matches(":443")) {
                Some(service) => pass(State((cloud, service)), request).await,
                None => plain(421),
            }
        };
        Router::new().fallback(by_host).with_state(self.clone())
    }

    pub fn databricks_router(&self, index: usize) -> Router {
        self.router_of(Service::Databricks(index))
    }

    pub fn account_router(&self) -> Router {
        self.router_of(Service::Account)
    }

    pub fn entra_router(&self) -> Router {
        self.router_of(Service::Entra)
    }

    pub fn powerbi_router(&self) -> Router {
        self.router_of(Service::PowerBi)
    }

    pub fn fabric_router(&self) -> Router {
        self.router_of(Service::Fabric)
    }

    pub fn control_router(&self) -> Router {
        control::router(self.clone())
    }

    fn router_of(&self, service: Service) -> Router {
        Router::new().fallback(pass).with_state((self.clone(), service))
    }
}

async fn pass(State((cloud, service)): State<(Cloud, Service)>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let cut = parts.extensions.remove::<ConnectInfo<Cut>>();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return plain(413);
    };
    match cloud.answer(service, http::Request::from_parts(parts, body)).await {
        Ok(response) => response.map(Body::from),
        Err(_) => {
            if let Some(ConnectInfo(Cut(flag))) = cut {
                flag.store(true, Ordering::Release);
            }
            plain(500)
        }
    }
}

fn plain(status: u16) -> Response {
    Response::builder().status(status).body(Body::empty()).expect("a status and no body make a response")
}

async fn run(port: Cuttable, router: Router) {
    let service = router.into_make_service_with_connect_info::<Cut>();
    // It accepts until its task is aborted; errors of single connections are not its end.
    drop(axum::serve(port, service).await);
}

/// Set when the connection is to end before its answer.
#[derive(Clone)]
struct Cut(Arc<AtomicBool>);

impl Connected<IncomingStream<'_, Cuttable>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Cuttable>) -> Self {
        stream.io().cut.clone()
    }
}

struct Cuttable {
    port: TcpListener,
    closed: Arc<AtomicBool>,
}

impl Listener for Cuttable {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.port).await;
        (Connection { stream, cut: Cut(Arc::default()), closed: Arc::clone(&self.closed) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.port.local_addr()
    }
}

struct Connection {
    stream: TcpStream,
    cut: Cut,
    closed: Arc<AtomicBool>,
}

impl Connection {
    fn check(&self) -> io::Result<()> {
        let ended = self.cut.0.load(Ordering::Acquire) || self.closed.load(Ordering::Acquire);
        if ended { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.check()?;
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
