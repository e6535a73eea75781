//! Where requests begin and end on an HTTP/1.1 connection, by a table without exceptions.
//!
//! ```text
//! request = method SP target SP version CRLF *( name ":" OWS value OWS CRLF ) CRLF body
//! body    = nothing / Content-Length bytes / chunks            (RFC 9112 §6)
//! ```
//!
//! Whoever forwards requests must see the same boundaries as the server behind. So nothing that
//! two readers are known to read differently gets through: what [`scan`], [`head`] and [`body`]
//! accept has one reading, and everything else is [`Broken`].
//!
//! No I/O, no allocation: the slow path runs it in front of its HTTP library.

pub mod body;
pub mod head;
pub mod scan;

pub use body::{Body, Step};
pub use head::Framing;
pub use scan::Scan;

macro_rules! broken {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:literal;)+) => {
        /// Why a connection cannot be read any further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Broken {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Broken {
            /// Every variant, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name under which it is counted: that of [`crate::exit::Exit`] where both
            /// tiers refuse the same thing.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The status of the answer (RFC 9110 §15.5).
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)+
                }
            }
        }
    };
}

broken! {
    /// A head of more bytes than are read.
    HeadTooLong = "head_too_long", 431;
    /// A head of more lines than are read.
    TooManyHeaders = "too_many_headers", 431;
    /// No method, or one that is not forwarded (`CONNECT`).
    Method = "method", 400;
    /// A target that is neither in origin form nor in absolute form (nor `*` for `OPTIONS`).
    Target = "target", 400;
    /// Neither `HTTP/1.1` nor `HTTP/1.0`.
    HttpVersion = "http_version", 505;
    /// A line that does not start with a name and a colon; a continued line is one.
    HeaderName = "header_name", 400;
    /// A control character, a bare CR or a bare LF.
    HeaderByte = "header_byte", 400;
    /// A header that must be single is there twice.
    Duplicate = "duplicate", 400;
    /// A `Content-Length` that is not one number, or stands beside `Transfer-Encoding`.
    ContentLength = "content_length", 400;
    /// A `Transfer-Encoding` other than `chunked`, or one in `HTTP/1.0`.
    TransferEncoding = "transfer_encoding", 400;
    /// No `Host`, one that is no host and port, or one that the target contradicts.
    Host = "host", 400;
    /// A chunk whose size, end or trailer is not as it must be.
    Chunk = "chunk", 400;
}
