//! Typed calls to the services, with their wire types. Each method says its shape, its units and the quirk behind it.

pub mod databricks;
pub mod entra;
pub mod fabric;
pub mod keyvault;
pub(crate) mod oauth;
pub mod powerbi;
