//! Whether the kernel is one that interrupts nearly everything (`PREEMPT_RT`).

use std::fs;

/// There only where it is; the same for every namespace, unlike most of `/sys`.
const FLAG: &str = "/sys/kernel/realtime";

/// Whether it is.
pub fn is_realtime() -> bool {
    fs::read_to_string(FLAG).is_ok_and(|flag| says_yes(&flag))
}

fn says_yes(flag: &str) -> bool {
    flag.trim() == "1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_means_yes() {
        assert!(says_yes("1\n"));
        assert!(!says_yes("0\n") && !says_yes(""));
    }
}
