//! What may be concluded from the probes: pure, so that it can be shown to fail.

use std::time::{Duration, Instant};

use serde::Serialize;
use testbed::flow::FlowReport;
use testbed::stream::StreamReport;

use crate::paths::{Kind, Path};

/// What one path logged.
#[derive(Debug, Clone)]
pub enum Record {
    /// Datagrams.
    Flow {
        /// On which path.
        path: Path,
        /// What both ends logged.
        report: FlowReport,
    },
    /// A long-lived connection.
    Stream {
        /// On which path.
        path: Path,
        /// What the client saw.
        report: StreamReport,
    },
}

/// Everything that was logged, and what is excused.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// By path; a path that was stopped and started again has several.
    pub records: Vec<Record>,
    /// Losses that the fault itself means.
    pub excuses: Vec<Excuse>,
}

/// A loss that the fault itself means: the packets of a cut link, or of a removed cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excuse {
    /// Which paths.
    pub touch: Touch,
    /// From when.
    pub from: Instant,
    /// Until when; `None`: to the end.
    pub until: Option<Instant>,
}

/// Which paths an excuse is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Those between clusters.
    Mesh,
}

/// A sentence that holds or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was seen.
    pub detail: String,
}

// === impl Check ===

impl Check {
    pub(crate) fn new(name: &str, result: Result<String, String>) -> Self {
        let passed = result.is_ok();
        Self { name: name.to_owned(), passed, detail: result.unwrap_or_else(|problem| problem) }
    }
}

// === impl Records ===

impl Records {
    /// The checks of the traffic.
    pub fn judge(&self) -> Vec<Check> {
        vec![
            Check::new("probes ran", self.ran()),
            Check::new("allowed packets arrive", self.allowed()),
            Check::new("forbidden packets do not", self.forbidden()),
            Check::new("connections live on", self.streams()),
        ]
    }

    /// The longest time without an answer on an allowed path, excused or not, and on which.
    pub fn longest_gap(&self) -> (Duration, String) {
        let gaps = self.records.iter().filter_map(|record| match record {
            Record::Flow { path, report } if path.allowed => Some((report.longest_gap(), path.name())),
            _ => None,
        });
        gaps.max().unwrap_or_default()
    }

    /// Long-lived connections that broke without an excuse.
    pub fn resets(&self) -> usize {
        let broken = self.records.iter().filter(|record| match record {
            Record::Stream { path, report } => report.broken.as_ref().is_some_and(|(at, _)| !self.excused(path, *at)),
            Record::Flow { .. } => false,
        });
        broken.count()
    }

    fn ran(&self) -> Result<String, String> {
        let mut paths = 0;
        for record in &self.records {
            if let Record::Flow { report, .. } = record {
                report.check_sent().map_err(|error| error.to_string())?;
                paths += 1;
            }
        }
        if paths == 0 { Err("no probe ran".to_owned()) } else { Ok(format!("{paths} flows at their rate")) }
    }

    fn allowed(&self) -> Result<String, String> {
        let (mut sent, mut excused, mut problems) = (0, 0, Vec::new());
        for record in &self.records {
            let Record::Flow { path, report } = record else { continue };
            if !path.allowed {
                continue;
            }
            sent += report.sent.len();
            let (fine, lost): (Vec<_>, Vec<_>) = report.gaps().partition(|(_, at)| self.excused(path, *at));
            excused += fine.len();
            if let Some((first, _)) = lost.first() {
                let reached = lost.iter().filter(|(number, _)| report.received.contains_key(number)).count();
                problems.push(format!(
                    "{}: {} of {} lost (the first is {first}; {reached} arrived and their answers did not)",
                    path.name(),
                    lost.len(),
                    report.sent.len()
                ));
            } else if report.answered.is_empty() {
                problems.push(format!("{}: nothing was ever answered", path.name()));
            }
        }
        match (problems.is_empty(), sent) {
            (true, 0) => Err("nothing was sent".to_owned()),
            (true, _) if excused > 0 => Ok(format!("0 of {sent} lost, but {excused} on the links that were cut")),
            (true, _) => Ok(format!("0 of {sent} lost, answers included")),
            (false, _) => Err(problems.join("; ")),
        }
    }

    fn forbidden(&self) -> Result<String, String> {
        let (mut sent, mut problems) = (0, Vec::new());
        for record in &self.records {
            let Record::Flow { path, report } = record else { continue };
            if path.allowed {
                continue;
            }
            sent += report.sent.len();
            if let Some(first) = report.received.keys().next() {
                let (count, of) = (report.received.len(), report.sent.len());
                problems.push(format!("{}: {count} of {of} delivered, the first is {first}", path.name()));
            }
        }
        match (problems.is_empty(), sent) {
            (true, 0) => Err("nothing was sent".to_owned()),
            (true, _) => Ok(format!("0 of {sent} delivered")),
            (false, _) => Err(problems.join("; ")),
        }
    }

    fn streams(&self) -> Result<String, String> {
        let (mut count, mut echoes, mut problems) = (0, 0, Vec::new());
        for record in &self.records {
            let Record::Stream { path, report } = record else { continue };
            count += 1;
            echoes += report.echoed;
            match &report.broken {
                Some((at, how)) if !self.excused(path, *at) => problems.push(format!("{}: {how}", path.name())),
                None if report.echoed == 0 => problems.push(format!("{}: nothing was echoed", path.name())),
                _ => {}
            }
        }
        match problems.is_empty() {
            true if count == 0 => Err("there was no connection".to_owned()),
            true => Ok(format!("0 of {count} reset, {echoes} echoes")),
            false => Err(problems.join("; ")),
        }
    }

    pub(crate) fn excused(&self, path: &Path, at: Instant) -> bool {
        self.excuses.iter().any(|excuse| {
            let touched = match excuse.touch {
                Touch::Mesh => path.kind == Kind::CrossCluster,
            };
            touched && at >= excuse.from && excuse.until.is_none_or(|until| at <= until)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn flow(allowed: bool, kind: Kind, start: Instant, answered: impl Iterator<Item = u64>) -> Record {
        let at = |number: u64| (number, start + Duration::from_millis(number * 10));
        let path = Path { from: "a", to: "b", ipv6: false, kind, allowed, port: 1 };
        let arrived: BTreeMap<_, _> = answered.map(at).collect();
        let report = FlowReport {
            name: path.name(),
            nominal: 100,
            sent: (0..100).map(at).collect(),
            received: arrived.clone(),
            answered: arrived,
        };
        Record::Flow { path, report }
    }

    fn stream(echoed: u64, broken: Option<Instant>) -> Record {
        let path = Path { from: "a", to: "b", ipv6: false, kind: Kind::CrossCluster, allowed: true, port: 1 };
        let broken = broken.map(|at| (at, "connection reset by peer".to_owned()));
        let longest_gap = Duration::ZERO;
        Record::Stream { report: StreamReport { name: path.name(), echoed, longest_gap, broken }, path }
    }

    fn failing(records: Vec<Record>, excuses: Vec<Excuse>) -> Vec<String> {
        let checks = Records { records, excuses }.judge();
        checks.into_iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    #[test]
    fn each_check_fails_on_what_it_is_there_for() {
        let start = Instant::now();
        let good = || {
            vec![
                flow(true, Kind::CrossCluster, start, 0..100),
                flow(false, Kind::SameNode, start, 0..0),
                stream(9, None),
            ]
        };
        let with = |index: usize, record: Record| {
            let mut records = good();
            records[index] = record;
            failing(records, vec![])
        };
        assert_eq!(failing(good(), vec![]), [""; 0]);
        assert_eq!(with(0, flow(true, Kind::SameNode, start, 1..100)), ["allowed packets arrive"]);
        assert_eq!(with(1, flow(false, Kind::SameNode, start, 7..8)), ["forbidden packets do not"]);
        assert_eq!(with(2, stream(9, Some(start))), ["connections live on"]);
        assert_eq!(with(2, stream(0, None)), ["connections live on"]);
        assert_eq!(
            failing(vec![], vec![]),
            ["probes ran", "allowed packets arrive", "forbidden packets do not", "connections live on"]
        );
    }

    #[test]
    fn an_excuse_is_for_its_paths_and_its_time_and_never_for_forbidden_packets() {
        let start = Instant::now();
        let until = Some(start + Duration::from_millis(200));
        let excuse = Excuse { touch: Touch::Mesh, from: start, until };
        let check = |record: Record, fails: bool| {
            let records = vec![
                record,
                flow(true, Kind::SameNode, start, 0..100),
                flow(false, Kind::SameNode, start, 0..0),
                stream(1, None),
            ];
            assert_eq!(!failing(records, vec![excuse]).is_empty(), fails);
        };
        check(flow(true, Kind::CrossCluster, start, 20..100), false);
        check(flow(true, Kind::CrossCluster, start, 22..100), true);
        check(flow(true, Kind::CrossNode, start, 20..100), true);
        check(flow(false, Kind::CrossCluster, start, 5..6), true);
    }
}
