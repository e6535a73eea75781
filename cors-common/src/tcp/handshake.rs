//! Who makes the handshake of a protected socket's connections.
//!
//! The driver does it without storing anything, and answers from the first segment on; but then
//! the kernel must be able to take the connection over (`bpf_sk_assign_tcp_reqsk`, Linux 6.9).
//! What the kernel accepts itself is followed from its SYN-ACK on ([`crate::track`]), and answered
//! on every kernel.

/// What the operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handshake {
    /// The driver makes it where the kernel can take connections over.
    #[default]
    Auto,
    /// The driver makes it.
    Xdp,
    /// The kernel makes it.
    Kernel,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The driver.
    Driver,
    /// The kernel.
    Kernel,
}

/// Why nobody can, or to no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// The kernel cannot take over what the driver accepts: it has no function
    /// [`crate::kfunc::NAME`].
    HandOver,
    /// What the kernel accepts is not followed, so nothing would ever be answered.
    Untracked,
}

impl Handshake {
    /// Who makes the handshake on a kernel that takes connections over or does not, where
    /// connections are followed or are not.
    pub const fn decide(self, hands_over: bool, tracks: bool) -> Result<Maker, Impossible> {
        match self {
            Self::Auto | Self::Xdp if hands_over => Ok(Maker::Driver),
            Self::Xdp => Err(Impossible::HandOver),
            _ if !tracks => Err(Impossible::Untracked),
            _ => Ok(Maker::Kernel),
        }
    }

    /// As it is written in a policy file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::Kernel => "kernel",
        }
    }
}

impl Impossible {
    /// What is missing and what to do, as the rest of a sentence.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::HandOver => {
                "the kernel has no function bpf_sk_assign_tcp_reqsk, by which it takes over \
                 connections that the driver accepts: leave `handshake = \"xdp\"` out, so that the \
                 kernel makes the handshakes, or boot Linux 6.9 or later"
            }
            Self::Untracked => {
                "the kernel makes the handshakes, and with `track = false` its connections are not \
                 followed: nothing would ever be answered; leave `track` out"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Handshake::*, *};
    use crate::kfunc;

    #[test]
    fn the_driver_makes_it_where_it_can_and_is_let() {
        for tracks in [false, true] {
            assert_eq!(Auto.decide(true, tracks), Ok(Maker::Driver));
            assert_eq!(Xdp.decide(true, tracks), Ok(Maker::Driver));
            assert_eq!(Xdp.decide(false, tracks), Err(Impossible::HandOver));
        }
        for hands_over in [false, true] {
            assert_eq!(Kernel.decide(hands_over, true), Ok(Maker::Kernel));
            assert_eq!(Kernel.decide(hands_over, false), Err(Impossible::Untracked));
        }
        assert_eq!(Auto.decide(false, true), Ok(Maker::Kernel));
        assert_eq!(Auto.decide(false, false), Err(Impossible::Untracked));
    }

    #[test]
    fn the_advice_names_the_function() {
        assert!(Impossible::HandOver.advice().contains(kfunc::NAME));
    }
}
