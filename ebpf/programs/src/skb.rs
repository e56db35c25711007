//! The packet as the kernel hands it over: fields, loads and stores, each checked.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_skb_change_type, bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes},
};
use core::{
    ffi::c_void,
    mem::{MaybeUninit, size_of},
    ptr::{read_volatile, write_volatile},
};

pub const ACT_OK: i32 = 0;
pub const ACT_SHOT: i32 = 2;

#[derive(Clone, Copy)]
pub struct Skb(pub *mut __sk_buff);

/// Field accesses are volatile because the compiler would fuse neighbours into one wide access,
/// which the verifier refuses on this structure.
macro_rules! fields {
    ($($name:ident),*) => {$(
        #[inline(always)]
        pub fn $name(self) -> u32 {
            // SAFETY: the kernel passes a valid context; the verifier checks offset and size.
            unsafe { read_volatile(&raw const (*self.0).$name) }
        }
    )*};
}

impl Skb {
    fields!(len, protocol, ifindex, ingress_ifindex, mark);

    /// EtherType in host order.
    #[inline(always)]
    pub fn ethertype(self) -> u16 {
        u16::from_be(self.protocol() as u16)
    }

    #[inline(always)]
    pub fn set_mark(self, mark: u32) {
        // SAFETY: as for the reads; mark is writable.
        unsafe { write_volatile(&raw mut (*self.0).mark, mark) }
    }

    /// Reads `T` at `offset`; `None` when the packet is shorter. `T` must be plain integers, and
    /// `offset` bounded in the verifier's eyes. Straight from the packet: a call costs several map
    /// lookups on kernels with mitigations. The rare packet in pieces is pulled together first, which
    /// makes what was read writable in place too.
    #[inline(always)]
    pub fn load<T: Copy>(self, offset: u32) -> Option<T> {
        let place = match self.near::<T>(offset) {
            Some(place) => place,
            None => {
                // SAFETY: the helper checks the length; pointers into the packet are taken anew after it.
                unsafe { bpf_skb_pull_data(self.0, offset + size_of::<T>() as u32) };
                self.near::<T>(offset)?
            }
        };
        // SAFETY: inside the packet, see `near`. Its alignment is the frame's; every machine we run on
        // reads unaligned words, and told so the compiler would read byte by byte.
        Some(unsafe { place.read() })
    }

    /// Where `T` lies at `offset`, if the packet's first part holds it.
    #[inline(always)]
    fn near<T>(self, offset: u32) -> Option<*mut T> {
        // SAFETY: as for the fields.
        let (data, end) =
            unsafe { (read_volatile(&raw const (*self.0).data), read_volatile(&raw const (*self.0).data_end)) };
        // The verifier wants the variable part added first and the length as a constant on top.
        let start = opaque(u64::from(data) + u64::from(offset));
        let after = opaque(start + size_of::<T>() as u64);
        if after <= u64::from(end) { Some((after - size_of::<T>() as u64) as *mut T) } else { None }
    }

    /// As [`Self::load`], for any offset and for packets in pieces.
    #[inline(always)]
    pub fn load_far<T: Copy>(self, offset: u32) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the buffer is as long as the constant size passed along with it.
        let err = unsafe {
            bpf_skb_load_bytes(
                self.0 as *const c_void,
                offset,
                value.as_mut_ptr() as *mut c_void,
                size_of::<T>() as u32,
            )
        };
        // SAFETY: on success the helper wrote every byte, and T is integers only.
        if err == 0 { Some(unsafe { value.assume_init() }) } else { None }
    }

    /// Writes `value` at `offset`, which [`Self::load`] has read; checksums are the caller's.
    #[inline(always)]
    pub fn store_near<T: Copy>(self, offset: u32, value: &T) -> bool {
        match self.near::<T>(offset) {
            Some(place) => {
                // SAFETY: as in `load`.
                unsafe { place.write(*value) };
                true
            }
            None => false,
        }
    }

    /// As [`Self::store_near`], for any offset.
    #[inline(always)]
    pub fn store<T>(self, offset: u32, value: &T) -> bool {
        // SAFETY: the source is as long as the constant size passed along with it.
        unsafe {
            bpf_skb_store_bytes(self.0, offset, core::ptr::from_ref(value) as *const c_void, size_of::<T>() as u32, 0)
                == 0
        }
    }

    /// The same number, but the verifier no longer knows it. It follows every known value through
    /// the rest of the program; where branches meet again, forgetting what told them apart lets it
    /// verify the rest once instead of once per branch. Two reads of one field cost about 1 ns.
    #[inline(always)]
    pub fn forget(self, value: u32) -> u32 {
        value.wrapping_add(self.len().wrapping_sub(self.len()))
    }

    /// Makes the stack take the packet as addressed to this host, whatever its destination MAC.
    #[inline(always)]
    pub fn set_to_host(self) {
        // SAFETY: 0 is PACKET_HOST; the helper only writes pkt_type.
        unsafe { bpf_skb_change_type(self.0, 0) };
    }
}

/// Hides a value's bounds from the compiler, which would otherwise delete the checks that the
/// verifier wants to see. The instruction is real because line info cannot point at a comment.
#[inline(always)]
pub fn opaque(mut value: u64) -> u64 {
    // SAFETY: adds zero to a register.
    unsafe { core::arch::asm!("{0} += 0", inout(reg) value, options(nomem, nostack, pure)) };
    value
}
