//! ClusterIP services, packet by packet.

use crate::{
    ct::{self, Seed, Verdict},
    fault::{Fault, fault},
    nat::{self, Rewrite, Side},
    packet::{Packet, TCP, UDP},
    parse::Parse,
    skb::Skb,
};
use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use ebpf_abi::{Backend, BackendState, CtScope, ServiceEntry, ServiceKey, SourceFile};

const FILE: SourceFile = SourceFile::Lb;

/// What the translation means for the rest of the walk.
pub struct Translation {
    /// 0: the destination is no service.
    pub rev_nat: u16,
    /// The backend is the client itself.
    pub hairpin: bool,
}

/// Turns a ClusterIP into a backend.
#[inline(always)]
pub fn translate<F: Parse + Rewrite>(skb: Skb, packet: &mut Packet<F>, now: u32) -> Result<Translation, Fault> {
    if F::in_pod_cidr(&packet.daddr()) == Some(true) {
        return Ok(Translation { rev_nat: 0, hairpin: false });
    }
    let mut key = ServiceKey { addr: packet.daddr(), port: 0, slot: 0, proto: 0, scope: 0, pad: 0 };
    // SAFETY: values are copied before any other operation on the map.
    if unsafe { F::services().get(&key) }.is_none() {
        return Ok(Translation { rev_nat: 0, hairpin: false });
    }
    if packet.proto != TCP && packet.proto != UDP {
        return Err(fault!(NO_BACKEND));
    }
    key.port = packet.dport;
    key.proto = packet.proto;
    // SAFETY: as above.
    let Some(service) = (unsafe { F::services().get(&key) }) else { return Err(fault!(NO_BACKEND)) };
    let service = *service;
    let backend = match remembered(skb, packet, &service, now) {
        Some(backend) => backend,
        None => choose(skb, packet, &mut key, &service, now)?,
    };
    let hairpin = backend.addr == packet.saddr();
    nat::rewrite(skb, packet, Side::Destination, backend.addr, backend.port)?;
    if hairpin {
        let port = packet.sport;
        nat::rewrite(skb, packet, Side::Source, F::loopback(), port)?;
    }
    Ok(Translation { rev_nat: service.rev_nat, hairpin })
}

/// The backend this flow was given, if it still exists and may go on.
#[inline(always)]
fn remembered<F: Parse>(
    skb: Skb,
    packet: &mut Packet<F>,
    service: &ServiceEntry,
    now: u32,
) -> Option<Backend<F::Addr>> {
    let entry = F::ct().get_ptr_mut(packet.key(CtScope::SERVICE))?;
    // SAFETY: a live map value.
    let (rev_nat, id) = unsafe { ((*entry).rev_nat, (*entry).backend_id) };
    if !ct::live(entry, now) || rev_nat != service.rev_nat || ct::reopens(entry, packet) {
        return None;
    }
    // SAFETY: the value is copied at once.
    let backend = *unsafe { F::backends().get(id) }?;
    // A draining backend keeps its flows and gets no new ones.
    if backend.state != BackendState::ACTIVE && packet.is_syn() {
        return None;
    }
    ct::touch(skb, entry, packet, false, true, now);
    Some(backend)
}

/// A random slot; the choice is remembered.
#[inline(always)]
fn choose<F: Parse>(
    skb: Skb,
    packet: &mut Packet<F>,
    key: &mut ServiceKey<F::Addr>,
    service: &ServiceEntry,
    now: u32,
) -> Result<Backend<F::Addr>, Fault> {
    // SAFETY: no arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    let Some(slot) = random.checked_rem(u32::from(service.count)) else { return Err(fault!(NO_BACKEND)) };
    key.slot = slot as u16 + 1;
    // SAFETY: values are copied before any other operation on the map.
    let Some(slot) = (unsafe { F::services().get(&*key) }) else { return Err(fault!(NO_BACKEND)) };
    let id = slot.backend_id;
    // SAFETY: as above.
    let Some(backend) = (unsafe { F::backends().get(id) }) else { return Err(fault!(NO_BACKEND)) };
    let backend = *backend;
    let verdict = Verdict { revision: 0, set: 0, remote: 0 };
    let seed =
        Seed { scope: CtScope::SERVICE, flags: 0, rev_nat: service.rev_nat, backend_id: id, src_identity: 0, verdict };
    ct::create(skb, packet, now, seed)?;
    Ok(backend)
}

/// Gives a reply the service's address as its source.
#[inline(always)]
pub fn untranslate<F: Rewrite>(skb: Skb, packet: &mut Packet<F>, rev_nat: u16) -> Result<(), Fault> {
    // SAFETY: the value is copied at once. A service that is gone leaves the reply as it is.
    let Some(original) = (unsafe { F::reverse_nats().get(rev_nat) }) else { return Ok(()) };
    let original = *original;
    if packet.proto == TCP || packet.proto == UDP {
        nat::rewrite(skb, packet, Side::Source, original.addr, original.port)?;
    }
    Ok(())
}
