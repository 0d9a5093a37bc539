//! The function on AWS: the built `bootstrap` against a strict Runtime API.

mod events;
mod platform;
