//! The verdict on a packet of the opening side.

use crate::{
    ct::{self, Flow, Verdict as Decided},
    event::{self, Scene},
    fault::{Fault, fault},
    globals::AUDIT,
    maps::POLICY,
    packet::Packet,
    parse::Parse,
    skb::Skb,
};
use aya_ebpf::helpers::generated::bpf_map_lookup_elem;
use core::ffi::c_void;
use ebpf_abi::{CtScope, MatchKind, POLICY_FULL_PREFIX, PolicyEntry, PolicyKey, PolicyLpmKey, SourceFile};

const FILE: SourceFile = SourceFile::Policy;

/// The row is one of identity 0.
const ANY: u8 = 0x80;
const NO_ROW: u8 = 0xff;

struct Verdict {
    /// `None`: allowed.
    fault: Option<Fault>,
    /// The chosen row's L4 prefix, with `ANY` for identity 0; or `NO_ROW`.
    row: u8,
}

/// Checks a packet of the opening side against the policy set of the endpoint it leaves (scope OUT)
/// or reaches (IN), unless the flow's last verdict holds.
#[inline(always)]
pub fn enforce<F: Parse>(
    skb: Skb,
    scene: &Scene,
    packet: &mut Packet<F>,
    flow: &Flow,
    scope: u8,
    decided: &Decided,
) -> Result<(), Fault> {
    if flow.decided {
        return Ok(());
    }
    let port = packet.policy_port();
    let verdict = decide(decided.set, decided.remote, scope == CtScope::OUT, packet.proto, port);
    let audited = verdict.fault.is_some() && AUDIT.load() != 0;
    if flow.is_new() || verdict.fault.is_some() {
        let matched = matched(skb.forget(u32::from(verdict.row)) as u8);
        event::verdict(skb, scene, verdict.fault, matched, audited, packet.proto, port);
    }
    match verdict.fault {
        Some(fault) if !audited => Err(fault),
        None if !flow.is_new() => {
            ct::remember(packet, scope, decided);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The [`MatchKind`] that an event names.
#[inline(always)]
fn matched(row: u8) -> u8 {
    match row {
        NO_ROW => MatchKind::NONE,
        0 => MatchKind::L3_ONLY,
        8 => MatchKind::L3_PROTO,
        ANY => MatchKind::ALL,
        specific if specific & ANY == 0 => MatchKind::L3_L4,
        row if row == ANY | 8 => MatchKind::PROTO_ONLY,
        _ => MatchKind::L4_ONLY,
    }
}

/// Two lookups: the identity itself, then any. The higher precedence wins; between equals the
/// longer L4 prefix, then the specific identity.
#[inline(always)]
fn decide(set: u32, remote: u32, egress: bool, proto: u8, dport: u16) -> Verdict {
    // SAFETY: the map is one of maps; the verifier knows what the lookup returns.
    let rows = unsafe { bpf_map_lookup_elem((&raw const POLICY) as *mut c_void, (&raw const set) as *mut c_void) };
    if rows.is_null() {
        return Verdict { fault: Some(fault!(NO_POLICY_CONFIG)), row: NO_ROW };
    }
    let mut key = PolicyLpmKey {
        prefix_len: POLICY_FULL_PREFIX,
        key: PolicyKey { identity: remote, egress: egress as u8, proto, dport },
    };
    let exact = row(rows, &key);
    key.key.identity = 0;
    let any = row(rows, &key);
    let (chosen, specific) = match (exact, any) {
        (None, None) => return Verdict { fault: Some(fault!(POLICY_DENIED)), row: NO_ROW },
        (Some(row), None) => (row, true),
        (None, Some(row)) => (row, false),
        (Some(exact), Some(any)) => {
            // SAFETY: rows of a live policy set, valid while the program runs.
            let any_wins = unsafe {
                (*any).precedence > (*exact).precedence
                    || ((*any).precedence == (*exact).precedence && (*any).l4_prefix() > (*exact).l4_prefix())
            };
            if any_wins { (any, false) } else { (exact, true) }
        }
    };
    // SAFETY: as above.
    let (deny, l4) = unsafe { ((*chosen).is_deny(), (*chosen).l4_prefix()) };
    Verdict { fault: if deny { Some(fault!(POLICY_DENY)) } else { None }, row: if specific { l4 } else { l4 | ANY } }
}

#[inline(always)]
fn row(rows: *mut c_void, key: &PolicyLpmKey) -> Option<*const PolicyEntry> {
    // SAFETY: `rows` came from the outer map; the key has the inner map's key size.
    let row = unsafe { bpf_map_lookup_elem(rows, core::ptr::from_ref(key) as *mut c_void) };
    if row.is_null() { None } else { Some(row as *const PolicyEntry) }
}
