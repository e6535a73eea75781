//! What a browser does with requests and responses, case by case.
//!
//! | module | what it asks |
//! | --- | --- |
//! | `preflights` | when is there a preflight, and what is in it? |
//! | `heads` | how do the browsers write it? |
//! | `answers` | at which step does an answer to a preflight fail? |
//! | `responses` | who may read a response, and what of it? |
//! | `redirects` | what does a redirect lead to? |
//! | `remembered` | when is no preflight sent because of an earlier one? |
//! | `laws` | what holds for every request and every response? |

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod answers;
mod heads;
mod laws;
mod preflights;
mod redirects;
mod remembered;
mod responses;
mod support;
