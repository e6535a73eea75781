//! The proxy over real sockets, in this process: what clients send as bytes, what an upstream that
//! records everything receives, and what comes back.
//!
//! | module | what it asks |
//! | --- | --- |
//! | `preflights` | are preflights answered as the driver answers them, and denied without a word? |
//! | `actual` | which CORS headers do actual responses have, errors included? |
//! | `alone` | does the binary serve without any privilege? |
//! | `smuggling` | does the upstream ever see other requests than were meant? |
//! | `framing` | HEAD, 204, 304, trailers, `Expect`, upgrades, HTTP/1.0, HTTP/2 |
//! | `secure` | TLS, server names, certificates that change, HTTP/2 |
//! | `upstreams` | HTTP/2 and TLS to the server behind, and what it is known by |
//! | `masses` | very many clients, and heads that are very much |
//! | `trouble` | upstreams and clients that are slow, absent, or lie; limits |

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod actual;
mod alone;
mod framing;
mod masses;
mod preflights;
mod secure;
mod smuggling;
mod support;
mod trouble;
mod upstreams;
