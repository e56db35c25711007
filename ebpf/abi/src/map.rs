//! Names, kinds and default sizes of the maps: what a pinned map must look like.

/// Kernel map types in use, with the kernel's numbers.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    Hash = 1,
    Array = 2,
    PerCpuArray = 6,
    LruHash = 9,
    LpmTrie = 11,
    HashOfMaps = 13,
    RingBuf = 27,
}

/// The layout of one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Its symbol in the object.
    pub name: &'static str,
    /// Its pin. A layout that breaks gets a new version here, so that both can coexist during an upgrade.
    pub pin: &'static str,
    pub kind: MapKind,
    pub key: u32,
    pub value: u32,
    pub max_entries: u32,
    pub flags: u32,
}

const NO_PREALLOC: u32 = 1;
const RDONLY_PROG: u32 = 1 << 7;
/// Flags of a hash that only the user side writes.
pub const HASH_RO: usize = (NO_PREALLOC | RDONLY_PROG) as usize;
/// Flags of a map of preallocated elements that only the user side writes.
pub const FIXED_RO: usize = RDONLY_PROG as usize;

/// Every map of the object.
pub mod maps {
    pub use super::{FIXED_RO, HASH_RO};
    use super::{MapKind, MapSpec};
    use crate::{
        Addr4, Addr6, Backend, ConfigCell, Counter, Ct4Key, Ct6Key, CtEntry, Endpoint, IpcacheEntry, LpmKey,
        METRIC_CELLS, PolicyEntry, PolicyLpmKey, ReverseNat, Service4Key, Service6Key, ServiceEntry,
    };
    use core::mem::size_of;

    /// Pods of one node.
    pub const ENDPOINTS_MAX: usize = 4096;
    /// Exact addresses of all clusters.
    pub const IPCACHE_MAX: usize = 512_000;
    /// CIDRs of all clusters.
    pub const IPCACHE_LPM_MAX: usize = 65_536;
    /// Policy sets: distinct identities of the node's endpoints.
    pub const POLICY_SETS_MAX: usize = 4096;
    /// Rows of one policy set, Cilium's default.
    pub const POLICY_MAX: usize = 16_384;
    /// Flows per family.
    pub const CT_MAX: usize = 262_144;
    pub const LB_MAX: usize = 65_536;
    /// Bytes of the ring buffer.
    pub const EVENTS_BYTES: usize = 4 << 20;

    #[cfg(not(feature = "next-layout"))]
    const CT_PINS: [&str; 2] = ["ct4_v1", "ct6_v1"];
    #[cfg(feature = "next-layout")]
    const CT_PINS: [&str; 2] = ["ct4_v2", "ct6_v2"];

    macro_rules! specs {
        ($($(#[$doc:meta])* $konst:ident: $name:literal, $pin:expr, $kind:ident, $key:ty, $value:ty, $max:expr, $flags:expr;)*) => {
            $($(#[$doc])* pub const $konst: MapSpec = MapSpec {
                name: $name, pin: $pin, kind: MapKind::$kind,
                key: size_of::<$key>() as u32, value: size_of::<$value>() as u32,
                max_entries: $max as u32, flags: $flags as u32,
            };)*
            /// All of them, in no particular order.
            pub const ALL: &[MapSpec] = &[$($konst),*];
        };
    }
    specs! {
        IFACES: "ifaces", "ifaces_v1", Hash, u32, Endpoint, ENDPOINTS_MAX, HASH_RO;
        ENDPOINTS4: "endpoints4", "endpoints4_v1", Hash, Addr4, Endpoint, ENDPOINTS_MAX, HASH_RO;
        ENDPOINTS6: "endpoints6", "endpoints6_v1", Hash, Addr6, Endpoint, ENDPOINTS_MAX, HASH_RO;
        IPCACHE4: "ipcache4", "ipcache4_v1", Hash, Addr4, IpcacheEntry, IPCACHE_MAX, HASH_RO;
        IPCACHE6: "ipcache6", "ipcache6_v1", Hash, Addr6, IpcacheEntry, IPCACHE_MAX, HASH_RO;
        IPCACHE_LPM4: "ipcache_lpm4", "ipcache_lpm4_v1", LpmTrie, LpmKey<Addr4>, IpcacheEntry, IPCACHE_LPM_MAX, HASH_RO;
        IPCACHE_LPM6: "ipcache_lpm6", "ipcache_lpm6_v1", LpmTrie, LpmKey<Addr6>, IpcacheEntry, IPCACHE_LPM_MAX, HASH_RO;
        /// Its inner maps are `LpmTrie` of `POLICY_MAX`, key `PolicyLpmKey`, value `PolicyEntry`, flags `HASH_RO`.
        POLICY: "policy", "policy_v1", HashOfMaps, u32, u32, POLICY_SETS_MAX, 0;
        CT4: "ct4", CT_PINS[0], LruHash, Ct4Key, CtEntry, CT_MAX, 0;
        CT6: "ct6", CT_PINS[1], LruHash, Ct6Key, CtEntry, CT_MAX, 0;
        SERVICES4: "services4", "services4_v1", Hash, Service4Key, ServiceEntry, LB_MAX, HASH_RO;
        SERVICES6: "services6", "services6_v1", Hash, Service6Key, ServiceEntry, LB_MAX, HASH_RO;
        BACKENDS4: "backends4", "backends4_v1", Hash, u32, Backend<Addr4>, LB_MAX, HASH_RO;
        BACKENDS6: "backends6", "backends6_v1", Hash, u32, Backend<Addr6>, LB_MAX, HASH_RO;
        REVERSE_NAT4: "reverse_nat4", "reverse_nat4_v1", Hash, u16, ReverseNat<Addr4>, LB_MAX, HASH_RO;
        REVERSE_NAT6: "reverse_nat6", "reverse_nat6_v1", Hash, u16, ReverseNat<Addr6>, LB_MAX, HASH_RO;
        METRICS: "metrics", "metrics_v1", PerCpuArray, u32, Counter, METRIC_CELLS, 0;
        EVENTS: "events", "events_v1", RingBuf, [u8; 0], [u8; 0], EVENTS_BYTES, 0;
        CONFIG: "config", "config_v1", Array, u32, u64, ConfigCell::COUNT, FIXED_RO;
    }

    /// One policy set.
    pub const POLICY_SET: MapSpec = MapSpec {
        name: "policy_set",
        pin: "",
        kind: MapKind::LpmTrie,
        key: size_of::<PolicyLpmKey>() as u32,
        value: size_of::<PolicyEntry>() as u32,
        max_entries: POLICY_MAX as u32,
        flags: HASH_RO as u32,
    };
}
