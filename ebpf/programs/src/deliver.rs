//! The last steps to a local pod: its own conntrack, its ingress policy, its door.

use crate::{
    ct::{self, Seed, Verdict},
    event::{self, Scene},
    fault::{Fault, fault},
    lb, metrics,
    nat::{self, Rewrite},
    packet::Packet,
    parse::Parse,
    policy,
    skb::Skb,
};
use aya_ebpf::helpers::generated::bpf_redirect_peer;
use ebpf_abi::{CtFlags, CtScope, Direction, Endpoint, EndpointFlags, FORWARDED, FlowState, SourceFile, TracePoint};

const FILE: SourceFile = SourceFile::Deliver;

/// Conntrack and policy of the receiving pod; rewrites a service's reply. True: monitors want to know.
#[inline(always)]
pub fn admit<F: Parse + Rewrite>(
    skb: Skb,
    scene: &mut Scene,
    packet: &mut Packet<F>,
    endpoint: &Endpoint,
    source: u32,
    from_tunnel: bool,
    now: u32,
) -> Result<bool, Fault> {
    scene.direction = Direction::INGRESS;
    scene.dst_identity = endpoint.identity;
    scene.to_endpoint = endpoint.id;
    if endpoint.flags & EndpointFlags::LOCKDOWN != 0 {
        return Err(fault!(ENDPOINT_NOT_READY));
    }
    let verdict = Verdict::new(endpoint.identity, source);
    let flow = ct::lookup(skb, packet, true, 0, &verdict, now);
    scene.state = flow.state;
    if flow.is_forward() {
        policy::enforce(skb, scene, packet, &flow, CtScope::IN, &verdict)?;
        if flow.is_new() {
            let flags = if from_tunnel { CtFlags::FROM_TUNNEL } else { 0 };
            let seed = Seed { scope: CtScope::IN, flags, rev_nat: 0, backend_id: 0, src_identity: source, verdict };
            ct::create(skb, packet, now, seed)?;
        }
    } else if flow.state == FlowState::REPLY {
        if flow.rev_nat != 0 {
            lb::untranslate(skb, packet, flow.rev_nat)?;
        }
    }
    metrics::count(FORWARDED, Direction::INGRESS, packet.len);
    Ok(flow.report)
}

/// From an ingress hook into the pod.
#[inline(always)]
pub fn local<F: Parse + Rewrite>(
    skb: Skb,
    scene: &mut Scene,
    packet: &mut Packet<F>,
    endpoint: &Endpoint,
    source: u32,
    from_tunnel: bool,
    now: u32,
) -> Result<i32, Fault> {
    let report = admit(skb, scene, packet, endpoint, source, from_tunnel, now)?;
    enter(skb, scene, packet, endpoint, report)
}

/// One hop less, new MACs, over to the pod's own side of the veth.
#[inline(always)]
pub fn enter<F: Parse + Rewrite>(
    skb: Skb,
    scene: &Scene,
    packet: &mut Packet<F>,
    endpoint: &Endpoint,
    report: bool,
) -> Result<i32, Fault> {
    if !F::decrement(&mut packet.header) {
        return Err(fault!(TTL_EXCEEDED));
    }
    packet.dirty = true;
    nat::flush(skb, packet)?;
    nat::write_macs(skb, endpoint)?;
    event::handed_on(skb, scene, TracePoint::TO_LXC, report);
    // SAFETY: plain numbers; this is an ingress hook.
    Ok(unsafe { bpf_redirect_peer(endpoint.ifindex, 0) } as i32)
}
