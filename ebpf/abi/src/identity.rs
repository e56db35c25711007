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
