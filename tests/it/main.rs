//! The one integration binary: the real program against the simulated cloud. Each module tells stories of one kind.

mod arrange;
mod config;
mod docs;
mod permissions;
mod principals;
mod selection;
mod stores;
mod stories;
mod support;
mod targets;
