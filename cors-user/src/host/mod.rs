//! What this machine is like: interfaces, addresses, switches, privileges. Reads;
//! what writes is `reset` and `filter`.
//!
//! Everything is asked of the network namespace and the process that ask; nothing that belongs to
//! a namespace is read from `/sys`, which may be mounted for another one.

pub mod capability;
pub mod filter;
pub mod interface;
pub mod local;
mod netlink;
pub mod offload;
pub mod realtime;
pub mod reset;
pub mod sysctl;
pub mod watch;

pub use interface::Interface;
