//! What a network card does to a frame before a program sees it.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `ETHTOOL_GFLAGS` of `include/uapi/linux/ethtool.h`.
const GET_FLAGS: u32 = 0x25;
/// `ETH_FLAG_RXVLAN`.
const RX_VLAN: u32 = 1 << 8;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ifreq` with a pointer, in its full length.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut Value,
    padding: [u8; 16],
}

/// Whether the card takes the VLAN tags out of the frames that it receives
/// (`ethtool -k`: `rx-vlan-offload`).
pub fn strips_tags(interface: &str) -> io::Result<bool> {
    let any: OwnedFd =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut value = Value { command: GET_FLAGS, data: 0 };
    let mut name = [0; libc::IFNAMSIZ];
    // One byte stays zero, and ends the name.
    if interface.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    name[..interface.len()].copy_from_slice(interface.as_bytes());
    let mut request = Request { name, data: &raw mut value, padding: [0; 16] };
    // SAFETY: the request is as long as the kernel's structure; it and the value that it points to,
    // which is what this command reads and writes, outlive the call.
    let result = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data & RX_VLAN != 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_strips_nothing() {
        assert!(!strips_tags("lo").expect("an answer"));
        assert!(strips_tags("nosuch0").is_err());
        assert!(strips_tags("longer-than-any-name").is_err());
    }
}
