//! Proof 1: pods on different nodes talk, and the tunnel carries the sender's identity.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Stage;
use crate::capture::{Capture, Encapsulated};

/// Both directions, both families; the VNI on the wire against what etcdctl reads.
///
/// # Errors
///
/// When a connection is not answered, or the VNI differs.
pub fn prove(stage: &mut Stage) -> Result<String> {
    let mut seen = Vec::new();
    for (from, to) in [("client-a", "echo-b"), ("echo-b", "client-a"), ("client-a", "echo-w"), ("echo-w", "client-a")] {
        for ipv6 in [false, true] {
            stage.expect(from, to, ipv6, true)?;
            let wanted = stage.identity_in_etcd(from, ipv6)?;
            let vni = vni_on_the_wire(stage, from, to, ipv6)?;
            check_vni(from, vni, wanted)?;
            seen.push(format!("{from}={vni}"));
        }
    }
    seen.sort();
    seen.dedup();
    Ok(format!("4 pairs, IPv4 and IPv6; VNI on the wire = ID in etcd: {}", seen.join(", ")))
}

/// The check itself: what the wire says is what the store says.
///
/// # Errors
///
/// When they differ.
pub fn check_vni(from: &str, vni: u32, identity: u32) -> Result<()> {
    ensure!(vni == identity, "packets of {from} carry VNI {vni}, etcd says {identity}");
    Ok(())
}

/// Captures a packet of `from` to `to` on the receiving node's uplink; its VNI.
///
/// # Errors
///
/// When none is seen.
pub fn vni_on_the_wire(stage: &Stage, from: &str, to: &str, ipv6: bool) -> Result<u32> {
    let (source, target) = (stage.pod(from)?.ip(ipv6), stage.pod(to)?.ip(ipv6));
    let capture = Capture::start(&stage.node_of(to)?.netns)?;
    stage.reaches(from, to, ipv6)?;
    let wanted = |packet: &Encapsulated| inner_addresses(&packet.inner) == Some((source, target));
    let packet = capture.find(Duration::from_secs(2), wanted);
    Ok(packet.with_context(|| format!("see a tunnelled packet from {from} to {to}"))?.vni)
}

/// Source and destination of the packet behind an Ethernet header.
fn inner_addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?));
    match frame.get(14)? >> 4 {
        4 => Some((v4(26)?, v4(30)?)),
        6 => Some((v6(22)?, v6(38)?)),
        _ => None,
    }
}
