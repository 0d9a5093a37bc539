//! `cargo xtask parts`: installs what the tests run as processes of their own, at fixed versions, below `target/parts`.
//! Nothing there is committed, and what is there already is left as it is. A test that needs a part which is missing installs
//! it too; done before, no test is slowed down by it.

use std::process::ExitCode;

pub(crate) fn parts() -> anyhow::Result<ExitCode> {
    lakekey_parts::install()?;
    Ok(ExitCode::SUCCESS)
}
