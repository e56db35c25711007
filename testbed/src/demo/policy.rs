//! Proof 2: policy by labels allows one client and denies another, also on running flows, and the denial is reported.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{SETTLE, Stage};
use crate::flow::Flow;
use crate::process;

/// The policy: pods `app=echo` take packets of pods `app=client` alone.
pub fn spec() -> Value {
    json!({
        "endpointSelector": {"matchLabels": {"app": "echo"}},
        "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "client"}}]}],
    })
}

/// Before, under and after the policy, with flows that run through all of it.
///
/// # Errors
///
/// When a packet is delivered that should not be, or the other way round, or the denial is not reported.
pub fn prove(stage: &mut Stage) -> Result<String> {
    let manifests = stage.bed.manifests("east")?;
    for (from, ipv6) in [("client-a", false), ("intruder-a", false), ("client-a", true), ("intruder-a", true)] {
        stage.expect(from, "echo-b", ipv6, true).context("control, before the policy")?;
    }
    let allowed = Flow::start("client-a to echo-b", stage.pod("client-a")?, stage.pod("echo-b")?, false, 9001, 100)?;
    let denied = Flow::start("intruder-a to echo-b", stage.pod("intruder-a")?, stage.pod("echo-b")?, false, 9002, 100)?;
    std::thread::sleep(Duration::from_millis(500));
    let monitor = Monitor::start(stage, "echo-b")?;
    let applied = Instant::now();
    manifests.policy("demo", "echo", &spec())?;
    let (line, after) = monitor.find(SETTLE, is_denial)?;
    for ipv6 in [false, true] {
        stage.expect("intruder-a", "echo-b", ipv6, false)?;
        stage.expect("client-a", "echo-b", ipv6, true)?;
    }
    let sent_before = denied.sent();
    std::thread::sleep(Duration::from_secs(2));
    let sent_under = denied.sent();
    manifests.remove_policy("demo", "echo")?;
    stage.expect("intruder-a", "echo-b", false, true).context("control, after the policy")?;
    std::thread::sleep(Duration::from_millis(500));
    let (allowed, denied) = (allowed.stop()?, denied.stop()?);
    allowed.check_all_delivered()?;
    denied.check_sent()?;
    let under: Vec<u64> =
        denied.received.range(sent_before..sent_under.saturating_sub(1)).map(|(number, _)| *number).collect();
    if !under.is_empty() {
        bail!("{} forbidden datagrams of a running flow arrived under the policy", under.len());
    }
    let before = denied.received.keys().filter(|number| **number < sent_before).count();
    let later = denied.received.range(sent_under..).count();
    if before == 0 || later == 0 {
        bail!("the denied flow has no control: {before} datagrams arrived before the policy, {later} after it");
    }
    let line = shortened(&line);
    Ok(format!(
        "client 0 of {} lost; intruder 0 of {} delivered under the policy ({before} before, {later} after); monitor \
         after {:.0} ms: {line}",
        allowed.sent.len(),
        sent_under - sent_before,
        after.duration_since(applied).as_secs_f64() * 1e3,
    ))
}

/// The line with `app` of each label set alone; the whole was checked.
fn shortened(line: &str) -> String {
    let (head, sets) = line.rsplit_once(" (").unwrap_or((line, ""));
    let app = |set: &str| set.split(',').find(|label| label.contains("app=")).unwrap_or_default().to_owned();
    let sets: Vec<String> = sets.split(" -> ").map(app).collect();
    format!("{head} ({}, ...)", sets.join(", ... -> "))
}

fn is_denial(line: &str) -> bool {
    line.contains("Policy denied") && line.contains("app=intruder") && line.contains("app=echo")
}

/// `causeway monitor` on a pod's node.
pub struct Monitor {
    child: Child,
    lines: mpsc::Receiver<(String, Instant)>,
}

impl Monitor {
    /// Starts it for drops.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(stage: &Stage, pod: &str) -> Result<Self> {
        let node = stage.node_of(pod)?;
        let mut child = process::inside(&node.netns)
            .arg(&stage.bed.binaries.causeway)
            .args(["monitor", "--type", "drop", "--socket-path"])
            .arg(&node.socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start causeway monitor")?;
        let output = child.stdout.take().context("causeway monitor has no output")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send((line, Instant::now())).is_err() {
                    return;
                }
            }
        });
        // Events are reported from the moment it listens.
        std::thread::sleep(Duration::from_millis(300));
        Ok(Self { child, lines })
    }

    /// The first line for which `wanted` holds, and when it came.
    ///
    /// # Errors
    ///
    /// When there is none in time.
    pub fn find(&self, within: Duration, wanted: impl Fn(&str) -> bool) -> Result<(String, Instant)> {
        let deadline = Instant::now() + within;
        let mut last = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((line, at)) if wanted(&line) => return Ok((line, at)),
                Ok((line, _)) => last = line,
                Err(_) => bail!("causeway monitor shows no such event within {} s; last: {last:?}", within.as_secs()),
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It may have ended with its agent.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
