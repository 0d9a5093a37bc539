//! Real parts for tests: what lakekey works with on the platforms, started on loopback. Azurite is the storage of Azure as its own
//! people emulate it, moto and cargo-lambda play AWS; where no emulator can be had or is strict enough, there is a small strict fake.
//! What comes from a registry is installed below `target/parts` when it is first needed.

mod azurite;
mod cargo_lambda;
mod door;
mod identity;
mod key_vault;
mod lambda;
mod moto;
mod outside;
mod python;
mod real_time;
mod trust;

use std::path::PathBuf;

pub use azurite::{Azurite, Message};
pub use cargo_lambda::{CargoFunction, CargoLambda};
pub use door::{Door, Passing};
pub use identity::Identity;
pub use key_vault::{KeyVault, SecretVersion};
pub use lambda::{Answer, Lambda};
pub use moto::{Moto, SECRET_ACCESS_KEY, SESSION_TOKEN};
pub use outside::Outside;
pub use real_time::in_real_time;
pub use trust::Trust;

/// Installs what is missing.
pub fn install() -> anyhow::Result<()> {
    for name in ["moto", "cargo-lambda"] {
        python::programs(name)?;
    }
    azurite::installed().map(drop)
}

/// A Python that has boto3 and requests, as moto itself needs them.
pub fn python_with_boto3() -> anyhow::Result<PathBuf> {
    Ok(python::programs("moto")?.join("python"))
}
