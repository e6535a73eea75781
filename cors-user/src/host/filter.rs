//! Programs on traffic control's hooks by rtnetlink(7), as it is done where there is no `tcx`
//! (before Linux 6.6): a qdisc `clsact`, and a filter `bpf` on it.
//!
//! ```text
//! head    struct tcmsg: u8 family, 3 bytes, i32 interface, u32 handle, u32 parent, u32 info;
//!         a filter's info is its priority << 16 | the protocol in network order
//! then    attributes: TCA_KIND, and TCA_OPTIONS with the filter's own inside
//! ```
//!
//! Nothing but the interface holds such a filter: it outlives whoever put it there. Its place is
//! always the same, so that whoever comes next finds it and exchanges the program in it, without a
//! packet in between that meets neither.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use super::netlink::{ask, attribute};

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const EXCLUSIVELY: u16 = libc::NLM_F_EXCL as u16;
/// `linux/rtnetlink.h`.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
/// `TCA_BPF_FD`, `TCA_BPF_NAME` and `TCA_BPF_FLAGS` of `linux/pkt_cls.h`.
const FD: u16 = 6;
const NAME: u16 = 7;
const FLAGS: u16 = 8;
/// `TCA_BPF_FLAG_ACT_DIRECT`: what the program returns is what is done.
const DIRECT: u32 = 1;

/// `TC_H_CLSACT`, as a parent and as the upper half of a hook.
const CLSACT: u32 = 0xffff_fff1;
const MAJOR: u32 = 0xffff_0000;
/// `ETH_P_ALL` in network order.
const EVERY_PROTOCOL: u32 = 0x0003_u16.to_be() as u32;
/// Of our filters.
const HANDLE: u32 = 0xc025;

/// Where packets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// On the way in. Ours comes first.
    Ingress,
    /// On the way out. Ours comes last.
    Egress,
}

impl Hook {
    /// `TC_H_MIN_INGRESS` or `TC_H_MIN_EGRESS`, with the major number in front.
    const fn parent(self) -> u32 {
        match self {
            Self::Ingress => MAJOR | 0xfff2,
            Self::Egress => MAJOR | 0xfff3,
        }
    }

    const fn priority(self) -> u32 {
        match self {
            Self::Ingress => 1,
            Self::Egress => 0xffff,
        }
    }
}

/// Puts a program on a hook of an interface, in the place of the one of ours that is there.
pub fn put(interface: u32, hook: Hook, program: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let qdisc = [head(interface, MAJOR, CLSACT, 0), attribute(KIND, b"clsact\0")].concat();
    match ask(libc::RTM_NEWQDISC, CREATE | EXCLUSIVELY, &qdisc) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
        _ => {}
    }
    ask(libc::RTM_NEWTFILTER, CREATE, &filter(interface, hook, program, name))
}

/// Takes it off. None there is no error, nor an interface that is gone.
pub fn remove(interface: u32, hook: Hook) -> io::Result<()> {
    // Without the qdisc it is EINVAL.
    const GONE: [i32; 3] = [libc::ENOENT, libc::ENODEV, libc::EINVAL];
    match ask(libc::RTM_DELTFILTER, 0, &place(interface, hook)) {
        Err(error) if error.raw_os_error().is_some_and(|number| GONE.contains(&number)) => Ok(()),
        result => result,
    }
}

fn filter(interface: u32, hook: Hook, program: BorrowedFd<'_>, name: &str) -> Vec<u8> {
    let options = [
        attribute(FD, &program.as_raw_fd().to_ne_bytes()),
        attribute(NAME, format!("{name}\0").as_bytes()),
        attribute(FLAGS, &DIRECT.to_ne_bytes()),
    ];
    [place(interface, hook), attribute(KIND, b"bpf\0"), attribute(OPTIONS, &options.concat())]
        .concat()
}

fn place(interface: u32, hook: Hook) -> Vec<u8> {
    head(interface, HANDLE, hook.parent(), hook.priority() << 16 | EVERY_PROTOCOL)
}

fn head(interface: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    // The family and what is behind it are zeros.
    [0, interface, handle, parent, info].into_iter().flat_map(u32::to_ne_bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_filter_names_its_place_and_its_program() {
        let null = std::fs::File::open("/dev/null").expect("a descriptor");
        let filter = filter(7, Hook::Egress, null.as_fd(), "outward");
        assert_eq!(filter[4..8], 7_u32.to_ne_bytes());
        assert_eq!(filter[12..16], 0xffff_fff3_u32.to_ne_bytes());
        // "bpf" with its NUL needs no padding, and neither do the numbers and the name.
        assert_eq!(filter.len(), 20 + 8 + 4 + 8 + 12 + 8);
        let fd = null.as_raw_fd().to_ne_bytes();
        assert_eq!(filter[36..40], fd);
        assert_eq!(filter[44..52], *b"outward\0");
    }

    #[test]
    fn nothing_on_an_interface_that_is_not_there() {
        let gone = remove(0x7fff_fff0, Hook::Egress);
        assert!(gone.is_ok() || gone.is_err_and(|e| e.raw_os_error() == Some(libc::EPERM)));
    }
}
