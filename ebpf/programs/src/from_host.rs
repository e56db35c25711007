//! What the host's stack sends to pods (tcx egress of causeway_host): to local ones through their
//! veth, where `lxc_out` applies their policy, to those of other nodes through the overlay.

use crate::{
    encap,
    event::{self, Scene},
    family::{Family, V4, V6},
    fault::{Fault, drop_packet, fault},
    ipcache, metrics,
    nat::{self, Rewrite},
    packet::Packet,
    parse::Parse,
    skb::{ACT_OK, Skb},
};
use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_redirect, macros::classifier, programs::TcContext};
use ebpf_abi::{Direction, FORWARDED, Mark, SourceFile, TracePoint, reserved};

const FILE: SourceFile = SourceFile::FromHost;

#[classifier]
pub fn from_host(ctx: TcContext) -> i32 {
    let skb = Skb(ctx.skb.skb);
    match skb.ethertype() {
        V4::ETHERTYPE => run4(skb.0),
        V6::ETHERTYPE => run6(skb.0),
        _ => ACT_OK,
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
    match walk::<F>(skb, &mut scene) {
        Ok(action) => action,
        Err(fault) => drop_packet(skb, &scene, fault),
    }
}

#[inline(always)]
fn walk<F: Parse + Rewrite>(skb: Skb, scene: &mut Scene) -> Result<i32, Fault> {
    let packet = F::parse(skb)?;
    if F::on_link(&packet.daddr()) {
        return Ok(ACT_OK);
    }
    let source = identity::<F>(skb, packet)?;
    scene.src_identity = source;
    event::entered(skb, scene, TracePoint::FROM_HOST);
    // SAFETY: the row is replaced, not rewritten, and lives until the program ends.
    if let Some(endpoint) = unsafe { F::endpoints().get(packet.daddr()) } {
        scene.dst_identity = endpoint.identity;
        nat::write_macs(skb, endpoint)?;
        skb.set_mark(Mark::identity(source).0);
        // SAFETY: plain numbers. Not `redirect_peer`: that is for ingress hooks, and `lxc_out` must see it.
        return Ok(unsafe { bpf_redirect(endpoint.ifindex, 0) } as i32);
    }
    let entry = ipcache::resolve::<F>(&packet.daddr());
    scene.dst_identity = entry.identity;
    if entry.tunnel == 0 {
        // Passing it on would bring it back here, until its TTL ends.
        return Err(fault!(UNKNOWN_L3_TARGET));
    }
    metrics::count(FORWARDED, Direction::EGRESS, packet.len);
    event::handed_on(skb, scene, TracePoint::TO_OVERLAY, true);
    encap::send(skb, entry.tunnel, source)
}

/// Who sent a packet that comes from the stack: the mark if a program set it, else the source address.
#[inline(always)]
pub fn identity<F: Family>(skb: Skb, packet: &Packet<F>) -> Result<u32, Fault> {
    if let Some(identity) = Mark(skb.mark()).to_identity() {
        return Ok(identity);
    }
    let identity = ipcache::resolve::<F>(&packet.saddr()).identity;
    // IPv6 forwards a stranger's packet that bears the host's address; host rights need a local origin.
    if identity == reserved::HOST && skb.ingress_ifindex() != 0 {
        return Err(fault!(INVALID_SOURCE_IP));
    }
    Ok(identity)
}
