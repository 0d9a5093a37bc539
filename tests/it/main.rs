//! The one integration binary: the real program against the simulated cloud. Each module tells stories of one kind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "a test binary has no other reach than its own crate")]

mod api;
mod arrange;
mod budget;
mod config;
mod crashes;
mod docs;
mod doors;
mod fuse;
mod interrupts;
mod journal;
mod network;
mod pace;
mod people;
mod permissions;
mod principals;
mod races;
mod reports;
mod selection;
mod serve;
mod slots;
mod stores;
mod stories;
mod stuck;
mod support;
mod targets;
mod town;
