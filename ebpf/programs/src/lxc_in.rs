//! Everything a pod sends (tcx ingress of its host veth).

use crate::{
    ct::{self, Seed, Verdict},
    deliver, encap,
    event::{self, Scene},
    family::{Family, V4, V6},
    fault::{Fault, drop_packet, fault},
    globals::TUNNEL_PORT,
    ipcache, lb,
    maps::IFACES,
    metrics,
    nat::{self, Rewrite, Side},
    packet::{Icmp, Packet, TCP, UDP},
    parse::Parse,
    policy,
    skb::{ACT_OK, Skb},
};
use aya_ebpf::{bindings::__sk_buff, macros::classifier, programs::TcContext};
use ebpf_abi::{
    CtFlags, CtScope, Direction, Endpoint, EndpointFlags, FORWARDED, FlowState, Mark, SourceFile, TracePoint, reserved,
};

const FILE: SourceFile = SourceFile::LxcIn;
const ETHERTYPE_ARP: u16 = 0x0806;
/// Below this an EtherType is a length.
const ETHERTYPE_MIN: u16 = 0x0600;

#[classifier]
pub fn lxc_in(ctx: TcContext) -> i32 {
    let skb = Skb(ctx.skb.skb);
    match skb.ethertype() {
        V4::ETHERTYPE => run4(skb.0),
        V6::ETHERTYPE => run6(skb.0),
        ETHERTYPE_ARP => ACT_OK,
        other => {
            let fault = if other < ETHERTYPE_MIN { fault!(UNSUPPORTED_L2) } else { fault!(UNSUPPORTED_L3) };
            drop_packet(skb, &Scene::new(Direction::EGRESS, false), fault)
        }
    }
}

// A frame for each family: together they would exceed the stack.
#[inline(never)]
fn run4(skb: *mut __sk_buff) -> i32 {
    run::<V4>(Skb(skb))
}

#[inline(never)]
fn run6(skb: *mut __sk_buff) -> i32 {
    run::<V6>(Skb(skb))
}

#[inline(always)]
fn run<F: Parse + Rewrite>(skb: Skb) -> i32 {
    let mut scene = Scene::new(Direction::EGRESS, F::V6);
    // SAFETY: the row is replaced, not rewritten, and lives until the program ends.
    let Some(me) = (unsafe { IFACES.get(skb.ifindex()) }) else {
        return drop_packet(skb, &scene, fault!(ENDPOINT_NOT_READY));
    };
    scene.src_identity = me.identity;
    scene.endpoint = me.id;
    match walk::<F>(skb, &mut scene, me) {
        Ok(action) => action,
        Err(fault) => drop_packet(skb, &scene, fault),
    }
}

#[inline(always)]
fn walk<F: Parse + Rewrite>(skb: Skb, scene: &mut Scene, me: &Endpoint) -> Result<i32, Fault> {
    event::entered(skb, scene, TracePoint::FROM_LXC);
    if me.flags & EndpointFlags::LOCKDOWN != 0 {
        return Err(fault!(ENDPOINT_NOT_READY));
    }
    let packet = F::parse(skb)?;
    if packet.saddr() != F::own(me) {
        // Before it has an address, and on its own link, a pod may speak as every host does.
        return if F::unbound(&packet.saddr()) && F::on_link(&packet.daddr()) {
            Ok(ACT_OK)
        } else {
            Err(fault!(INVALID_SOURCE_IP))
        };
    }
    if packet.icmp == Icmp::Neighbour && (F::on_link(&packet.daddr()) || packet.daddr() == F::router()) {
        return Ok(ACT_OK);
    }
    if packet.proto == UDP && packet.dport == TUNNEL_PORT.load().to_be() {
        return Err(fault!(ENCAP_PROHIBITED));
    }
    let now = ct::now();
    if packet.daddr() == F::loopback() {
        if let Some(action) = hairpin_reply(skb, scene, packet, me, now)? {
            return Ok(action);
        }
    }
    let service = lb::translate(skb, packet, now)?;
    if service.hairpin {
        return hairpin(skb, scene, packet, me, service.rev_nat, now);
    }
    let local = if F::in_pod_cidr(&packet.daddr()) == Some(false) {
        None
    } else {
        // SAFETY: as for the interface's row.
        unsafe { F::endpoints().get(packet.daddr()) }
    };
    let (identity, tunnel) = match local {
        Some(endpoint) => (endpoint.identity, 0),
        None => {
            let entry = ipcache::resolve::<F>(&packet.daddr());
            (entry.identity, entry.tunnel)
        }
    };
    scene.dst_identity = identity;
    let verdict = Verdict::new(me.identity, identity);
    let flow = ct::lookup(skb, packet, false, service.rev_nat, &verdict, now);
    scene.state = flow.state;
    if flow.is_forward() {
        policy::enforce(skb, scene, packet, &flow, CtScope::OUT, &verdict)?;
        if flow.is_new() {
            let seed = Seed {
                scope: CtScope::OUT,
                flags: 0,
                rev_nat: service.rev_nat,
                backend_id: 0,
                src_identity: me.identity,
                verdict,
            };
            ct::create(skb, packet, now, seed)?;
        }
    }
    metrics::count(FORWARDED, Direction::EGRESS, packet.len);
    if let Some(endpoint) = local {
        return deliver::local(skb, scene, packet, endpoint, me.identity, false, now);
    }
    nat::flush(skb, packet)?;
    if tunnel != 0 {
        event::handed_on(skb, scene, TracePoint::TO_OVERLAY, flow.report);
        return encap::send(skb, tunnel, me.identity);
    }
    let point = if identity == reserved::HOST { TracePoint::TO_HOST } else { TracePoint::TO_STACK };
    event::handed_on(skb, scene, point, flow.report);
    skb.set_mark(Mark::identity(me.identity).0);
    Ok(ACT_OK)
}

/// A service led the pod to itself: no policy, one entry that the answer will find.
#[inline(always)]
fn hairpin<F: Parse + Rewrite>(
    skb: Skb,
    scene: &mut Scene,
    packet: &mut Packet<F>,
    me: &Endpoint,
    rev_nat: u16,
    now: u32,
) -> Result<i32, Fault> {
    scene.dst_identity = me.identity;
    scene.to_endpoint = me.id;
    let report = match F::ct().get_ptr_mut(packet.key(CtScope::IN)) {
        // SAFETY: a live map value.
        Some(entry)
            if ct::live(entry, now) && unsafe { (*entry).rev_nat } == rev_nat && !ct::reopens(entry, packet) =>
        {
            scene.state = FlowState::ESTABLISHED;
            ct::touch(skb, entry, packet, false, false, now)
        }
        _ => {
            scene.state = FlowState::NEW;
            let verdict = Verdict { revision: 0, set: 0, remote: 0 };
            let seed = Seed {
                scope: CtScope::IN,
                flags: CtFlags::LOOPBACK,
                rev_nat,
                backend_id: 0,
                src_identity: me.identity,
                verdict,
            };
            ct::create(skb, packet, now, seed)?;
            true
        }
    };
    metrics::count(FORWARDED, Direction::EGRESS, packet.len);
    deliver::enter(skb, scene, packet, me, report)
}

/// The answer to a hairpin: both addresses are put back. `None`: there is no such flow.
#[inline(always)]
fn hairpin_reply<F: Parse + Rewrite>(
    skb: Skb,
    scene: &mut Scene,
    packet: &mut Packet<F>,
    me: &Endpoint,
    now: u32,
) -> Result<Option<i32>, Fault> {
    if packet.proto != TCP && packet.proto != UDP {
        return Ok(None);
    }
    let Some(entry) = F::ct().get_ptr_mut(packet.reverse_key(CtScope::IN)) else { return Ok(None) };
    // SAFETY: a live map value.
    let (flags, rev_nat) = unsafe { ((*entry).flags, (*entry).rev_nat) };
    if !ct::live(entry, now) || flags & CtFlags::LOOPBACK == 0 {
        return Ok(None);
    }
    scene.state = FlowState::REPLY;
    scene.dst_identity = me.identity;
    scene.to_endpoint = me.id;
    let report = ct::touch(skb, entry, packet, true, false, now);
    lb::untranslate(skb, packet, rev_nat)?;
    let port = packet.dport;
    nat::rewrite(skb, packet, Side::Destination, F::own(me), port)?;
    metrics::count(FORWARDED, Direction::EGRESS, packet.len);
    deliver::enter(skb, scene, packet, me, report).map(Some)
}
