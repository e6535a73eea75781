//! The kernel's switches of this network namespace.

use std::{fs, path::Path};

/// Whether the kernel may take a connection by SYN cookie; 0: never.
pub const SYN_COOKIES: &str = "net.ipv4.tcp_syncookies";
/// Whether the kernel's TCP does selective acknowledgements.
pub const SACK: &str = "net.ipv4.tcp_sack";
/// Whether the kernel's TCP scales windows.
pub const WINDOW_SCALING: &str = "net.ipv4.tcp_window_scaling";
/// Whether conntrack takes up connections in the middle; 0: never. Only there with the module.
pub const CONNTRACK_LOOSE: &str = "net.netfilter.nf_conntrack_tcp_loose";

/// The value of a switch; `None` where the kernel has no such switch, or none that is a number.
pub fn read(name: &str) -> Option<i64> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_only() {
        assert!(read("kernel.pid_max").is_some_and(|value| value > 0));
        assert_eq!(read("kernel.ostype"), None);
        assert_eq!(read("kernel.no_such_switch"), None);
    }
}
