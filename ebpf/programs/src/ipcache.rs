//! Who an address is: exact rows first (four times cheaper), CIDRs after.

use crate::family::Family;
use aya_ebpf::helpers::generated::bpf_map_lookup_elem;
use core::ffi::c_void;
use ebpf_abi::{IpcacheEntry, LpmKey};

/// Identity and tunnel endpoint of an address; a stranger is the world.
#[inline(always)]
pub fn resolve<F: Family>(addr: &F::Addr) -> IpcacheEntry {
    // SAFETY: the value is copied before any other map operation.
    if let Some(entry) = unsafe { F::ipcache().get(addr) } {
        return *entry;
    }
    let key = LpmKey { prefix_len: (size_of::<F::Addr>() * 8) as u32, addr: *addr };
    // SAFETY: the key has the map's key size; a non-null result is a live value.
    unsafe {
        let entry =
            bpf_map_lookup_elem(core::ptr::from_ref(F::ipcache_lpm()) as *mut c_void, (&raw const key) as *mut c_void)
                as *const IpcacheEntry;
        if !entry.is_null() {
            return *entry;
        }
    }
    IpcacheEntry { identity: F::world(), tunnel: 0, key: 0, flags: 0, pad: 0 }
}
