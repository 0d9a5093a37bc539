//! Azure Functions: the built handler, unpacked as it is shipped, driven by a host of Functions over the wire.

mod starts;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lakekey_bench::built;

/// The handler, built once.
fn handler() -> &'static Path {
    static HANDLER: OnceLock<PathBuf> = OnceLock::new();
    HANDLER.get_or_init(|| built("lakekey-azure", "lakekey-azure").unwrap())
}
