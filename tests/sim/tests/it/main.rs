//! The simulated cloud is itself tested: each strictness has a test that shows it biting, and what Power BI and Fabric
//! answer is checked against the official specs.

mod client;
mod databricks;
mod fabric;
mod faults;
mod fleet;
mod powerbi;
mod sealing;
mod served;
mod spec;
