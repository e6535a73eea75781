//! The words of [`State`]: what the programs look at with every packet.

use std::{
    mem::offset_of,
    time::{SystemTime, UNIX_EPOCH},
};

use cors_common::{
    cookie::Keys,
    state::{
        ABI, DATE_LEN, Date, FLAG_KERNEL_HANDSHAKE, FLAG_MEASURE, FLAG_NO_SACK,
        FLAG_NO_WINDOW_SCALE, FLAG_TRACK, Slot, State,
    },
    tcp::handshake::Maker,
    track::table::ENTRIES,
    wire::options::Declined,
};

use super::{object, shared::Shared};

/// The one entry of the map `STATE`, and a copy of what was written to it last.
#[derive(Debug)]
pub struct StateWords {
    shared: Shared<State>,
    copy: State,
}

impl StateWords {
    pub(super) fn new(shared: Shared<State>) -> Self {
        Self { shared, copy: bytemuck::Zeroable::zeroed() }
    }

    /// Writes what does not change afterwards: the cookie secret, and whether only to measure.
    /// From here on the programs know the layout as theirs; they pass everything until a policy
    /// is active and the lease is written.
    pub fn begin(&mut self, keys: Keys, measure: bool) {
        self.copy = State {
            keys,
            flags: if measure { FLAG_MEASURE } else { 0 },
            sockets: unlike_any_before(),
            memo_mask: object::memos() - 1,
            track_mask: ENTRIES - 1,
            ..bytemuck::Zeroable::zeroed()
        };
        self.shared.store(0, &self.copy);
        self.copy.abi = ABI;
        self.publish(offset_of!(State, abi));
    }

    /// Goes on in other memory, with everything but the policy.
    pub(super) fn move_to(&mut self, shared: Shared<State>) {
        self.copy.active = 0;
        shared.store(0, &self.copy);
        self.shared = shared;
    }

    /// What this host's TCP does not do.
    pub fn set_declined(&mut self, declined: Declined) {
        let mut flags = self.copy.flags & !(FLAG_NO_SACK | FLAG_NO_WINDOW_SCALE);
        if declined.sack {
            flags |= FLAG_NO_SACK;
        }
        if declined.window_scale {
            flags |= FLAG_NO_WINDOW_SCALE;
        }
        self.set_flags(flags);
    }

    /// Whether connections that the kernel owns are tracked from now on.
    pub fn set_tracking(&mut self, tracking: bool) {
        self.set_flag(FLAG_TRACK, tracking);
    }

    /// Who makes handshakes from now on.
    pub fn set_handshake(&mut self, maker: Maker) {
        self.set_flag(FLAG_KERNEL_HANDSHAKE, maker == Maker::Kernel);
    }

    /// Who makes them now.
    pub const fn handshake(&self) -> Maker {
        if self.copy.flags & FLAG_KERNEL_HANDSHAKE == 0 { Maker::Driver } else { Maker::Kernel }
    }

    fn set_flag(&mut self, flag: u32, set: bool) {
        let others = self.copy.flags & !flag;
        self.set_flags(if set { others | flag } else { others });
    }

    fn set_flags(&mut self, flags: u32) {
        if flags != self.copy.flags {
            self.copy.flags = flags;
            self.publish(offset_of!(State, flags));
        }
    }

    /// Who is told of decisions: see [`cors_common::trace`].
    pub fn set_trace(&mut self, wanted: u32) {
        if wanted != self.copy.trace {
            self.copy.trace = wanted;
            self.publish(offset_of!(State, trace));
        }
    }

    /// The set of protected sockets is another one now: what the programs remember of the set as it
    /// was is not believed any more.
    pub(super) fn sockets_changed(&mut self) {
        self.copy.sockets = self.copy.sockets.wrapping_add(1);
        self.publish(offset_of!(State, sockets));
    }

    /// Until when the programs may answer: nanoseconds of `CLOCK_MONOTONIC`.
    pub fn set_lease(&mut self, until: u64) {
        self.copy.lease = until;
        self.publish(offset_of!(State, lease));
    }

    /// The number of the cookie epoch.
    pub fn set_epoch(&mut self, epoch: u32) {
        self.copy.epoch = epoch;
        self.publish(offset_of!(State, epoch));
    }

    /// The date that replies carry. To be called no more often than once a second or so: what a
    /// program may still be reading is overwritten by the call after the next.
    pub fn set_date(&mut self, text: &[u8; DATE_LEN]) {
        let date = Date::new(text);
        if self.copy.dates[self.copy.date as usize] == date {
            return;
        }
        let unused = self.copy.date ^ 1;
        self.copy.dates[unused as usize] = date;
        self.publish_range(
            offset_of!(State, dates) + unused as usize * size_of::<Date>(),
            size_of::<Date>(),
        );
        self.copy.date = unused;
        self.publish(offset_of!(State, date));
    }

    /// Which of the two slots is in use, if any.
    pub(super) const fn active(&self) -> Option<usize> {
        match self.copy.active {
            0 => None,
            n => Some(n as usize - 1),
        }
    }

    /// Describes one slot, which must not be in use, and puts it in use.
    pub(super) fn activate(&mut self, index: usize, slot: Slot) {
        self.copy.slots[index] = slot;
        self.publish_range(offset_of!(State, slots) + index * size_of::<Slot>(), size_of::<Slot>());
        self.copy.active = index as u32 + 1;
        self.publish(offset_of!(State, active));
    }

    fn publish(&self, offset: usize) {
        self.shared.publish(0, &self.copy, offset);
    }

    fn publish_range(&self, offset: usize, len: usize) {
        for at in (offset..offset + len).step_by(size_of::<u64>()) {
            self.publish(at);
        }
    }
}

/// What the set of protected sockets is counted from. Entries of connections outlive an agent, and
/// what they say of its sets must not be taken for one of the next agent's.
fn unlike_any_before() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as u32
}

/// The agent writes whole words of 64 bits, so what must not change at the same time as something
/// else may not share one with it. These share one and are each written by one call.
const _: () = {
    assert!(offset_of!(State, abi) / 8 == offset_of!(State, active) / 8);
    assert!(offset_of!(State, epoch) / 8 == offset_of!(State, date) / 8);
    assert!(offset_of!(State, memo_mask) / 8 == offset_of!(State, trace) / 8);
    assert!(offset_of!(State, lease) % 8 == 0);
    assert!(offset_of!(State, slots) % 8 == 0 && offset_of!(State, dates) % 8 == 0);
};
