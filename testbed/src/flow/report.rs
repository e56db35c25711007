//! What both ends of a flow logged, and what may be concluded from it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What both ends logged: numbers, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowReport {
    /// What it was called.
    pub name: String,
    /// How many datagrams the rate and the time ask for.
    pub nominal: u64,
    /// What was sent.
    pub sent: BTreeMap<u64, Instant>,
    /// What arrived.
    pub received: BTreeMap<u64, Instant>,
    /// What came back.
    pub answered: BTreeMap<u64, Instant>,
}

// === impl FlowReport ===

impl FlowReport {
    /// Sent and not received.
    pub fn lost(&self) -> u64 {
        self.missing(&self.received).count() as u64
    }

    /// When the datagrams were sent that did not arrive, or whose answer did not.
    pub fn gaps(&self) -> impl Iterator<Item = (u64, Instant)> {
        self.missing(&self.answered)
    }

    /// The longest time between two answers.
    pub fn longest_gap(&self) -> Duration {
        let times = self.answered.values();
        let pairs = times.clone().zip(times.skip(1));
        pairs.map(|(a, b)| b.saturating_duration_since(*a)).max().unwrap_or_default()
    }

    /// Fails unless at least 95 % of the nominal datagrams were sent: a probe that hardly ran proves nothing.
    ///
    /// # Errors
    ///
    /// When fewer were sent.
    pub fn check_sent(&self) -> Result<()> {
        if (self.sent.len() as u64) * 100 < self.nominal * 95 {
            bail!(
                "flow {} sent {} of {} datagrams: the machine is too busy to prove anything",
                self.name,
                self.sent.len(),
                self.nominal
            );
        }
        Ok(())
    }

    /// Fails when a datagram was lost.
    ///
    /// # Errors
    ///
    /// When one was lost, or too few were sent.
    pub fn check_all_delivered(&self) -> Result<()> {
        self.check_sent()?;
        match self.lost() {
            0 => Ok(()),
            lost => {
                let first = self.missing(&self.received).next().map(|(number, _)| number);
                bail!("flow {} lost {lost} of {} datagrams, the first is number {first:?}", self.name, self.sent.len())
            }
        }
    }

    /// Fails when a datagram arrived.
    ///
    /// # Errors
    ///
    /// When one arrived, or too few were sent.
    pub fn check_none_delivered(&self) -> Result<()> {
        self.check_sent()?;
        match self.received.len() {
            0 => Ok(()),
            count => bail!("flow {} is forbidden, and {count} of {} datagrams arrived", self.name, self.sent.len()),
        }
    }

    fn missing<'a>(&'a self, found: &'a BTreeMap<u64, Instant>) -> impl Iterator<Item = (u64, Instant)> + 'a {
        self.sent.iter().filter(|(number, _)| !found.contains_key(number)).map(|(number, at)| (*number, *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, Instant> {
        let start = Instant::now();
        numbers.into_iter().map(|number| (number, start + Duration::from_millis(number * 10))).collect()
    }

    fn report(nominal: u64, sent: u64, received: impl IntoIterator<Item = u64>) -> FlowReport {
        let received = numbers(received);
        FlowReport { name: "probe".to_owned(), nominal, sent: numbers(0..sent), answered: received.clone(), received }
    }

    #[test]
    fn checks_fail_on_what_they_are_there_for() {
        assert!(report(100, 100, 0..100).check_all_delivered().is_ok());
        assert!(report(100, 100, 1..100).check_all_delivered().is_err(), "one lost");
        assert!(report(100, 100, []).check_none_delivered().is_ok());
        assert!(report(100, 100, [7]).check_none_delivered().is_err(), "one delivered");
        assert!(report(100, 94, []).check_none_delivered().is_err(), "too few were sent");
    }

    #[test]
    fn longest_gap_is_between_two_answers() {
        let gap = report(100, 100, (0..10).chain(30..100)).longest_gap();
        assert_eq!(gap.as_millis(), 210);
        assert_eq!(report(1, 1, []).longest_gap(), Duration::ZERO);
    }
}
