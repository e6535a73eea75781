//! The proxy: the slow path's sockets. It answers the preflights that the driver declined, forwards
//! everything else, and puts the policy's headers on what comes back.
//!
//! ```text
//! listener ─► connection ─► gate ─► hyper ─► request ─► upstream
//!             PROXY, TLS    strict           judge,      pool, names,
//!             header        framing          conduct     health
//! ```
//!
//! hyper sees only what [`gate`] lets through: heads and bodies that have one reading
//! ([`cors_common::framing`]). What CORS has to say comes from [`crate::cors`].

mod body;
mod conduct;
mod connection;
mod counters;
mod forward;
mod gate;
pub mod latency;
mod listener;
mod preamble;
mod request;
mod service;
mod sockets;
mod tls;
mod turn;
mod upstream;
mod watch;

pub use counters::Counted;
pub use latency::Latency;
pub use service::{Proxy, ProxyError, Requests, UpstreamHealth};
pub use sockets::Sockets;
pub use watch::Decision;
