//! Proof 4: a global service answers from both clusters; affinity and sharing are honoured.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, bail};

use super::service::{EAST, WEST};
use super::{SETTLE, Stage, ask_often};
use crate::wait_until;

const GLOBAL: (&str, &str) = ("service.cilium.io/global", "true");
const AFFINITY: &str = "service.cilium.io/affinity";
const LOCAL: [&str; 3] = ["web-a", "web-b", "web-c"];
const REMOTE: [&str; 2] = ["web-w", "web-x"];

/// Every affinity, then no sharing.
///
/// # Errors
///
/// When the wrong pods answer.
pub fn prove(stage: &mut Stage) -> Result<String> {
    let west = WEST.map(str::to_owned);
    stage.bed.add_service("west", "web", "web", &west, &[GLOBAL])?;
    let both: BTreeSet<&str> = LOCAL.into_iter().chain(REMOTE).collect();
    let (local, remote) = (BTreeSet::from(LOCAL), BTreeSet::from(REMOTE));
    let mut seen = Vec::new();
    for (affinity, wanted) in [("none", &both), ("local", &local), ("remote", &remote), ("none", &both)] {
        annotate(stage, &[GLOBAL, (AFFINITY, affinity)])?;
        answered_by(stage, wanted)?;
        seen.push(format!("{affinity}: {} pods", wanted.len()));
    }
    stage.bed.add_service("west", "web", "web", &west, &[GLOBAL, ("service.cilium.io/shared", "false")])?;
    answered_by(stage, &local)?;
    seen.push(format!("west unshared: {} pods", local.len()));
    stage.bed.add_service("west", "web", "web", &west, &[GLOBAL])?;
    answered_by(stage, &both)?;
    seen.push(format!("shared again: {} pods", both.len()));
    Ok(seen.join(", "))
}

fn annotate(stage: &mut Stage, annotations: &[(&str, &str)]) -> Result<()> {
    stage.bed.add_service("east", "web", "web", &EAST.map(str::to_owned), annotations)
}

/// Waits until exactly these pods answer, over both families.
fn answered_by(stage: &Stage, wanted: &BTreeSet<&str>) -> Result<()> {
    let client = stage.pod("client-a")?;
    for ip in EAST {
        let ip: IpAddr = ip.parse()?;
        wait_until(&format!("{wanted:?} answer at {ip}"), SETTLE, || {
            // Ten a pod: that one of five is never chosen by chance has a probability of 0.8^50, 1 in 70,000.
            let answers = ask_often(client, ip, 10 * u32::try_from(wanted.len())?)?;
            let names: BTreeSet<&str> = answers.keys().map(String::as_str).collect();
            if names != *wanted {
                bail!("{answers:?} answer");
            }
            Ok(())
        })?;
    }
    Ok(())
}
