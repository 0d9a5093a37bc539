//! The function on AWS: the built `bootstrap` against a strict Runtime API, and rotations that a strict Secrets Manager leads.

mod events;
mod platform;
mod secrets;
mod steps;
