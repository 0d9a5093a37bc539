//! What the functions of a platform need of a config beyond its being valid: a function's disk is its own and ends with it.

use super::model::{Config, StateLocation, StoreLocation};
use crate::error::Error;

impl Config {
    /// Refuses what would be lost with the machine that runs a function.
    pub fn check_for_functions(&self) -> Result<(), Error> {
        let state = match &self.state.location {
            file @ StateLocation::File(_) => Some(("state".to_owned(), file.to_string())),
            StateLocation::Objects(_) => None,
        };
        let stores = self.credentials.iter().flat_map(|credential| {
            let copies = credential.copies.iter().map(|copy| ("copies", copy));
            let places = std::iter::once(("store", &credential.store)).chain(copies);
            let on_disk = places.filter(|(_, location)| matches!(location, StoreLocation::File(_)));
            on_disk.map(|(key, location)| (format!("credentials.{}.{key}", credential.name), location.to_string()))
        });
        match state.into_iter().chain(stores).next() {
            None => Ok(()),
            Some((key, place)) => Err(Error::usage(
                "file-on-platform",
                format!("`{key}` is `{place}`, and a function's disk ends with the machine that it runs on"),
            )
            .hint("use `az://` for the state and `akv:` for stores on Azure, `s3://` and `awssm:` on AWS")),
        }
    }
}
