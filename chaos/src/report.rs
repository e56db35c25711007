//! What a run has shown: as lines, as JSON, and as one HTML page.

mod html;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::judge::{Check, Record, Records};
use crate::scenario::{Judged, Scenario};
use crate::timeline::{Entry, Timeline};

/// Losses closer together than this are one gap in the picture.
const JOIN: f64 = 0.1;

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The demo that was broken.
    pub run_id: String,
    /// When the run began, RFC 3339.
    pub started: String,
    /// Each scenario, in order.
    pub scenarios: Vec<ScenarioReport>,
    /// Names of those of `all` that ran not at all, for lack of time.
    pub left_out: Vec<String>,
}

/// What was counted beside the traffic.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// How long the scenario took.
    pub seconds: f64,
    /// When it was shortened: `ran 20 of 100 kills`.
    pub shortened: Option<String>,
    /// Shared keys that were there before and are not in the end; absent when others are due.
    pub keys_lost: Option<usize>,
    /// Seconds from healing until every kernel held what the stores list.
    pub converged_s: Option<f64>,
}

/// One scenario.
#[derive(Debug, Clone, Serialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: String,
    /// What was broken.
    pub what: String,
    /// Whether every check passed.
    pub passed: bool,
    /// What was counted.
    #[serde(flatten)]
    pub figures: Figures,
    /// The longest time without an answer on an allowed path, excused or not, in milliseconds.
    pub longest_gap_ms: f64,
    /// And on which path.
    pub longest_gap_on: String,
    /// Long-lived connections that broke and should not have.
    pub resets: usize,
    /// What was checked.
    pub checks: Vec<Check>,
    /// What happened.
    pub timeline: Vec<Entry>,
    /// What each path saw.
    pub paths: Vec<PathReport>,
}

/// One path of one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct PathReport {
    /// Its name.
    pub name: String,
    /// Whether policy allows it.
    pub allowed: bool,
    /// Datagrams sent, arrived, answered.
    pub sent: usize,
    /// Datagrams that arrived.
    pub received: usize,
    /// Datagrams whose answer came back.
    pub answered: usize,
    /// Datagrams without an answer that no excuse covers.
    pub lost: usize,
    /// From when to when it was under traffic, in seconds since the scenario began.
    pub from: f64,
    /// And until when.
    pub until: f64,
    /// When datagrams were lost on an allowed path, or delivered on a forbidden one.
    pub marks: Vec<(f64, f64)>,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(run_id: &str) -> Self {
        Self {
            run_id: run_id.to_owned(),
            started: jiff::Timestamp::now().to_string(),
            scenarios: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Whether every scenario passed.
    pub fn passed(&self) -> bool {
        self.scenarios.iter().all(|scenario| scenario.passed)
    }

    /// As lines.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("chaos run of {} against demo {}", self.started, self.run_id)];
        for scenario in &self.scenarios {
            lines.push(String::new());
            lines.push(scenario.line());
            lines.push(format!("    {}", scenario.what));
            for check in &scenario.checks {
                let verdict = if check.passed { "holds " } else { "FAILED" };
                lines.push(format!("    {verdict}  {}: {}", check.name, check.detail));
            }
            for entry in &scenario.timeline {
                lines.push(format!(
                    "    {:7.2} s  {:<9}{}",
                    entry.at,
                    format!("{:?}", entry.kind).to_lowercase(),
                    entry.text
                ));
            }
        }
        let failed = self.scenarios.iter().filter(|scenario| !scenario.passed).count();
        lines.push(String::new());
        lines.extend(self.left_out.iter().map(|name| left_out(name)));
        lines.push(format!("{} scenarios, {failed} failed", self.scenarios.len()));
        lines.join("\n") + "\n"
    }

    /// As a table, a row a scenario.
    pub fn table(&self) -> String {
        table::lines(self)
    }

    /// As JSON.
    ///
    /// # Errors
    ///
    /// Never in practice: it holds text and numbers.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("write JSON")? + "\n")
    }

    /// As one HTML page that needs nothing else.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// Writes all forms below the demo's directory; where.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn save(&self, demo_dir: &Path) -> Result<PathBuf> {
        let folder = demo_dir.join("chaos");
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        for (name, text) in [
            ("report.txt", self.text()),
            ("report.table", self.table()),
            ("report.json", self.json()?),
            ("report.html", self.html()),
        ] {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        }
        Ok(folder)
    }
}

// === impl ScenarioReport ===

impl ScenarioReport {
    pub(crate) fn new(
        scenario: &Scenario,
        figures: &Figures,
        timeline: &Timeline,
        checks: Vec<Check>,
        records: &Records,
    ) -> Self {
        let (gap, longest_gap_on) = records.longest_gap();
        let flows = records.records.iter().filter_map(|record| match record {
            Record::Flow { path, report } => Some((path, report)),
            Record::Stream { .. } => None,
        });
        let paths = flows.map(|(path, report)| {
            let at = |time| timeline.seconds(time);
            let times: Vec<f64> = match path.allowed {
                true => report.gaps().map(|(_, time)| at(time)).collect(),
                false => report.received.values().map(|time| at(*time)).collect(),
            };
            PathReport {
                name: path.name(),
                allowed: path.allowed,
                sent: report.sent.len(),
                received: report.received.len(),
                answered: report.answered.len(),
                lost: report.gaps().filter(|(_, at)| !records.excused(path, *at)).count(),
                from: report.sent.values().next().map_or(0.0, |time| at(*time)),
                until: report.sent.values().next_back().map_or(0.0, |time| at(*time)),
                marks: join(&times),
            }
        });
        let passed = !checks.is_empty() && checks.iter().all(|check| check.passed);
        let what = match scenario.kind {
            Judged::Teeth => format!("{} (passes when every check fails)", scenario.what),
            Judged::AsBefore | Judged::Holds => scenario.what.to_owned(),
        };
        Self {
            name: scenario.name.to_owned(),
            what,
            passed,
            figures: figures.clone(),
            longest_gap_ms: gap.as_secs_f64() * 1e3,
            longest_gap_on,
            resets: records.resets(),
            checks,
            timeline: timeline.entries.clone(),
            paths: paths.collect(),
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        let verdict = if self.passed { "holds " } else { "FAILED" };
        let told: Vec<String> = match self.passed {
            true => {
                let short = ["allowed packets arrive", "forbidden packets do not", "connections live on"];
                let checks = self.checks.iter().filter(|check| short.contains(&check.name.as_str()));
                let converged = self.checks.iter().filter(|check| check.name == "kernels equal the stores again");
                let mut told: Vec<String> = checks.map(|check| check.detail.clone()).collect();
                told.extend(converged.map(|check| check.detail.clone()));
                told.push(format!("longest gap {:.0} ms", self.longest_gap_ms));
                told
            }
            false => {
                let failed = self.checks.iter().filter(|check| !check.passed);
                failed.map(|check| format!("{}: {}", check.name, check.detail)).collect()
            }
        };
        let ran = self.figures.shortened.as_ref().map(|ran| format!("{ran}; ")).unwrap_or_default();
        format!("{verdict} {} ({:.1} s): {ran}{}", self.name, self.figures.seconds, told.join("; "))
    }
}

/// What is said of a scenario that only a long run has time for.
pub(crate) fn left_out(name: &str) -> String {
    format!("ran 0 of 1 {name}: it needs --long")
}

/// Moments as intervals.
fn join(times: &[f64]) -> Vec<(f64, f64)> {
    let mut joined: Vec<(f64, f64)> = Vec::new();
    for time in times {
        match joined.last_mut() {
            Some((_, until)) if time - *until <= JOIN => *until = *time,
            _ => joined.push((*time, *time)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_that_are_close_are_one_mark() {
        assert_eq!(join(&[1.0, 1.05, 1.1, 3.0]), [(1.0, 1.1), (3.0, 3.0)]);
        assert!(join(&[]).is_empty());
    }

    #[test]
    fn a_report_names_what_failed_in_every_form_and_escapes_it() {
        let failed = Check::new("allowed packets arrive", Err("a <b> lost 3".to_owned()));
        let timeline = Timeline::new();
        let scenario = &crate::SCENARIOS[0];
        let records = Records::default();
        let mut report = Report::new("0a1b");
        let row = ScenarioReport::new(scenario, &Figures::default(), &timeline, vec![failed], &records);
        report.scenarios.push(row);
        report.left_out.push("lease-outlived".to_owned());
        assert!(!report.passed());
        assert!(report.text().contains("\nran 0 of 1 lease-outlived: it needs --long\n"), "{}", report.text());
        assert!(report.table().contains("lease-outlived"), "{}", report.table());
        assert!(report.text().contains("FAILED  allowed packets arrive: a <b> lost 3"), "{}", report.text());
        assert!(report.text().ends_with("1 scenarios, 1 failed\n"));
        assert!(report.json().unwrap().contains("\"passed\": false"));
        let html = report.html();
        assert!(html.contains("a &lt;b&gt; lost 3") && !html.contains("<b> lost"));
        let folder = tempfile::tempdir().unwrap();
        let saved = report.save(folder.path()).unwrap();
        assert_eq!(fs::read_dir(saved).unwrap().count(), 4);
    }

    #[test]
    fn a_shortened_count_is_named_in_line_text_and_table() {
        let (timeline, records) = (Timeline::new(), Records::default());
        let figures = Figures { shortened: Some("ran 20 of 100 kills".to_owned()), ..Figures::default() };
        let mut report = Report::new("0a1b");
        let row = ScenarioReport::new(&crate::SCENARIOS[0], &figures, &timeline, vec![], &records);
        assert!(row.line().contains("ran 20 of 100 kills; "), "{}", row.line());
        report.scenarios.push(row);
        assert!(report.text().contains("ran 20 of 100 kills"), "{}", report.text());
        assert!(report.table().contains("20 of 100 kills"), "{}", report.table());
    }

    #[test]
    fn a_scenario_without_checks_has_not_passed() {
        let (timeline, records) = (Timeline::new(), Records::default());
        assert!(!ScenarioReport::new(&crate::SCENARIOS[0], &Figures::default(), &timeline, vec![], &records).passed);
    }
}
