//! Deterministic simulation of lakekey: whole rotations, with crashes, freezes, races, lies of the network and people at
//! work, against the simulated cloud in virtual time, each from one seed; and the guarantees checked after every effect.
//!
//! A [`plan::Plan`] says everything that happens in a seed, [`course::run`] runs it, [`watch::Watch`] looks. The same plan gives
//! the same trace, byte for byte.

pub mod broken;
pub mod counts;
pub mod course;
pub mod crew;
pub mod dice;
pub mod invoke;
pub mod logs;
pub mod matrix;
pub mod people;
pub mod places;
pub mod plan;
pub mod process;
pub mod queue;
pub mod rate;
pub mod rest;
pub mod setup;
pub mod shrink;
pub mod swarm;
pub mod universe;
pub mod watch;
pub mod wire;
