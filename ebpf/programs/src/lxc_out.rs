//! What the host's stack sends to a pod (tcx egress of its host veth). Packets of other pods do not
//! pass here: they enter through `redirect_peer`.

use crate::{
    ct, deliver,
    event::{self, Scene},
    family::{Family, V4, V6},
    fault::{Fault, drop_packet, fault},
    from_host,
    maps::IFACES,
    nat::{self, Rewrite},
    packet::Icmp,
    parse::Parse,
    skb::{ACT_OK, Skb},
};
use aya_ebpf::{bindings::__sk_buff, macros::classifier, programs::TcContext};
use ebpf_abi::{Direction, Endpoint, SourceFile, TracePoint};

const FILE: SourceFile = SourceFile::LxcOut;

#[classifier]
pub fn lxc_out(ctx: TcContext) -> i32 {
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
    let mut scene = Scene::new(Direction::INGRESS, F::V6);
    // SAFETY: the row is replaced, not rewritten, and lives until the program ends.
    let Some(me) = (unsafe { IFACES.get(skb.ifindex()) }) else {
        return drop_packet(skb, &scene, fault!(ENDPOINT_NOT_READY));
    };
    match walk::<F>(skb, &mut scene, me) {
        Ok(action) => action,
        Err(fault) => drop_packet(skb, &scene, fault),
    }
}

#[inline(always)]
fn walk<F: Parse + Rewrite>(skb: Skb, scene: &mut Scene, me: &Endpoint) -> Result<i32, Fault> {
    scene.endpoint = me.id;
    let packet = F::parse(skb)?;
    // The stack itself looks for the pod's MAC; a forwarded one of these is worthless to its receiver.
    if packet.icmp == Icmp::Neighbour {
        return Ok(ACT_OK);
    }
    let source = from_host::identity::<F>(skb, packet)?;
    scene.src_identity = source;
    event::entered(skb, scene, TracePoint::FROM_STACK);
    if packet.daddr() != F::own(me) {
        return if F::on_link(&packet.daddr()) { Ok(ACT_OK) } else { Err(fault!(NO_LOCAL_CONTAINER)) };
    }
    let report = deliver::admit(skb, scene, packet, me, source, false, ct::now())?;
    nat::flush(skb, packet)?;
    event::handed_on(skb, scene, TracePoint::TO_LXC, report);
    Ok(ACT_OK)
}
