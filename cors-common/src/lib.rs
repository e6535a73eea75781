//! What both sides of cors-edge share: the layouts that cross the kernel boundary, and every
//! decision as a pure function.
//!
//! The crate is `no_std`, does no I/O and has no `unsafe` but two volatile
//! accesses in [`zero`]. The kernel programs call the
//! same functions that the host tests, the agent and the simulations call, over the same bytes,
//! so what is tested on the host is what runs in the driver.
//!
//! | module | question it answers |
//! | --- | --- |
//! | [`wire`] | what does this frame say, and which bytes does a reply have? |
//! | [`cookie`] | did we make the handshake that this segment claims to finish? |
//! | [`tcp`] | what happens to this segment? |
//! | [`head`] | is the payload exactly one preflight that tier 1 may read? |
//! | [`policy`] | does the policy allow it, and what is the answer? |
//! | [`framing`] | where do requests begin and end on a connection? |
//! | [`exit`] | under which name is the outcome counted? |
//! | [`tally`] | what is counted for each policy? |
//! | [`trace`] | what is told of a decision to whoever traces? |
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod checksum;
pub mod cookie;
pub mod exit;
pub mod framing;
pub mod head;
pub mod kfunc;
pub mod policy;
pub mod siphash;
pub mod spread;
pub mod state;
pub mod swar;
pub mod tally;
pub mod tcp;
pub mod trace;
pub mod track;
pub mod wire;
pub mod zero;
