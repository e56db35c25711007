//! `cilium/.heartbeat`: the store is being written to. Only its events count, never its value.

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};

use crate::{Broken, DecodeError, error::Fault};

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

/// Of a value that is no time, so much is repeated.
const SHOWN: usize = 40;

/// What a writer says the time is. Nothing hangs on it: it shows a writer that writes nonsense.
///
/// # Errors
/// The value is no time.
pub fn decode(key: &str, value: &[u8]) -> Result<Timestamp, DecodeError> {
    let text = String::from_utf8_lossy(value);
    text.parse().map_err(|_| Fault::new(Broken::Time(text.chars().take(SHOWN).collect())).of(key))
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
        assert_eq!(decode("k", b"2026-11-21T09:46:47+01:00").unwrap().as_second(), 1_795_250_807);
        for bad in ["", "now", "9999-12-31T23:59:59Z", "1795250807", "2026-11-21", "{}"] {
            let error = decode("cilium/.heartbeat", bad.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("cilium/.heartbeat: {bad:?} is not a time"));
        }
        assert!(decode("k", &[b'x'; 1 << 20]).unwrap_err().to_string().len() < 80);
    }
}
