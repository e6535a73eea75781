//! The cors-edge agent: reads the policy file, compiles it, loads the kernel programs, and keeps
//! them current while it lives.
//!
//! ```text
//! config   what the file says          pure
//! compile  the bytes for the maps      pure
//! cors     requests judged by them     pure
//! explain  what a browser makes of it  pure
//! host     what this machine is like   reads only
//! kernel   programs, maps, links       the only module that names `aya`
//! proxy    sockets and requests        what the agent serves itself
//! agent    the life cycle              puts them together
//! bench    load for any server         of its own; nothing of the agent's is in it
//! ```
//!
//! Each line may use those above it.

pub mod agent;
pub mod bench;
pub mod compile;
pub mod config;
pub mod cors;
pub mod explain;
pub mod host;
pub mod kernel;
pub mod proxy;
