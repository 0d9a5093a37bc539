//! The one integration binary: the real program against the simulated cloud. Each module tells stories of one kind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "a test binary has no other reach than its own crate")]

mod account;
mod api;
mod arrange;
mod azure;
mod belt;
mod budget;
mod clients;
mod clouds;
mod config;
mod conformance;
mod connections;
mod crashes;
mod discover;
mod docs;
mod doctor;
mod doors;
mod fuse;
mod init;
mod interrupts;
mod joins;
mod journal;
mod lambda;
mod logins;
mod mapping;
mod network;
mod notify;
mod pace;
mod parts;
mod people;
mod permissions;
mod principals;
mod queues;
mod races;
mod refresh;
mod reports;
mod revoke;
mod rollback;
mod selection;
mod serve;
mod signin;
mod slices;
mod slots;
mod stores;
mod stories;
mod stuck;
mod support;
mod targets;
mod tokens;
mod town;
mod waves;
mod when;
