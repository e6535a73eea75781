//! The header names that matter, each in the row of its length.
//!
//! A name is compared with the one of its row alone, so every header line costs the verifier (and
//! the processor) the same steps.

/// One less than the number of rows; a name has at most as many bytes.
pub(super) const MASK: usize = 63;

pub(super) const TE: usize = 2;
pub(super) const HOST: usize = 4;
pub(super) const ORIGIN: usize = 6;
pub(super) const UPGRADE: usize = 7;
pub(super) const CONNECTION: usize = 10;
pub(super) const CONTENT_LENGTH: usize = 14;
pub(super) const TRANSFER_ENCODING: usize = 17;
pub(super) const METHOD: usize = 29;
pub(super) const HEADERS: usize = 30;
/// As long as `origin`, and so in a row of its own.
pub(super) const EXPECT: usize = MASK;

/// A row's bit in a set of rows.
pub(super) const fn bit(row: usize) -> u64 {
    1 << row
}

/// For each row the name in lower case and what of each word belongs to it. In the rows of
/// no name nothing does: every name of that length is noted there, and nobody looks.
pub(super) static ROWS: [[(u64, u64); 4]; MASK + 1] = rows();

const fn rows() -> [[(u64, u64); 4]; MASK + 1] {
    let mut rows = [[(0, 0); 4]; MASK + 1];
    rows[TE] = row("te");
    rows[HOST] = row("host");
    rows[ORIGIN] = row("origin");
    rows[UPGRADE] = row("upgrade");
    rows[CONNECTION] = row("connection");
    rows[CONTENT_LENGTH] = row("content-length");
    rows[TRANSFER_ENCODING] = row("transfer-encoding");
    rows[METHOD] = row("access-control-request-method");
    rows[HEADERS] = row("access-control-request-headers");
    rows[EXPECT] = row("expect");
    rows
}

const fn row(text: &str) -> [(u64, u64); 4] {
    let bytes = text.as_bytes();
    let mut row = [(0, 0); 4];
    let mut i = 0;
    while i < bytes.len() {
        row[i / 8].0 |= (bytes[i] as u64) << (i % 8 * 8);
        row[i / 8].1 |= 0xff << (i % 8 * 8);
        i += 1;
    }
    row
}
