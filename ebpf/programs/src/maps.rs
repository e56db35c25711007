//! The maps; their layouts stand in `ebpf_abi::maps`.

use crate::{
    family::{V4, V6},
    packet::Packet,
};
use aya_ebpf::{
    btf_maps::{Array, HashMap, HashOfMaps, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use ebpf_abi::{
    Addr4, Addr6, Backend, ConfigCell, Counter, Ct4Key, Ct6Key, CtEntry, Endpoint, Event, IpcacheEntry, METRIC_CELLS,
    PolicyEntry, PolicyKey, ReverseNat, Service4Key, Service6Key, ServiceEntry, maps::*,
};

/// A hash that only the user side writes.
pub type ReadHash<K, V, const MAX: usize> = HashMap<K, V, MAX, HASH_RO>;
pub type Endpoints<A> = ReadHash<A, Endpoint, ENDPOINTS_MAX>;
pub type Ipcache<A> = ReadHash<A, IpcacheEntry, IPCACHE_MAX>;
pub type IpcacheLpm<A> = LpmTrie<A, IpcacheEntry, IPCACHE_LPM_MAX, HASH_RO>;
pub type PolicySet = LpmTrie<PolicyKey, PolicyEntry, POLICY_MAX, HASH_RO>;
pub type Ct<K> = LruHashMap<K, CtEntry, CT_MAX>;
pub type Services<K> = ReadHash<K, ServiceEntry, LB_MAX>;
pub type Backends<A> = ReadHash<u32, Backend<A>, LB_MAX>;
pub type ReverseNats<A> = ReadHash<u16, ReverseNat<A>, LB_MAX>;

macro_rules! maps {
    ($($(#[$doc:meta])* $name:ident $symbol:literal: $ty:ty;)*) => {
        $($(#[$doc])* #[btf_map(name = $symbol)] pub static $name: $ty = <$ty>::new();)*
    };
}
maps! {
    IFACES "ifaces": ReadHash<u32, Endpoint, ENDPOINTS_MAX>;
    ENDPOINTS4 "endpoints4": Endpoints<Addr4>;
    ENDPOINTS6 "endpoints6": Endpoints<Addr6>;
    IPCACHE4 "ipcache4": Ipcache<Addr4>;
    IPCACHE6 "ipcache6": Ipcache<Addr6>;
    IPCACHE_LPM4 "ipcache_lpm4": IpcacheLpm<Addr4>;
    IPCACHE_LPM6 "ipcache_lpm6": IpcacheLpm<Addr6>;
    POLICY "policy": HashOfMaps<u32, PolicySet, POLICY_SETS_MAX>;
    CT4 "ct4": Ct<Ct4Key>;
    CT6 "ct6": Ct<Ct6Key>;
    SERVICES4 "services4": Services<Service4Key>;
    SERVICES6 "services6": Services<Service6Key>;
    BACKENDS4 "backends4": Backends<Addr4>;
    BACKENDS6 "backends6": Backends<Addr6>;
    REVERSE_NAT4 "reverse_nat4": ReverseNats<Addr4>;
    REVERSE_NAT6 "reverse_nat6": ReverseNats<Addr6>;
    METRICS "metrics": PerCpuArray<Counter, METRIC_CELLS>;
    EVENTS "events": RingBuf<Event, EVENTS_BYTES>;
    /// The entry under construction: 48 bytes that the stack does not have. Not pinned.
    CT_SCRATCH "ct_scratch": PerCpuArray<CtEntry, 1>;
    /// The packet under work. Not pinned.
    PACKET4 "packet4": PerCpuArray<Packet<V4>, 1>;
    PACKET6 "packet6": PerCpuArray<Packet<V6>, 1>;
    CONFIG "config": Array<u64, { ConfigCell::COUNT }, FIXED_RO>;
}
