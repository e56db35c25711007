//! `cilium/.heartbeat`: the store is being written to. Only its events count, never its value.

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};

/// Readers list this as a prefix, and roles grant it as one.
pub const KEY: &str = "cilium/.heartbeat";

/// How often the operator writes it.
pub const INTERVAL_SECS: u64 = 60;

/// A remote reader reconnects when it saw no event for so long.
pub const STALE_SECS: u64 = 120;

/// RFC 3339 to the second, in UTC.
pub fn encode(now: Timestamp) -> Vec<u8> {
    rfc3339(now).into_bytes()
}

pub(crate) fn rfc3339(time: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
    PRINTER.timestamp_to_string(&time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_a_time_to_the_second() {
        let time = Timestamp::from_millisecond(1_795_250_807_999).unwrap();
        assert_eq!(encode(time), b"2026-11-21T08:46:47Z");
    }
}
