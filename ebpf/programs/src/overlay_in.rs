//! What other nodes send (tcx ingress of causeway_vxlan). The VNI is the sender's identity.

use crate::{
    ct, deliver, encap,
    event::{self, Scene},
    family::{Family, V4, V6},
    fault::{Fault, drop_packet, fault},
    ipcache, metrics,
    nat::Rewrite,
    parse::Parse,
    skb::{ACT_OK, Skb},
};
use aya_ebpf::{bindings::__sk_buff, macros::classifier, programs::TcContext};
use ebpf_abi::{Direction, FORWARDED, Mark, SourceFile, TracePoint, reserved};

const FILE: SourceFile = SourceFile::OverlayIn;

#[classifier]
pub fn overlay_in(ctx: TcContext) -> i32 {
    let skb = Skb(ctx.skb.skb);
    match skb.ethertype() {
        V4::ETHERTYPE => run4(skb.0),
        V6::ETHERTYPE => run6(skb.0),
        _ => drop_packet(skb, &Scene::new(Direction::INGRESS, false), fault!(UNSUPPORTED_L3)),
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
    let mut scene = Scene::new(Direction::INGRESS, F::V6);
    match walk::<F>(skb, &mut scene) {
        Ok(action) => action,
        Err(fault) => drop_packet(skb, &scene, fault),
    }
}

#[inline(always)]
fn walk<F: Parse + Rewrite>(skb: Skb, scene: &mut Scene) -> Result<i32, Fault> {
    let identity = encap::received::<F>(skb)?;
    scene.src_identity = identity;
    event::entered(skb, scene, TracePoint::FROM_OVERLAY);
    let packet = F::parse(skb)?;
    // SAFETY: the row is replaced, not rewritten, and lives until the program ends.
    if let Some(endpoint) = unsafe { F::endpoints().get(packet.daddr()) } {
        return deliver::local(skb, scene, packet, endpoint, identity, true, ct::now());
    }
    // Not a pod: the node itself, or nobody.
    scene.dst_identity = ipcache::resolve::<F>(&packet.daddr()).identity;
    if scene.dst_identity != reserved::HOST && packet.daddr() != F::router() {
        return Err(fault!(NO_LOCAL_CONTAINER));
    }
    metrics::count(FORWARDED, Direction::INGRESS, packet.len);
    event::handed_on(skb, scene, TracePoint::TO_HOST, true);
    skb.set_to_host();
    skb.set_mark(Mark::identity(identity).0);
    Ok(ACT_OK)
}
