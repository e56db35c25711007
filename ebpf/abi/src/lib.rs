//! Map keys and values shared by the kernel side (`ebpf/programs`) and the user side (`datapath`).
//!
//! ```text
//!   ifaces      ifindex        -> Endpoint        who sends through this host veth
//!   endpoints*  address        -> Endpoint        who lives at this local address
//!   ipcache*    address        -> IpcacheEntry    exact rows; ipcache_lpm* holds the CIDRs
//!   policy      policy set id  -> LPM(PolicyKey -> PolicyEntry)
//!   ct*         CtKey          -> CtEntry         one row per flow, direction and local end
//!   services*   ServiceKey     -> ServiceEntry    slot 0 is the frontend, 1.. name backends
//!   backends*   id             -> Backend         reverse_nat*  rev_nat id -> ReverseNat
//!   metrics     reason*4+dir   -> Counter (per CPU)      events  ring of Event      config  u64 cells
//! ```
//! `*` stands for `4` or `6`. Every type is `repr(C)`, has its padding spelled out and zeroed
//! (a hash map compares bytes), and carries a size and alignment assertion. Addresses and ports
//! are in network order in memory; everything else is in host order.
//!
//! It deliberately knows nothing of aya, of files and of who writes which map when.
#![no_std]

mod config;
mod ct;
mod endpoint;
mod event;
mod identity;
mod ipcache;
mod lb;
mod map;
mod mark;
mod metrics;
mod plain;
mod policy;
mod reason;

pub use config::{ConfigCell, MonitorLevel};
pub use ct::{Ct4Key, Ct6Key, CtEntry, CtFlags, CtKey, CtScope, tick_shift, ticks};
pub use endpoint::{Endpoint, EndpointFlags};
pub use event::{CAPTURE_BYTES, Event, EventFlags, EventKind, FlowState, MatchKind, SourceFile, TracePoint};
pub use identity::{is_local, reserved};
pub use ipcache::{IpcacheEntry, IpcacheFlags, LpmKey};
pub use lb::{Backend, BackendState, ReverseNat, Service4Key, Service6Key, ServiceEntry, ServiceKey};
pub use map::{MapKind, MapSpec, maps};
pub use mark::Mark;
pub use metrics::{Counter, Direction, METRIC_CELLS, metric_index};
pub use plain::Plain;
pub use policy::{POLICY_FULL_PREFIX, POLICY_STATIC_PREFIX, PolicyEntry, PolicyKey, PolicyLpmKey};
pub use reason::{EVENT_LOST, FORWARDED, Reason};

/// An IPv4 address as it lies in a packet.
pub type Addr4 = u32;
/// An IPv6 address as it lies in a packet.
pub type Addr6 = [u32; 4];

/// Asserts the layout that pinned maps already have on disk.
macro_rules! layout {
    ($type:ty, $size:expr, $align:expr) => {
        const _: () = assert!(core::mem::size_of::<$type>() == $size);
        const _: () = assert!(core::mem::align_of::<$type>() == $align);
        // SAFETY: repr(C), made of integers only, and the sizes of the fields add up to the
        // size asserted above, so that there is no implicit padding.
        unsafe impl $crate::Plain for $type {}
    };
}
pub(crate) use layout;
