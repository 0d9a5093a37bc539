//! The config: read, checked, resolved. A document goes through three steps, each of which notes every problem it finds and
//! leaves the rest for the next: `tree` (YAML with places), `shape` (fits the JSON Schema), `check` (values and names). [`Config::load`] runs them; a [`Config`] that exists is valid.

mod check;
mod document;
pub mod duration;
pub mod env_vars;
mod functions;
pub mod hosts;
mod load;
pub mod mapping;
pub mod model;
pub mod place;
mod problem;
pub mod reference;
pub mod schedule;
mod schema;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

pub use load::ConfigSource;
pub use model::*;
pub use place::{AwsSecretName, KeyVaultName, ObjectPlace, VaultSecret};
pub use problem::ConfigProblem;
pub use schema::schema;
