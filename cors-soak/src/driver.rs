//! The seam between the simulated host and the programs on its interface.
//!
//! A frame comes in through [`Driver::ingress`] (at the interface) and, where it passes,
//! [`Driver::tc_ingress`] (behind it, where frames may have been joined); what the kernel sends
//! goes out through [`Driver::egress`]. All three may change what they let through.

use cors_common::{
    exit::Exit,
    tcp::Owner,
    wire::{
        options::Negotiated,
        segment::{Segment, Tuple},
    },
};

/// What the programs ask of the kernel.
pub trait Host {
    /// Who would take the segment.
    fn owner(&self, segment: &Segment) -> Owner;
}

/// What becomes of a frame at the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// It goes up.
    Pass(Vec<u8>),
    /// It ends here.
    Drop,
    /// It goes back in this form.
    Transmit(Vec<u8>),
}

/// What becomes of a frame behind the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tc {
    /// It goes to the kernel's TCP.
    Pass(Vec<u8>),
    /// The same, and a full socket is made from its numbers (`bpf_sk_assign_tcp_reqsk`).
    Assign(Vec<u8>, Negotiated),
    /// It ends here.
    Drop,
}

/// The programs on one interface.
pub trait Driver {
    /// The clock, in microseconds: comes before every frame.
    fn set_now(&mut self, now: u64);

    /// A frame from the wire.
    fn ingress(&mut self, frame: Vec<u8>, host: &dyn Host) -> (Exit, Ingress);

    /// A frame that passed, perhaps joined with those behind it.
    fn tc_ingress(&mut self, frame: Vec<u8>, host: &dyn Host) -> (Exit, Tc);

    /// A frame from the kernel, perhaps longer than the wire takes. `None`: it is dropped.
    fn egress(&mut self, frame: Vec<u8>, host: &dyn Host) -> (Exit, Option<Vec<u8>>);

    /// The connections of which something is remembered.
    fn remembered(&self) -> Vec<Tuple>;

    /// Takes those that were driven out of memory since the last time.
    fn evicted(&mut self) -> Vec<Tuple>;
}
