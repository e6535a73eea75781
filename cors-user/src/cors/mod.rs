//! CORS as the slow path does it: a parsed head in, what is to be done about it out.
//!
//! Pure: no sockets, no clock. What the policy says is asked of the same compiled image that the
//! kernel programs read ([`engine`] is the one file that knows how), so an answer from here and one
//! from the driver cannot differ. This side only accepts more spellings of a request.
//!
//! | file | question |
//! | --- | --- |
//! | [`asked`] | is this a preflight, an actual request, or no CORS at all? |
//! | [`rules`] | which policy has it, and what does that say? |
//! | [`path`] | how may a server read this path? |
//! | [`names`] | which headers are asked for? |
//! | [`reply`] | what is the answer to a preflight? |
//! | [`actual`] | what do the headers of an actual response become? |
//! | [`shown`] | what of a request may be shown? |

pub mod actual;
pub mod asked;
mod engine;
pub mod names;
pub mod path;
pub mod reply;
pub mod rules;
pub mod shown;

pub use actual::{Actual, Verdict};
pub use asked::{Asked, Kind};
pub use reply::Reply;
pub use rules::{Judgement, Rules};
pub use shown::Shown;
