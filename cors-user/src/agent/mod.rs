//! The agent's life: start, keep the words current, tell its status, stop.
//!
//! [`run()`] puts the pieces together; each of the others is one thing that goes on meanwhile.

pub mod addresses;
mod admin;
pub mod client;
pub mod clock;
mod control;
mod detach;
mod directory;
mod follow;
mod gather;
pub mod heartbeat;
mod live;
mod metrics;
pub mod network;
mod plain;
pub mod protocol;
mod reload;
pub mod report;
mod rights;
pub mod run;
mod said;
mod service;
mod signals;
mod slow_path;
pub mod startup;
pub mod status;
mod succession;
mod traces;
mod uneven;
mod upkeep;

pub use detach::{DetachError, detach};
pub use run::{RunError, Setup, run};
