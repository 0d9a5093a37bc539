//! lakekey-core: keeps the OAuth secret of a Databricks service principal fresh wherever Power BI holds a copy of it.
//!
//! The paved path is [`Config::load`](config::Config::load), [`App::new`](app::App::new), [`App::run`](app::App::run) with a
//! [`Command`](command::Command). Data flows one way: trigger, command, decide-perform-record, clients, transport.
//! `ARCHITECTURE.md` has the map and the invariants.

pub mod api;
pub mod app;
pub mod aws;
pub mod azure;
pub mod clients;
pub mod clock;
pub mod command;
pub mod config;
pub mod credential;
pub mod error;
pub mod http;
pub mod identity;
pub mod ids;
pub mod inventory;
pub mod journal;
pub mod logs;
pub mod notify;
pub mod operations;
pub mod random;
pub mod report;
pub mod rotation;
pub mod runner;
pub mod secret;
pub mod stop;
pub mod storage;
pub mod stores;
pub mod targets;
pub mod timer;
pub mod work;
