//! TCP as tier 1 speaks it: segments and what is remembered in, verdicts out.
//!
//! Nothing here touches a kernel: the surroundings are scripted, and count what they are asked.
//!
//! | module | what it asks |
//! | --- | --- |
//! | `exits` | is every exit of the four decisions reached, and none besides? |
//! | `flag_bits` | what do all 256 combinations of flags do, in every state of a connection? |
//! | `arrival` | what does the interface say of a SYN? |
//! | `handshake` | which SYNs are answered, with what, and how long does a cookie live? |
//! | `requests` | which request of a connection is read, and what follows from its answer? |
//! | `room` | does an answer fit the client's window? |
//! | `out_of_place` | what happens to data that is not at the next byte? |
//! | `closing` | how does a connection end? |
//! | `probes` | are keep-alive probes told from data? |
//! | `incarnations` | is a new connection on an old tuple a new one? |
//! | `leaving` | what holds until the kernel has a connection? |
//! | `lease` | what goes on without the lease? |
//! | `owners` | who is asked for the socket, when, and what follows? |
//! | `hand_over` | from which segments does the kernel go on? |
//! | `measured` | what is counted where nothing is answered? |
//! | `any_segment` | what holds for random segments on random connections? |
//! | `conversation` | does a client get every answer through a bad network? |
//!
//! What they share: `support` (the surroundings), `client` (one that keeps its numbers), `meeting`
//! (random segments), and `plan`, `host` and `network` (whole conversations).

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod any_segment;
mod arrival;
mod client;
mod closing;
mod conversation;
mod exits;
mod flag_bits;
mod hand_over;
mod handshake;
mod host;
mod incarnations;
mod lease;
mod leaving;
mod measured;
mod meeting;
mod network;
mod out_of_place;
mod owners;
mod plan;
mod probes;
mod requests;
mod room;
mod support;
