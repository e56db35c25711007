//! One run of scenarios against a kept demo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::Bed;
use testbed::demo::{Stage, dump};

use crate::judge::{Check, Excuse, Records, Touch};
use crate::mend::mend;
use crate::probes::Probes;
use crate::report::{Figures, Report, ScenarioReport, left_out as left_out_line};
use crate::scenario::{Judged, SCENARIOS, Scenario};
use crate::timeline::{EntryKind, Timeline};
use crate::{controls, oracle};

/// Traffic before a fault: the positive control of every allowed path.
const BEFORE: Duration = Duration::from_millis(700);
/// And after everything is well again.
const AFTER: Duration = Duration::from_millis(500);
/// How long after healing the kernels may differ from the stores.
const CONVERGE: Duration = Duration::from_secs(5);
/// How long agents may call themselves degraded after that: a store in doubt is listed twice, ten seconds apart.
const WELL: Duration = Duration::from_secs(45);

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the demo's files lie.
    pub demo_dir: PathBuf,
    /// Names of scenarios; empty or `all` for every one.
    pub scenarios: Vec<String>,
    /// Full counts and times, and those of `all` that take long.
    pub long: bool,
}

/// A scenario that is under way.
pub(crate) struct Run {
    pub(crate) stage: Stage,
    pub(crate) probes: Probes,
    pub(crate) records: Records,
    pub(crate) long: bool,
    timeline: Timeline,
    healed: Option<Instant>,
    evidence: usize,
    pub(crate) figures: Figures,
    extra: Vec<Check>,
}

/// Runs scenarios and says of each how it went; `progress` hears of it at once.
///
/// # Errors
///
/// When there is no demo, no such scenario, or the demo is broken before anything was done to it.
pub fn run(options: &Options, mut progress: impl FnMut(&str)) -> Result<Report> {
    let (chosen, left_out) = choose(&options.scenarios, options.long)?;
    let bed = Bed::attach(&options.demo_dir)?;
    let mut run = Run::new(Stage { bed, servers: BTreeMap::new() }, options.long);
    mend(&mut run.stage).context("mend what an earlier run left broken")?;
    let controls = controls::set_up(&mut run.stage)?;
    progress(&format!("control: {controls}"));
    let mut report = Report::new(&run.stage.bed.plan.run_id);
    for scenario in chosen {
        let done = run.scenario(scenario);
        progress(&done.line());
        report.scenarios.push(done);
    }
    for scenario in left_out {
        progress(&left_out_line(scenario.name));
        report.left_out.push(scenario.name.to_owned());
    }
    let controls = controls::take_away(&mut run.stage)?;
    progress(&format!("control: {controls}"));
    Ok(report)
}

/// Those that run, and those that a run of all leaves out.
fn choose(names: &[String], long: bool) -> Result<(Vec<&'static Scenario>, Vec<&'static Scenario>)> {
    if names.is_empty() || names == ["all"] {
        return Ok(SCENARIOS.iter().partition(|scenario| long || !scenario.only_long));
    }
    let find = |name: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.with_context(|| format!("there is no scenario {name:?}: `causeway chaos list` shows them"))
    };
    Ok((names.iter().map(find).collect::<Result<_>>()?, Vec::new()))
}

// === impl Run ===

impl Run {
    fn new(stage: Stage, long: bool) -> Self {
        Self {
            stage,
            long,
            probes: Probes::default(),
            records: Records::default(),
            timeline: Timeline::new(),
            healed: None,
            evidence: 0,
            figures: Figures::default(),
            extra: Vec::new(),
        }
    }

    /// Something is about to be broken.
    pub(crate) fn inject(&mut self, what: impl Into<String>) {
        self.timeline.add(EntryKind::Inject, what);
    }

    /// It is: without a call of this an injection counts as not tried.
    pub(crate) fn evidence(&mut self, what: impl Into<String>) {
        self.evidence += 1;
        self.timeline.add(EntryKind::Evidence, what);
    }

    /// An agent said this of itself.
    pub(crate) fn says(&mut self, what: impl Into<String>) {
        self.timeline.add(EntryKind::Said, what);
    }

    /// It was mended: convergence counts from the last of these.
    pub(crate) fn heal(&mut self, what: impl Into<String>) {
        self.timeline.add(EntryKind::Heal, what);
        self.healed = Some(Instant::now());
    }

    /// A sentence of the scenario's own that was found to hold.
    pub(crate) fn holds(&mut self, name: &str, detail: impl Into<String>) {
        let detail = detail.into();
        self.timeline.add(EntryKind::Check, format!("{name}: {detail}"));
        self.extra.push(Check::new(name, Ok(detail)));
    }

    /// From now on losses on these paths are what the fault means.
    pub(crate) fn excuse(&mut self, touch: Touch) {
        self.records.excuses.push(Excuse { touch, from: Instant::now(), until: None });
    }

    /// What was cut is whole; `grace` for packets of before, and for neighbours to be found again.
    pub(crate) fn end_excuses(&mut self, grace: Duration) {
        for excuse in &mut self.records.excuses {
            excuse.until.get_or_insert(Instant::now() + grace);
        }
    }

    fn scenario(&mut self, scenario: &'static Scenario) -> ScenarioReport {
        self.records = Records::default();
        self.timeline = Timeline::new();
        (self.healed, self.evidence, self.figures, self.extra) = (None, 0, Figures::default(), Vec::new());
        let started = Instant::now();
        let mut checks = match self.attempt(scenario) {
            Ok(checks) => checks,
            Err(error) => {
                let mended = mend(&mut self.stage).err().map(|error| format!("; then: {error:#}")).unwrap_or_default();
                vec![Check::new("the story went as told", Err(format!("{error:#}{mended}")))]
            }
        };
        // A scenario that failed in the middle leaves its probes running.
        match self.probes.stop(|_| true) {
            Ok(records) => self.records.records.extend(records),
            Err(error) => checks.push(Check::new("probes ran", Err(format!("{error:#}")))),
        }
        if let Err(error) = self.stage.bed.save() {
            checks.push(Check::new("the demo's file is written", Err(format!("{error:#}"))));
        }
        checks.append(&mut self.extra);
        self.figures.seconds = started.elapsed().as_secs_f64();
        ScenarioReport::new(scenario, &self.figures, &self.timeline, checks, &self.records)
    }

    fn attempt(&mut self, scenario: &Scenario) -> Result<Vec<Check>> {
        testbed::wait_until("the demo is well before it is broken", WELL, || {
            oracle::check(&self.stage)?;
            self.agents_are_well()
        })?;
        let (before, keys) = (self.dumps()?, oracle::keys(&self.stage)?);
        self.probes.start(&self.stage, |_| true)?;
        std::thread::sleep(BEFORE);
        (scenario.act)(self)?;
        if scenario.kind == Judged::Teeth {
            self.records.records.extend(self.probes.stop(|_| true)?);
            return Ok(Vec::new());
        }
        let mut checks = vec![self.was_tried()];
        let healed = self.healed.context("the scenario healed nothing")?;
        checks.push(Check::new("kernels equal the stores again", self.converged(healed).map_err(|e| format!("{e:#}"))));
        let well = testbed::wait_until("agents are well", WELL, || self.agents_are_well());
        let well = well.map(|()| format!("{:.1} s after healing", healed.elapsed().as_secs_f64()));
        checks.push(Check::new("agents call themselves well again", well.map_err(|error| format!("{error:#}"))));
        std::thread::sleep(AFTER);
        let records = self.probes.stop(|_| true)?;
        self.records.records.extend(records);
        checks.extend(self.records.judge());
        if scenario.kind == Judged::AsBefore {
            let same = self.as_before(&before);
            checks.push(Check::new("every map is as before", same.map_err(|error| format!("{error:#}"))));
            let kept = self.keys_are_there(&keys);
            checks.push(Check::new("every key is there", kept.map_err(|error| format!("{error:#}"))));
        }
        let alive = self.alive().map_err(|error| format!("{error:#}"));
        checks.push(Check::new("nothing has ended by itself", alive));
        Ok(checks)
    }

    pub(crate) fn was_tried(&self) -> Check {
        let result = match self.evidence {
            0 => Err("nothing shows that the fault bit: not tried".to_owned()),
            count => Ok(format!("{count} signs that the fault bit")),
        };
        Check::new("the fault was real", result)
    }

    /// Waits, from the last healing on, until every kernel holds what the stores list.
    pub(crate) fn converge(&mut self, what: &str) -> Result<()> {
        let healed = self.healed.context("nothing was healed")?;
        let detail = self.converged(healed)?;
        self.extra.push(Check::new(what, Ok(detail)));
        Ok(())
    }

    fn converged(&mut self, healed: Instant) -> Result<String> {
        let left = CONVERGE.saturating_sub(healed.elapsed());
        let compared =
            testbed::wait_until("every kernel holds what the stores list", left, || oracle::check(&self.stage))?;
        let took = healed.elapsed().as_secs_f64();
        self.figures.converged_s = Some(took);
        let text = format!("{compared}, {took:.1} s after healing");
        self.timeline.add(EntryKind::Check, format!("converged: {text}"));
        Ok(text)
    }

    /// The rows of every node, with the node's name in front.
    pub(crate) fn dumps(&self) -> Result<BTreeSet<String>> {
        let mut rows = BTreeSet::new();
        for node in self.stage.bed.plan.clusters.iter().flat_map(|cluster| &cluster.nodes) {
            rows.extend(dump::all(&self.stage.bed, node)?.into_iter().map(|row| format!("{} {row}", node.name)));
        }
        Ok(rows)
    }

    pub(crate) fn as_before(&self, before: &BTreeSet<String>) -> Result<String> {
        let now = self.dumps()?;
        let gone: Vec<_> = before.difference(&now).take(3).collect();
        let new: Vec<_> = now.difference(before).take(3).collect();
        ensure!(gone.is_empty() && new.is_empty(), "gone: {gone:?}, new: {new:?}");
        Ok(format!("{} rows", now.len()))
    }

    fn keys_are_there(&mut self, before: &BTreeSet<String>) -> Result<String> {
        let now = oracle::keys(&self.stage)?;
        let lost: Vec<_> = before.difference(&now).collect();
        self.figures.keys_lost = Some(lost.len());
        ensure!(lost.is_empty(), "{} of {} are gone: {:?}", lost.len(), before.len(), lost.iter().take(3));
        Ok(format!("{} keys", before.len()))
    }

    /// What runs in the end was started by us: nothing needed to be started again by hand.
    fn alive(&mut self) -> Result<String> {
        let parts = &mut *self.stage.bed;
        let stores = parts.stores.values_mut().map(|store| &mut store.process);
        let mut count = 0;
        for process in parts.agents.values_mut().chain(parts.operators.values_mut()).chain(stores) {
            process.check()?;
            count += 1;
        }
        Ok(format!("{count} processes"))
    }

    fn agents_are_well(&self) -> Result<()> {
        for node in self.stage.bed.plan.clusters.iter().flat_map(|cluster| &cluster.nodes) {
            self.stage.bed.causeway(node, &["status", "--brief"]).with_context(|| node.name.clone())?;
        }
        Ok(())
    }
}
