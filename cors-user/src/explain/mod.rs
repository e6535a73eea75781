//! `cors-edge explain`: what a browser would do with a request, and why.
//!
//! Two questions are answered. Under a policy file: is there a preflight, who answers it, the
//! driver or somebody behind it, and does the browser let the script have the response
//! ([`by_policy`]). And without one, of responses that somebody has pasted: what is wrong with
//! them ([`by_responses`]).
//!
//! Pure. The judge is [`cors_oracle`], which knows no policy; the driver's part is played by the
//! kernel program's own functions (`driver`, the only module here that names them), the agent's by
//! the proxy's ([`crate::cors`], by way of `reply`). Where a policy refuses, `reading` says at which
//! of its values, `advice` what to write instead: only edits that have been tried on the policy
//! file are given.

mod advice;
mod by_policy;
mod by_responses;
mod driver;
mod explanation;
mod human;
mod notes;
mod paste;
mod place;
mod places;
mod preflight;
mod question;
mod reading;
mod reply;

pub use by_policy::{Error, PolicyFile, by_policy};
pub use by_responses::{Given, by_responses};
pub use explanation::{
    Answer, Answerer, Asked, Because, Change, Driver, Edit, Explanation, Failed, Field, Place,
    Preflight, Remembered, Stage, VERSION, Verdict,
};
pub use human::{Shown, human};
pub use question::{BadQuestion, Question};
