//! Rewriting addresses and ports. The L4 checksum is corrected at once, the IP header is only
//! changed in `Packet` and written once, when its fate is known.

use crate::{
    family::{ETH, Family, Header4, Header6, V4, V6},
    fault::{Fault, fault},
    packet::{Packet, UDP},
    skb::Skb,
};
use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::generated::{bpf_csum_diff, bpf_l4_csum_replace},
};
use ebpf_abi::{Endpoint, SourceFile};

const FILE: SourceFile = SourceFile::Lb;

/// Offsets below this are written in place; a power of two, so that a mask bounds them.
const NEAR: u32 = 256;

#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Source,
    Destination,
}

pub trait Rewrite: Family {
    /// Replaces an address in the header (checksum included) and corrects L4 checksum at `check`.
    fn set_addr(skb: Skb, header: &mut Self::Header, side: Side, new: Self::Addr, check: u32, flags: u64) -> bool;
    fn flush(skb: Skb, header: &Self::Header) -> bool;
    /// One hop less; false when there is none left.
    fn decrement(header: &mut Self::Header) -> bool;
}

/// Replaces address and port of one side. TCP and UDP only.
#[inline(always)]
pub fn rewrite<F: Rewrite>(
    skb: Skb,
    packet: &mut Packet<F>,
    side: Side,
    addr: F::Addr,
    port: u16,
) -> Result<(), Fault> {
    let (check, zero_means_none) =
        if packet.proto == UDP { (packet.l4 + 6, u64::from(BPF_F_MARK_MANGLED_0)) } else { (packet.l4 + 16, 0) };
    if !F::set_addr(skb, &mut packet.header, side, addr, check, zero_means_none) {
        return Err(fault!(CSUM_L4));
    }
    packet.dirty = true;
    let (old, offset) = match side {
        Side::Source => (core::mem::replace(&mut packet.sport, port), packet.l4),
        Side::Destination => (core::mem::replace(&mut packet.dport, port), packet.l4 + 2),
    };
    if old != port {
        // SAFETY: the verifier checks the context; offsets are checked by the kernel.
        let err = unsafe { bpf_l4_csum_replace(skb.0, check, u64::from(old), u64::from(port), zero_means_none | 2) };
        if err != 0 {
            return Err(fault!(CSUM_L4));
        }
        // Extension headers rarely reach further.
        let offset = skb.forget(offset);
        let written = if offset < NEAR { skb.store_near(offset & (NEAR - 1), &port) } else { skb.store(offset, &port) };
        if !written {
            return Err(fault!(WRITE_ERROR));
        }
    }
    Ok(())
}

/// The MACs of a frame that enters the pod. They are stored straight from the map value.
#[inline(always)]
pub fn write_macs(skb: Skb, endpoint: &Endpoint) -> Result<(), Fault> {
    if skb.store_near(0, &endpoint.macs) { Ok(()) } else { Err(fault!(WRITE_ERROR)) }
}

/// Writes the header where it was changed and the packet goes on with its L2 header as it is.
#[inline(always)]
pub fn flush<F: Rewrite>(skb: Skb, packet: &Packet<F>) -> Result<(), Fault> {
    if packet.dirty && !F::flush(skb, &packet.header) {
        return Err(fault!(WRITE_ERROR));
    }
    Ok(())
}

#[inline(always)]
fn fold(mut sum: u32) -> u16 {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// RFC 1624 with 16-bit words, byte order being irrelevant to it.
#[inline(always)]
fn recheck(check: u16, old: u32, new: u32) -> u16 {
    let sum = u32::from(!check) + (!old & 0xffff) + (!old >> 16) + (new & 0xffff) + (new >> 16);
    fold(sum)
}

impl Rewrite for V4 {
    #[inline(always)]
    fn set_addr(skb: Skb, header: &mut Header4, side: Side, new: u32, check: u32, flags: u64) -> bool {
        let slot = match side {
            Side::Source => &mut header.saddr,
            Side::Destination => &mut header.daddr,
        };
        let old = core::mem::replace(slot, new);
        header.check = recheck(header.check, old, new);
        // SAFETY: as in `rewrite`.
        unsafe {
            bpf_l4_csum_replace(skb.0, check, u64::from(old), u64::from(new), u64::from(BPF_F_PSEUDO_HDR) | flags | 4)
                == 0
        }
    }

    #[inline(always)]
    fn flush(skb: Skb, header: &Header4) -> bool {
        skb.store_near(ETH, header)
    }

    #[inline(always)]
    fn decrement(header: &mut Header4) -> bool {
        if header.ttl <= 1 {
            return false;
        }
        let old = u16::from_ne_bytes([header.ttl, header.proto]);
        header.ttl -= 1;
        let new = u16::from_ne_bytes([header.ttl, header.proto]);
        header.check = recheck(header.check, u32::from(old), u32::from(new));
        true
    }
}

impl Rewrite for V6 {
    #[inline(always)]
    fn set_addr(skb: Skb, header: &mut Header6, side: Side, new: [u32; 4], check: u32, flags: u64) -> bool {
        let slot = match side {
            Side::Source => &mut header.saddr,
            Side::Destination => &mut header.daddr,
        };
        let mut old = core::mem::replace(slot, new);
        let mut new = new;
        // SAFETY: both buffers are 16 bytes, as said; then as in `rewrite`.
        unsafe {
            let diff = bpf_csum_diff(old.as_mut_ptr(), 16, new.as_mut_ptr(), 16, 0);
            if diff < 0 {
                return false;
            }
            bpf_l4_csum_replace(skb.0, check, 0, diff as u64, u64::from(BPF_F_PSEUDO_HDR) | flags) == 0
        }
    }

    #[inline(always)]
    fn flush(skb: Skb, header: &Header6) -> bool {
        skb.store_near(ETH, header)
    }

    #[inline(always)]
    fn decrement(header: &mut Header6) -> bool {
        if header.hops <= 1 {
            return false;
        }
        header.hops -= 1;
        true
    }
}
