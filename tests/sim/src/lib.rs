//! A simulated cloud: Databricks, Entra ID, Power BI and Fabric, as far as rotating a credential touches them.
//!
//! It is written from the official specs and the facts, strict where the services are strict, hostile where they are
//! unknown, and it shares no line with the clients that are tested against it, so that a mistake can't hide in both. A
//! `Fleet` makes a `Cloud`; a request enters by `Cloud::handle` in process, or over real sockets by `serve`; what is really
//! so is in `Cloud::truth`.

mod arrange;
mod clock;
mod cloud;
mod config;
mod connect;
mod control;
mod databricks;
mod entra;
mod fabric;
mod faults;
mod fleet;
mod hands;
mod history;
mod powerbi;
mod rng;
mod serve;
mod settings;
mod token;
mod trust;
mod truth;
mod wire;
mod world;

pub use cloud::{Cloud, Lost};
pub use config::sim_line;
pub use databricks::Level;
pub use faults::{Action, Rule};
pub use fleet::{Cast, Fleet, Login, Rotated};
pub use history::{Happened, Happening};
pub use powerbi::{GatewayKey, Role};
pub use serve::{Served, serve};
pub use settings::{CapAnswer, Settings, TakeOver};
pub use token::{DATABRICKS_AUDIENCE, FABRIC_AUDIENCE, POWERBI_AUDIENCE};
pub use trust::IDENTITY_HEADER;
pub use truth::{DatasetTruth, PrincipalTruth, SecretTruth, SourceTruth, Truth, WarehouseTruth};
pub use wire::Service;
pub use world::{Addresses, Seen};
