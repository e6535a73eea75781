//! A network interface whose other end is the test itself.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    sync::Arc,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::netns::Netns;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Frames are at most this long: no offloads are on, so nothing is larger than the MTU.
const FRAME_MAX: usize = 2048;

/// A TAP device. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Tap {
    file: Arc<File>,
    /// The address of the interface, the host's end.
    pub mac: Mac,
}

impl Tap {
    /// Makes the interface in a namespace and brings it up. Its address is `02:00:00:00:00:`*n*.
    ///
    /// Without a virtio header there are no offloads: the kernel checksums and segments what it
    /// sends here as it would for a plain network card.
    pub fn new(host: &Netns, name: &str, n: u8) -> Self {
        let file = host.enter(|| open(name)).expect("make a TAP device");
        let mac = [2, 0, 0, 0, 0, n];
        host.ip(&["link", "set", name, "address", &text(mac)]);
        // Router solicitations and the like only disturb scripts.
        host.sysctl(&format!("net/ipv6/conf/{name}/addr_gen_mode"), "1");
        host.ip(&["link", "set", name, "up"]);
        Self { file: Arc::new(file), mac }
    }

    /// Gives a frame to the host.
    pub fn send(&self, frame: &[u8]) {
        let written = (&*self.file).write(frame).expect("write a frame");
        assert_eq!(written, frame.len());
    }

    /// The next frame that the host sends, or nothing within that time.
    pub fn receive(&self, timeout: Duration) -> Option<Vec<u8>> {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout).expect("a reasonable time-out");
        // An interrupted poll counts as silence; the caller asks again.
        if poll(&mut fds, timeout).unwrap_or(0) == 0 {
            return None;
        }
        let mut frame = vec![0; FRAME_MAX];
        match (&*self.file).read(&mut frame) {
            Ok(length) => {
                frame.truncate(length);
                Some(frame)
            }
            // The other end may have gone down between the two calls.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("read a frame: {error}"),
        }
    }
}

/// The form that iproute2 takes.
pub fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn open(name: &str) -> io::Result<File> {
    /// `struct ifreq` as far as `TUNSETIFF` reads it, in its full length.
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        padding: [u8; 22],
    }

    assert!(name.len() < libc::IFNAMSIZ, "{name} is too long for an interface");
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI;
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        flags: flags.try_into().expect("flags of sixteen bits"),
        padding: [0; 22],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the request is valid for the call, as long as the kernel's `struct ifreq`, and ends
    // in a NUL after the name.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}
