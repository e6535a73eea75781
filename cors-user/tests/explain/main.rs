//! `cors-edge explain`: what is said of a request, and whether it is true.
//!
//! | module | what it asks |
//! | --- | --- |
//! | `policies` | what is said under a policy file? |
//! | `pasted` | what is said of responses from anywhere? |
//! | `advice` | does what is advised do what is promised? |
//! | `agreement` | do the engine, its explanation, and the oracle hold the same opinion? |
//! | `docs` | does the program print what the documentation says, and end as it says? |
//!
//! Texts are compared with `snapshots/`; `INSTA_UPDATE=always` writes them anew.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod advice;
mod agreement;
mod docs;

mod pasted;
mod policies;
mod support;
