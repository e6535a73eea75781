//! Dates as HTTP writes them.

use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// Seconds since 1970.
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// An IMF-fixdate (RFC 9110 §5.6.7), by coreutils.
pub fn imf_fixdate(seconds: u64) -> String {
    let mut command = Command::new("date");
    command.env("LC_ALL", "C").args(["-u", "-d", &format!("@{seconds}")]);
    let output = command.arg("+%a, %d %b %Y %H:%M:%S GMT").output().expect("run date");
    assert!(output.status.success(), "date: {}", output.status);
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(imf_fixdate(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
