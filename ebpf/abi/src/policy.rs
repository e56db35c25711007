//! Policy rows: LPM over protocol and port, exact in identity and direction.
#![expect(unsafe_code, reason = "Plain is an unsafe trait")]

use crate::layout;

/// Bits of the key that are always exact: identity, direction byte.
pub const POLICY_STATIC_PREFIX: u32 = 40;
/// All bits.
pub const POLICY_FULL_PREFIX: u32 = 64;

/// What a packet looks like to policy.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyKey {
    /// The remote's identity; 0 stands for any.
    pub identity: u32,
    /// 1: the endpoint sends. 0: it receives.
    pub egress: u8,
    pub proto: u8,
    /// Network order; the ICMP type for ICMP.
    pub dport: u16,
}
layout!(PolicyKey, 8, 4);

/// The LPM key; `prefix_len` is 40 (any protocol), 48 (any port) or 48 plus bits of the port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyLpmKey {
    pub prefix_len: u32,
    pub key: PolicyKey,
}
layout!(PolicyLpmKey, 12, 4);

/// One verdict. The higher precedence wins; deny is the highest of its tier by construction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyEntry {
    pub precedence: u32,
    /// Network order; 0 for none.
    pub proxy_port: u16,
    /// Bit 0: deny. Bits 3..8: length of the L4 prefix, 0..=24.
    pub flags: u8,
    pub auth: u8,
    pub cookie: u32,
}
layout!(PolicyEntry, 12, 4);

impl PolicyEntry {
    pub const DENY: u8 = 1;

    /// The flags byte.
    #[must_use]
    pub const fn flags(deny: bool, l4_prefix: u8) -> u8 {
        (deny as u8) | (l4_prefix << 3)
    }

    #[inline(always)]
    #[must_use]
    pub const fn is_deny(&self) -> bool {
        self.flags & Self::DENY != 0
    }

    /// How many bits of protocol and port the row compares.
    #[inline(always)]
    #[must_use]
    pub const fn l4_prefix(&self) -> u8 {
        self.flags >> 3
    }
}
