//! Decisions on requests, told to whoever traces them: the layout of an event, and how many there
//! may be.
//!
//! An event is [`Event`] and behind it the bytes of the request's head, as far as they were read.
//! What of the head is shown is for the agent to choose; nobody else can open the ring buffer.

use crate::head::PREFLIGHT_MAX;

/// In [`crate::state::State::trace`]: nobody traces.
pub const OFF: u32 = 0;
/// In [`crate::state::State::trace`]: only what the policy denies is told.
pub const DENIED: u32 = 1;
/// In [`crate::state::State::trace`]: every decision on a request is told.
pub const ALL: u32 = 2;

/// In [`Event::policy`]: it is not known which policy the request has.
pub const NO_POLICY: u32 = u32::MAX;

/// Bytes of the ring buffer: room for some hundred events.
pub const RING: usize = 1 << 18;

/// What is told of a decision before the request's head, 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Event {
    /// `CLOCK_MONOTONIC` in nanoseconds, as fine as the tick.
    pub at: u64,
    /// The interface that the request came in on.
    pub interface: u32,
    /// The number of the exit.
    pub exit: u32,
    /// Which generation of the policy was asked; 0: none.
    pub generation: u32,
    /// Which policy decided, see [`crate::policy::Answer::policy`], or [`NO_POLICY`].
    pub policy: u32,
    /// Events of this CPU that were left out since the one before.
    pub left_out: u32,
    /// Bytes of the head that follow.
    pub len: u32,
    /// Zero.
    pub pad: [u32; 2],
}

const _: () = assert!(size_of::<Event>() == 40);

/// The longest event, in bytes.
pub const EVENT_MAX: usize = size_of::<Event>() + PREFLIGHT_MAX;

/// How many events a CPU may tell: so many in each window, and those that are too many are
/// counted. One for each CPU; all zeros is a full one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Budget {
    window: u64,
    spent: u32,
    left_out: u32,
}

impl Budget {
    /// Events in a window: a page that asks for many things at once is told as a whole.
    pub const EVENTS: u32 = 16;
    /// Length of a window in nanoseconds, as a power of two: 67 ms.
    const WINDOW: u32 = 26;

    /// Nothing was told yet.
    pub const FULL: Self = Self { window: 0, spent: 0, left_out: 0 };

    /// Whether one more may be told at this time; if not, it is counted.
    #[inline(always)]
    pub const fn take(&mut self, now: u64) -> bool {
        let window = now >> Self::WINDOW;
        if self.window != window {
            self.window = window;
            self.spent = 0;
        }
        if self.spent >= Self::EVENTS {
            self.leave_out();
            return false;
        }
        self.spent += 1;
        true
    }

    /// One more was left out.
    #[inline(always)]
    pub const fn leave_out(&mut self) {
        self.left_out = self.left_out.saturating_add(1);
    }

    /// How many were left out since this was last set to nothing.
    #[inline(always)]
    pub const fn left_out(&self) -> u32 {
        self.left_out
    }

    /// What was left out has been told.
    #[inline(always)]
    pub const fn told(&mut self) {
        self.left_out = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_until_it_is_told() {
        let mut budget = Budget::FULL;
        let second = 1_000_000_000;
        let told = (0..100).filter(|_| budget.take(second)).count();
        assert_eq!(told, Budget::EVENTS as usize);
        assert_eq!(budget.left_out(), 100 - Budget::EVENTS);
        assert!(budget.take(second * 2), "the next window");
        assert_eq!(budget.left_out(), 100 - Budget::EVENTS);
        budget.told();
        assert_eq!(budget.left_out(), 0);
    }

    #[test]
    fn so_many_a_second_and_no_more() {
        let mut budget = Budget::FULL;
        let told = (0..1_000_000).filter(|n| budget.take(n * 1000)).count();
        let windows = (1_000_000_000 >> Budget::WINDOW) + 1;
        assert_eq!(told, windows * Budget::EVENTS as usize);
    }
}
