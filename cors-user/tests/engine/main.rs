//! The policy engine as both tiers run it: a policy file and a request's bytes in, the answer's
//! bytes or the name of the refusal out.
//!
//! | module | what it asks |
//! | --- | --- |
//! | `field` | are the preflights of real browsers and proxies answered, in every order and case? |
//! | `grammar` | what is refused as a head, and under which name? |
//! | `bytes` | does any byte more, less or other than a head get an answer? |
//! | `scope` | which policy do a host and a path have? |
//! | `origins` | which origins are allowed? |
//! | `asked` | which methods and headers are allowed? |
//! | `replies` | what are the answer's bytes? |
//! | `judged` | does a browser take what is answered, and would it take nothing else? |
//! | `lines` | how much of a large policy does one request read? |
//! | `slow_path` | does the slow path say the same, of every request of all the others? |
//! | `agreement` | does the engine agree with plain string code (`plain`) on random requests? |

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod agreement;
mod asked;
mod bytes;
mod field;
mod grammar;
mod judged;
mod lines;
mod origins;
mod plain;
mod replies;
mod scope;
mod slow_path;
mod support;
