//! The one integration binary: the real program against the simulated cloud. Each module tells stories of one kind.

mod pace;
mod stories;
mod support;
