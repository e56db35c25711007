//! Reserved identities the programs decide on.

/// Cilium's reserved numbers.
pub mod reserved {
    pub const UNKNOWN: u32 = 0;
    pub const HOST: u32 = 1;
    pub const WORLD: u32 = 2;
    pub const REMOTE_NODE: u32 = 6;
    pub const WORLD_IPV4: u32 = 9;
    pub const WORLD_IPV6: u32 = 10;
}

/// Whether an identity means something on this node alone, as those of ranges of addresses do: it never leaves it.
#[inline(always)]
#[must_use]
pub const fn is_local(identity: u32) -> bool {
    identity >> 24 != 0
}
