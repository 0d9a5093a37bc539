//! Typed calls to the services. Each client builds requests and reads answers; everything else is [`Http::send`](crate::http::Http::send).

pub mod databricks;
pub mod entra;
pub mod fabric;
pub mod powerbi;
