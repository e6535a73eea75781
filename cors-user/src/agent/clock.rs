//! What the programs are told of the time: the date, the cookie epoch, the end of the lease.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cors_common::{cookie::EPOCH_SECONDS, state::DATE_LEN};
use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// The last second that an IMF-fixdate can say: the end of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The date of now.
pub fn date_of_now() -> [u8; DATE_LEN] {
    date(since_1970())
}

/// The number of the cookie epoch, by `CLOCK_BOOTTIME`: the wall clock may be set, and with it
/// every handshake under way would fail; `CLOCK_MONOTONIC` stands still while the machine sleeps,
/// and a cookie from before would be good afterwards. Nobody else needs the number: the secret is
/// this agent's own.
pub fn epoch() -> io::Result<u32> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?);
    Ok((now.as_secs() / EPOCH_SECONDS) as u32)
}

/// When, by `CLOCK_MONOTONIC` in nanoseconds, a lease ends that begins now.
pub fn lease(length: Duration) -> io::Result<u64> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    Ok(u64::try_from((now + length).as_nanos()).unwrap_or(u64::MAX))
}

/// When the next second begins.
pub fn next_second() -> Instant {
    Instant::now() + until_next_second(since_1970())
}

/// A clock that is set before 1970 says 1970.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn until_next_second(now: Duration) -> Duration {
    Duration::from_nanos(u64::from(1_000_000_000 - now.subsec_nanos()))
}

/// An IMF-fixdate (RFC 9110 §5.6.7).
fn date(now: Duration) -> [u8; DATE_LEN] {
    let text = httpdate::fmt_http_date(UNIX_EPOCH + now.min(LAST));
    // Every such date has the same length.
    *text.as_bytes().first_chunk().unwrap_or(b"Thu, 01 Jan 1970 00:00:00 GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_rfc_9110() {
        for (second, expected) in [
            (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, b"Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_709_164_800, b"Thu, 29 Feb 2024 00:00:00 GMT"),
            (253_402_300_799, b"Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, b"Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(&date(Duration::from_secs(second)), expected, "{second}");
        }
        assert_eq!(date(Duration::from_millis(1999)), date(Duration::from_secs(1)));
    }

    #[test]
    fn beats_are_on_the_second() {
        for (now, expected) in [(7000, 1000), (7001, 999), (7999, 1)] {
            let wait = until_next_second(Duration::from_millis(now));
            assert_eq!(wait, Duration::from_millis(expected));
        }
    }
}
