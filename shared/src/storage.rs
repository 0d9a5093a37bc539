//! Where the places that the config names really are: this machine's disk, or memory in simulation, so that many virtual
//! rotations a second run the very same journal, lease and store code.

use std::sync::Arc;

use object_store::ObjectStore;

use crate::config::{StateLocation, StoreLocation};
use crate::error::Error;
use crate::ids::RunnerId;
use crate::journal::lock::FileLock;
use crate::journal::place;
use crate::stores::{self, SecretStore, disk};

/// Opens places.
pub trait Storage: Send + Sync {
    /// The state, for writing; it is created when missing.
    fn open_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error>;

    /// The state as it is, for reading; one that does not exist is empty.
    fn view_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error>;

    /// The lock of one journal, where the state's place has locks: its release ends a lease at once.
    fn lock(&self, location: &StateLocation, journal: &str, by: &RunnerId) -> Result<Lock, Error>;

    /// A store.
    fn store(&self, location: &StoreLocation) -> Result<Arc<dyn SecretStore>, Error>;

    /// Fails where it is plain, without writing, that the state could not be written.
    fn check_state(&self, location: &StateLocation) -> Result<(), Error> {
        let _ = location;
        Ok(())
    }

    /// The same of a store.
    fn check_store(&self, location: &StoreLocation) -> Result<(), Error> {
        let _ = location;
        Ok(())
    }
}

/// The answer to an attempt to lock a journal.
pub enum Lock {
    /// Held until dropped.
    Taken(Box<dyn Send + Sync>),
    /// Another process holds it.
    Busy(RunnerId),
    /// This place has no locks; the lease alone decides.
    None,
}

/// This machine's disk.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Storage for Disk {
    fn open_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        place::open_state(location)
    }

    fn view_state(&self, location: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        place::view_state(location)
    }

    fn lock(&self, location: &StateLocation, journal: &str, by: &RunnerId) -> Result<Lock, Error> {
        match location {
            StateLocation::File(folder) => match FileLock::try_take(folder, journal, by)? {
                Some(lock) => Ok(Lock::Taken(Box::new(lock))),
                None => Ok(Lock::Busy(FileLock::holder(folder, journal).unwrap_or_else(|| RunnerId::new("another process")))),
            },
        }
    }

    fn store(&self, location: &StoreLocation) -> Result<Arc<dyn SecretStore>, Error> {
        stores::open(location)
    }

    fn check_state(&self, location: &StateLocation) -> Result<(), Error> {
        match location {
            StateLocation::File(folder) => disk::may_write(folder).map_err(|error| place::not_writable(folder, error)),
        }
    }

    fn check_store(&self, location: &StoreLocation) -> Result<(), Error> {
        match location {
            StoreLocation::File(path) => path
                .parent()
                .map_or(Ok(()), disk::may_write)
                .map_err(|source| stores::StoreError::NotWritable { place: location.to_string(), source }.into()),
            StoreLocation::DatabricksScope { .. } => Ok(()),
        }
    }
}
