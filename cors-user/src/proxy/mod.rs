//! The proxy: the slow path's sockets. It answers the preflights that the driver declined, forwards
//! everything else, and puts the policy's headers on what comes back.
//!
//! ```text
//! listener ─► connection ─► gate ─► hyper ─► request ─► forward ─► exchange ─► hyper
//!             PROXY, TLS    strict           judge      conduct    upstream: health
//!             header        framing                                pool: idle connections
//!                                                                  connector: names, TLS
//! ```
//!
//! All of a connection happens on one thread ([`workers`]).
//!
//! hyper sees only what [`gate`] lets through: heads and bodies that have one reading
//! ([`cors_common::framing`]). What CORS has to say comes from [`crate::cors`].

mod body;
mod conduct;
mod connection;
mod connector;
mod counters;
mod exchange;
mod forward;
mod gate;
mod interim;
pub mod latency;
mod line;
mod listener;
mod pool;
mod preamble;
mod request;
mod service;
mod sockets;
mod tls;
mod turn;
mod upstream;
mod watch;
mod workers;

pub use counters::Counted;
pub use latency::Latency;
pub use service::{Proxy, ProxyError, Requests, UpstreamHealth};
pub use sockets::Sockets;
pub use watch::Decision;
