//! The steps of reading and looking up a head, as functions that are verified by themselves.
//!
//! A function with external linkage is a *global* one to the verifier (Linux 5.6, commit
//! 51c39bb1d5d1): it is walked once, for any arguments of its types, and not again at each call.
//! The price is that a pointer may be null to it, and that only a number comes back.

use cors_common::{
    head::Head,
    policy::{self, Answer, fact::find_tagged},
    state::{Date, Slot},
};

use crate::{
    maps::Maps,
    stage::{Done, FAILED, done},
};

macro_rules! globals {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*$(; $($num:ident: $num_ty:ty),+)?) -> $ret:ty, $null:expr, $body:expr;)+) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $name($($arg: *mut $ty,)* $($($num: $num_ty),+)?) -> $ret {
            $(
                // SAFETY: the verifier checks the size behind a pointer that is not null, and
                // the callers pass references, of which no two are of the same memory.
                let Some($arg) = (unsafe { $arg.as_mut() }) else { return $null };
            )*
            $body
        }
    )+};
}

globals! {
    /// [`Head::read`].
    fn head_read(head: Head; len: u32) -> Done, FAILED, done(head.read(len as usize));
    /// [`find_tagged`].
    fn policy_find(head: Head, slot: Slot; tag: u64, at: u32) -> u64, 0,
        find_tagged(Maps, slot, head, tag, at);
    /// [`policy::find_host`].
    fn policy_host(head: Head) -> Done, FAILED, done(policy::find_host(head));
    /// [`policy::find_policy`].
    fn policy_path(head: Head, slot: Slot) -> Done, FAILED,
        done(policy::find_policy(Maps, slot, head));
    /// [`policy::check_origin`].
    fn policy_origin(head: Head, slot: Slot) -> Done, FAILED,
        done(policy::check_origin(Maps, slot, head));
    /// [`policy::check_method`].
    fn policy_method(head: Head, slot: Slot) -> Done, FAILED,
        done(policy::check_method(Maps, slot, head));
    /// [`policy::check_headers`].
    fn policy_headers(head: Head, slot: Slot) -> Done, FAILED,
        done(policy::check_headers(Maps, slot, head));
    /// [`policy::answer`].
    fn policy_answer(head: Head, slot: Slot, date: Date, answer: Answer) -> Done, FAILED,
        done(policy::answer(Maps, slot, date, head).map(|found| *answer = found));
}
