//! Real parts for tests: what lakekey works with on the platforms, started on loopback. Azurite is the storage of Azure as its own
//! people emulate it; where no emulator can be had, there is a small strict fake.

mod azurite;
mod door;
mod identity;
mod key_vault;
mod trust;

pub use azurite::{Azurite, Message};
pub use door::{Door, Passing};
pub use identity::Identity;
pub use key_vault::{KeyVault, SecretVersion};
pub use trust::Trust;
