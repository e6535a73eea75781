//! What a stage returns: success, or the exit as a number.
//!
//! A function of a kernel program returns one register, and the verifier follows each constant in
//! it by itself. As a number that is made an [`Exit`] again by a table, all failures are one.

use cors_common::exit::Exit;

/// [`SUCCESS`], or an exit's number.
pub(crate) type Done = u32;

const SUCCESS: Done = u32::MAX;

/// What a stage returns that was called wrongly.
pub(crate) const FAILED: Done = Exit::Internal as u32;

/// What a stage returns.
#[inline(always)]
pub(crate) fn done(result: Result<(), Exit>) -> Done {
    match result {
        Ok(()) => SUCCESS,
        Err(exit) => exit as u32,
    }
}

/// What a stage returned.
#[inline(always)]
pub(crate) fn result(done: Done) -> Result<(), Exit> {
    if done == SUCCESS {
        Ok(())
    } else {
        // Volatile, or the compiler would know that it is the number of an exit, and leave out the
        // bounds that the verifier wants to see.
        // SAFETY: a reference to a local value.
        Err(Exit::from_number(unsafe { (&raw const done).read_volatile() }))
    }
}
