//! A load generator that lives in the driver: honest TCP clients, played by an XDP program on the
//! far end of a cable.
//!
//! This library is its functional core, tested on the host: what a client does with a segment
//! ([`conn`]), whether a reply has the expected bytes ([`check`]), where a latency is counted
//! ([`histogram`]), and the layouts that cross the kernel boundary ([`layout`]). The binary beside
//! it is the shell: it reads frames, asks the core, and sends.
//!
//! A client here is a slot: an address of its own, with one connection at a time. Ports follow one
//! another, so that no pair of address and port comes again before some 64,000 connections.
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod check;
pub mod conn;
pub mod count;
pub mod histogram;
pub mod layout;
