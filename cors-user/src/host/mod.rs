//! What this machine is like: interfaces, addresses, switches, privileges. Reads, never writes.
//!
//! Everything is asked of the network namespace and the process that ask; nothing is read from
//! `/sys`, which may be mounted for another namespace.

pub mod capability;
pub mod interface;
mod netlink;
pub mod sysctl;
pub mod watch;

pub use interface::Interface;
