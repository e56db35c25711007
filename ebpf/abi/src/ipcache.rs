//! Address to identity and tunnel endpoint.
#![expect(unsafe_code, reason = "Plain is an unsafe trait")]

use crate::{Addr4, Addr6, layout};

/// Bits of a row.
pub struct IpcacheFlags;

impl IpcacheFlags {
    /// The address belongs to another cluster.
    pub const REMOTE_CLUSTER: u8 = 1 << 3;
}

/// Who an address is and behind which node it lives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpcacheEntry {
    pub identity: u32,
    /// IPv4 address of the node that hosts it; 0: local or reached through the stack.
    pub tunnel: Addr4,
    /// Encryption key index.
    pub key: u8,
    /// [`IpcacheFlags`].
    pub flags: u8,
    pub pad: u16,
}
layout!(IpcacheEntry, 12, 4);

/// Key of `ipcache_lpm*`: the kernel wants the prefix length first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LpmKey<A> {
    pub prefix_len: u32,
    pub addr: A,
}
layout!(LpmKey<Addr4>, 8, 4);
layout!(LpmKey<Addr6>, 20, 4);
