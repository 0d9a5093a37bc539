//! What the Functions host and the app's settings say to this process.

use std::net::{Ipv4Addr, SocketAddr};

use lakekey_core::config::env_vars::Environment;
use lakekey_core::error::Error;
use tracing::level_filters::LevelFilter;

/// Where the host will call: it connects to 127.0.0.1, whatever else the machine has.
pub(crate) fn address(environment: &Environment) -> Result<SocketAddr, Error> {
    let wrong = |message: &str| {
        Error::usage("bad-port", message).hint("the Functions host sets it; to try this by hand, set it to a free port")
    };
    let text = environment.get(PORT).ok_or_else(|| wrong("FUNCTIONS_CUSTOMHANDLER_PORT is not set"))?;
    let port = text.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("FUNCTIONS_CUSTOMHANDLER_PORT is not a port"))?;
    Ok((Ipv4Addr::LOCALHOST, port).into())
}

/// How much is logged: information, or what `LAKEKEY_VERBOSE` adds to it.
pub(crate) fn level(environment: &Environment) -> LevelFilter {
    match environment.get(VERBOSE) {
        Some("2") => LevelFilter::DEBUG,
        Some("3") => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    }
}

pub(crate) fn unusable(address: SocketAddr, error: std::io::Error) -> Error {
    Error::failed("address-unusable", format!("`{address}`, which the Functions host gave, can't be listened on"))
        .hint("the host starts the process again with another port")
        .caused_by(error)
}

const PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";
const VERBOSE: &str = "LAKEKEY_VERBOSE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_is_a_port() {
        let address = |value: &str| {
            let environment = [(PORT.to_owned(), value.to_owned())].into_iter().collect();
            address(&environment).map(|address| address.to_string()).map_err(|error| error.code().to_owned())
        };
        assert_eq!(address("40123").as_deref(), Ok("127.0.0.1:40123"));
        for value in ["", "0", "-1", "65536", "http://127.0.0.1:1", "x"] {
            assert_eq!(address(value), Err("bad-port".to_owned()), "{value}");
        }
    }
}
