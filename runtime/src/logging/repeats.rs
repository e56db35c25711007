//! The same line again and again says less than once and a count.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a line is not printed again.
pub(super) const QUIET: Duration = Duration::from_secs(5);

/// Lines remembered at one time.
const LINES: usize = 1024;

#[derive(Default)]
pub(super) struct Repeats(HashMap<String, Said>);

struct Said {
    at: Instant,
    /// Times that it was not printed since.
    kept_back: u64,
}

// === impl Repeats ===

impl Repeats {
    /// Whether to print a line, and how often it was kept back before; `None`: keep it back.
    pub(super) fn admit(&mut self, now: Instant, line: &str) -> Option<u64> {
        if let Some(said) = self.0.get_mut(line) {
            if now.saturating_duration_since(said.at) < QUIET {
                said.kept_back += 1;
                return None;
            }
            let before = std::mem::take(&mut said.kept_back);
            said.at = now;
            return Some(before);
        }
        if self.0.len() >= LINES {
            self.0.retain(|_, said| now.saturating_duration_since(said.at) < QUIET);
        }
        // A flood of different lines is not for us to stop.
        if self.0.len() < LINES {
            self.0.insert(line.to_owned(), Said { at: now, kept_back: 0 });
        }
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_printed_once_and_then_with_how_often_it_was_not() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut repeats = Repeats::default();
        assert_eq!(repeats.admit(at(0), "a"), Some(0));
        assert_eq!(repeats.admit(at(1), "b"), Some(0));
        assert_eq!(repeats.admit(at(10), "a"), None);
        assert_eq!(repeats.admit(at(4_999), "a"), None);
        assert_eq!(repeats.admit(at(5_000), "a"), Some(2));
        assert_eq!(repeats.admit(at(11_000), "a"), Some(0));
        for number in 0..5 * LINES {
            assert_eq!(repeats.admit(at(12_000), &number.to_string()), Some(0));
        }
        assert!(repeats.0.len() <= LINES);
    }
}
