//! The browser's side of CORS, written from the [Fetch Standard](https://fetch.spec.whatwg.org/):
//! which requests are preceded by a preflight, what it looks like, and what is made of the answers.
//!
//! ```text
//! Request ─ route ─► same origin, opaque, or CORS: with a preflight or without
//!             │
//!             ├─ preflight_request ─► the head ─► …a server… ─► judge_preflight ─► Grant ─► Cache
//!             └─ …a server… ─► judge_actual ─► visible_headers
//!                                  └─ follow, where it is a redirect
//! ```
//!
//! Pure, and it shares nothing with the program whose answers it judges: it knows no policy, no
//! configuration and no packet. Every way to fail is a [`Step`] of a standard, with its section.
//! What a browser does beyond the standards (extensions, enterprise policies, service workers) is
//! not here, and neither is what it decides before CORS comes into it, except where that is what
//! people take for CORS: bad ports, mixed content, requests into the local network.

#![forbid(unsafe_code)]

mod actual;
mod browser;
mod cache;
mod check;
mod forbidden;
mod header;
mod list;
mod method;
mod mime;
mod network;
mod origin;
mod preflight;
mod range;
mod redirect;
mod request;
mod route;
mod safelist;
mod step;
mod syntax;

pub use actual::{judge_actual, visible_headers};
pub use browser::Browser;
pub use cache::Cache;
pub use check::{ALLOW_CREDENTIALS, ALLOW_ORIGIN};
pub use forbidden::{is_bad_port, is_forbidden_request_header, is_forbidden_response_header};
pub use header::{Header, Headers, Response};
pub use list::Unreadable;
pub use method::{is_forbidden_method, is_safelisted_method, normalize_method};
pub use network::{AddressSpace, enters_local_network};
pub use origin::{Origin, is_potentially_trustworthy};
pub use preflight::{
    ALLOW_HEADERS, ALLOW_METHODS, Grant, MAX_AGE, Preflight, Reason, judge_preflight,
    needs_preflight, preflight_request,
};
pub use redirect::follow;
pub use request::{Body, Credentials, Mode, Redirect, Request, Tainting};
pub use route::{Route, route};
pub use safelist::{is_safelisted_request_header, unsafe_names};
pub use step::{Failure, Judgement, Step};
