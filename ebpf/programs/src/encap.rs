//! Into the overlay: VXLAN with the sender's identity as VNI.

use crate::{
    family::Family,
    fault::{Fault, fault},
    globals::VXLAN_IFINDEX,
    skb::Skb,
};
use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_ZERO_CSUM_TX, bpf_tunnel_key},
    helpers::generated::{bpf_redirect, bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key},
};
use ebpf_abi::{SourceFile, is_local, reserved};

const FILE: SourceFile = SourceFile::Encap;

/// `struct bpf_tunnel_key` up to and including `local_ipv4`.
const KEY_BYTES: u32 = 28;
const TTL: u8 = 64;

/// The tunnel key when there is none: no VNI has more than 24 bits.
const NO_KEY: u32 = u32::MAX;

/// Sends the packet to the node at `tunnel`.
#[inline(always)]
pub fn send(skb: Skb, tunnel: u32, identity: u32) -> Result<i32, Fault> {
    if set_key(skb.0, tunnel, to_wire(identity)) != 0 {
        return Err(fault!(WRITE_ERROR));
    }
    // SAFETY: plain numbers.
    Ok(unsafe { bpf_redirect(VXLAN_IFINDEX.load(), 0) } as i32)
}

/// The identity that the sending node wrote.
#[inline(always)]
pub fn received<F: Family>(skb: Skb) -> Result<u32, Fault> {
    match key(skb.0) {
        NO_KEY => Err(fault!(NO_TUNNEL_KEY)),
        // A host is `host` to its own pods only; 0 is no identity.
        reserved::HOST | reserved::UNKNOWN => Err(fault!(INVALID_IDENTITY)),
        reserved::WORLD => Ok(F::world()),
        identity => Ok(identity),
    }
}

/// Out of line for its frame: the walks need the stack.
#[inline(never)]
fn set_key(skb: *mut __sk_buff, tunnel: u32, vni: u32) -> i32 {
    // SAFETY: integers only, zero is a valid value.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    key.tunnel_id = vni;
    key.tunnel_ttl = TTL;
    // The helper wants this address, unlike every other, in host order.
    key.__bindgen_anon_1.remote_ipv4 = u32::from_be(tunnel);
    // SAFETY: the key is at least KEY_BYTES long.
    unsafe { bpf_skb_set_tunnel_key(skb, &raw mut key, KEY_BYTES, u64::from(BPF_F_ZERO_CSUM_TX)) as i32 }
}

/// The VNI, or `NO_KEY`.
#[inline(never)]
fn key(skb: *mut __sk_buff) -> u32 {
    // SAFETY: as in `set_key`.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    // SAFETY: as in `set_key`.
    if unsafe { bpf_skb_get_tunnel_key(skb, &raw mut key, KEY_BYTES, 0) } == 0 { key.tunnel_id } else { NO_KEY }
}

/// What the wire says: one world, and a node seen from afar.
#[inline(always)]
fn to_wire(identity: u32) -> u32 {
    match identity {
        reserved::WORLD_IPV4 | reserved::WORLD_IPV6 => reserved::WORLD,
        // A range of the world, as this node alone numbers it.
        local if is_local(local) => reserved::WORLD,
        reserved::HOST => reserved::REMOTE_NODE,
        other => other,
    }
}
