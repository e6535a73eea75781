//! A deterministic simulation of the driver's TCP.
//!
//! Clients with a TCP stack of their own (smoltcp) talk to a host through a network that loses,
//! repeats, reorders, delays, cuts and joins. On the host's interface run the functions that the
//! kernel programs call, behind it a model of the kernel's TCP and a server that records every
//! byte. All of it follows from a seed: what went wrong once goes wrong again.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`world`], [`setting`] | the clock, and what a seed makes of it |
//! | [`client`], [`script`] | a client's TCP, and the program on top |
//! | [`talk`], [`request`], [`response`] | what is asked and what must come back, byte for byte |
//! | [`network`] | the way in between |
//! | [`driver`], [`edge`], [`flows`], [`image`] | the programs on the interface, their map, the policy |
//! | [`kernel`], [`server`], [`parser`] | the host's TCP, the program behind it, how that reads |
//! | [`packet`], [`trace`], [`tally`], [`rng`] | frames, what is printed, random numbers |
//!
//! What must hold is checked as it happens ([`world`]): every response is the one that was made for
//! its request, byte for byte; the server reads what the driver did not answer, and nothing else;
//! the driver answers whole requests of the client's alone, at their turn; every connection ends;
//! and nothing is remembered of whom nobody has seen.

#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "places in streams are far below 2^63, and those of sequence numbers are signed on purpose"
)]
#![allow(clippy::struct_excessive_bools, reason = "they are independent habits, not states")]
#![allow(clippy::format_push_string, reason = "text of a few lines, made once")]
#![allow(clippy::cast_precision_loss, reason = "a share for people")]

mod answering;
pub mod client;
pub mod driver;
pub mod edge;
pub mod flows;
pub mod image;
pub mod kernel;
pub mod network;
pub mod packet;
pub mod parser;
pub mod request;
pub mod response;
pub mod rng;
pub mod run;
pub mod script;
pub mod server;
pub mod setting;
pub mod stamps;
pub mod talk;
pub mod tally;
pub mod trace;
mod tracked;
pub mod tracks;
pub mod world;
