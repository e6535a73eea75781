//! The steps of reading and looking up a head, as functions that are verified by themselves.
//!
//! A function with external linkage is a *global* one to the verifier (Linux 5.6, commit
//! 51c39bb1d5d1): it is walked once, for any arguments of its types, and not again at each call.
//! The price is that a pointer may be null to it, and that only a number comes back.

use cors_common::{
    head::{Head, PREFLIGHT_MAX},
    policy::{self, Answer, fact::find_tagged, memo::Memo},
    state::Slot,
};

use crate::{
    maps::{MEMO, Maps},
    stage::{Done, FAILED, done},
};

/// No place: nothing is remembered.
pub(crate) const NOWHERE: u32 = u32::MAX;
/// An answer was remembered.
pub(crate) const RECALLED: u32 = NOWHERE - 1;

/// One of this CPU's memos; none where there is no such place.
#[inline(always)]
fn memo(place: u32) -> Option<&'static mut Memo> {
    let memo = MEMO.get_ptr_mut(place)?;
    // SAFETY: the entry is this CPU's own, and no other reference to it lives as long.
    Some(unsafe { &mut *memo })
}

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
    /// Seals a head and recalls its answer: [`RECALLED`], or the place to remember it in, see
    /// [`remember`].
    fn recall(
        head: &mut Head, answer: &mut Answer;; len: u32, generation: u32, mask: u32
    ) -> u32, NOWHERE, {
        let len = len as usize;
        if len > PREFLIGHT_MAX {
            return NOWHERE;
        }
        head.seal(len);
        if !Memo::holds(len) {
            return NOWHERE;
        }
        let fold = Memo::fold(head, len);
        head.mark = (fold >> 32) as u32;
        let (first, second) = (fold as u32 & mask, (fold as u32 & mask) ^ 1);
        let (Some(a), Some(b)) = (memo(first), memo(second)) else { return NOWHERE };
        if a.recall(head, len, generation, head.mark, answer)
            || b.recall(head, len, generation, head.mark, answer)
        {
            RECALLED
        } else if !a.is_of(generation) || (b.is_of(generation) && head.mark & 1 == 0) {
            first
        } else {
            second
        }
    };
    /// Remembers the answer to a sealed head that came before.
    fn remember(head: &mut Head, answer: &mut Answer;; place: u32, len: u32, generation: u32) -> u32,
        NOWHERE, {
            if let Some(memo) = memo(place)
                && memo.is_missed_again(head.mark)
                && Memo::holds(len as usize)
            {
                memo.note(head, len as usize, generation, head.mark, answer);
            }
            NOWHERE
        };
    /// [`Head::read`] if it is to be a `preflight`, or else [`Head::frame`].
    fn head_read(head: &mut Head;; len: u32, preflight: u32) -> Done, FAILED,
        done(head.read_as(len as usize, preflight != 0));
    /// [`Head::judge`] on a head that was framed.
    fn head_judge(head: &mut Head;;) -> Done, FAILED, done(head.judge());
    /// [`Head::response`].
    fn head_response(head: &mut Head;; len: u32) -> Done, FAILED, done(head.response(len as usize));
    /// [`find_tagged`].
    fn policy_find(head: &mut Head; slot: &Slot; tag: u64, at: u32) -> u64, 0,
        find_tagged(Maps, slot, head, tag, at);
    /// [`policy::find_scope`].
    fn policy_scope(head: &mut Head; slot: &Slot;) -> Done, FAILED,
        done(policy::find_scope(Maps, slot, head));
    /// [`policy::check_listed`].
    fn policy_origin(head: &mut Head; slot: &Slot;) -> Done, FAILED,
        done(policy::check_listed(Maps, slot, head));
    /// [`policy::check_subdomain`].
    fn policy_subdomain(head: &mut Head; slot: &Slot;) -> Done, FAILED,
        done(policy::check_subdomain(Maps, slot, head));
    /// [`policy::check_method`] and [`policy::check_headers`].
    fn policy_asked(head: &mut Head; slot: &Slot;) -> Done, FAILED,
        done(
            policy::check_method(Maps, slot, head)
                .and_then(|()| policy::check_headers(Maps, slot, head)),
        );
    /// [`policy::answer`].
    fn policy_answer(head: &mut Head, answer: &mut Answer; slot: &Slot;) -> Done, FAILED,
        done(policy::answer(Maps, slot, head).map(|found| *answer = found));
}
