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
    ($($(#[$doc:meta])* fn $name:ident(
        $($out:ident: &mut $out_ty:ty),+; $($from:ident: &$from_ty:ty),*; $($number:ident: $number_ty:ty),*
    ) -> $ret:ty, $null:expr, $body:expr;)+) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $name(
            $($out: *mut $out_ty,)+ $($from: *const $from_ty,)* $($number: $number_ty,)*
        ) -> $ret {
            $(
                // SAFETY: the verifier checks the size behind a pointer that is not null, and
                // the callers pass references to memory of this CPU's, each to its own.
                let Some($out) = (unsafe { $out.as_mut() }) else { return $null };
            )+
            $(
                // SAFETY: as above, but only read from; the agent writes there nothing that is in
                // use.
                let Some($from) = (unsafe { $from.as_ref() }) else { return $null };
            )*
            $body
        }
    )+};
}

globals! {
    /// [`Head::read`].
    fn head_read(head: &mut Head;; len: u32) -> Done, FAILED, done(head.read(len as usize));
    /// [`find_tagged`].
    fn policy_find(head: &mut Head; slot: &Slot; tag: u64, at: u32) -> u64, 0,
        find_tagged(Maps, slot, head, tag, at);
    /// [`policy::find_host`].
    fn policy_host(head: &mut Head;;) -> Done, FAILED, done(policy::find_host(head));
    /// [`policy::find_policy`].
    fn policy_path(head: &mut Head; slot: &Slot;) -> Done, FAILED,
        done(policy::find_policy(Maps, slot, head));
    /// [`policy::check_origin`].
    fn policy_origin(head: &mut Head; slot: &Slot;) -> Done, FAILED,
        done(policy::check_origin(Maps, slot, head));
    /// [`policy::check_method`].
    fn policy_method(head: &mut Head; slot: &Slot;) -> Done, FAILED,
        done(policy::check_method(Maps, slot, head));
    /// [`policy::check_headers`].
    fn policy_headers(head: &mut Head; slot: &Slot;) -> Done, FAILED,
        done(policy::check_headers(Maps, slot, head));
    /// [`policy::answer`].
    fn policy_answer(head: &mut Head, answer: &mut Answer; slot: &Slot, date: &Date;) -> Done,
        FAILED, done(policy::answer(Maps, slot, date, head).map(|found| *answer = found));
}
