//! What is counted for each policy: its answers, and what it denies by what was wrong.

use crate::exit::Exit;

/// The counters of one policy on one CPU, 32 bytes: one for each of [`KINDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Tally(pub [u64; KINDS.len()]);

const _: () = assert!(size_of::<Tally>() == 32);

/// How many policies are counted together in an entry of the map.
///
/// The kernel keeps a pointer to each entry of a map for each CPU. One for each policy would be one
/// more piece of memory to wait for.
pub const TOGETHER: u32 = 32;

/// Policies that are neighbours, on one CPU: 1,024 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Neighbours(pub [Tally; TOGETHER as usize]);

const _: () = assert!(size_of::<Neighbours>() == 1024);

impl Neighbours {
    /// The counters of a policy that is one of them.
    #[inline(always)]
    pub const fn of(&mut self, policy: u32) -> &mut Tally {
        &mut self.0[(policy % TOGETHER) as usize]
    }
}

/// What is counted, in this order, by the exit that it is named after.
pub const KINDS: [Exit; 4] =
    [Exit::Answered, Exit::OriginDenied, Exit::MethodDenied, Exit::HeaderDenied];

/// Where a request with this exit is counted; `None`: it is no decision of a policy's.
///
/// An answer that is given again is not another one.
#[inline(always)]
pub const fn place(exit: Exit) -> Option<usize> {
    match exit {
        Exit::Answered | Exit::AnsweredClose | Exit::TrackedAnswered | Exit::WouldAnswer => Some(0),
        Exit::OriginDenied => Some(1),
        Exit::MethodDenied => Some(2),
        Exit::HeaderDenied => Some(3),
        _ => None,
    }
}

/// Whether the policy denies the request.
#[inline(always)]
pub const fn is_denied(exit: Exit) -> bool {
    matches!(exit, Exit::OriginDenied | Exit::MethodDenied | Exit::HeaderDenied)
}

impl Tally {
    /// Counts a request with this exit.
    #[inline(always)]
    pub fn count(&mut self, exit: Exit) {
        if let Some(place) = place(exit) {
            self.0[place & (KINDS.len() - 1)] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_in_its_place() {
        for (at, exit) in KINDS.into_iter().enumerate() {
            assert_eq!(place(exit), Some(at));
        }
        let counted = Exit::ALL.iter().filter(|exit| place(**exit).is_some()).count();
        assert_eq!(counted, KINDS.len() + 3);
        let mut tally = Tally::default();
        for exit in Exit::ALL {
            tally.count(*exit);
        }
        assert_eq!(tally, Tally([4, 1, 1, 1]));
    }

    #[test]
    fn denied_is_what_is_counted_and_not_answered() {
        for exit in Exit::ALL {
            assert_eq!(is_denied(*exit), place(*exit).is_some_and(|place| place > 0), "{exit:?}");
        }
    }
}
