//! The client side of an etcd v3 store: what every writer and reader of keys shares.
//!
//! ```text
//!  users ──> Client (rate limit, time-out, status) ──> Backend ──> etcd, or the in-memory fake
//!              ├── Leases      keys that live as long as we do; told when they were lost
//!              ├── Locks       etcd's own mutex protocol
//!              └── list_watch  a prefix, followed for ever: creates, modifies, deletes with proof
//! ```
//! The rules are in cores without clock, socket or task (`core/`); the drivers beside them are thin,
//! and return futures for the caller to own.
//!
//! Deliberately absent: any knowledge of Cilium's keys and values, and the question what a lost
//! store means for the datapath: here it is only said that a store is unknown.

mod backend;
mod client;
mod config;
mod core {
    pub(crate) mod backoff;
    pub(crate) mod bucket;
    pub(crate) mod lease_pool;
    pub(crate) mod list_watch;
    pub(crate) mod pages;
    pub(crate) mod watchdog;
}
mod error;
mod etcd;

pub mod fake;
mod following;
mod leases;
mod list;
mod list_watch;
mod locks;
mod observe;
mod options;
mod quorum;
mod types;

pub use backend::{Backend, Pending, WatchStream};
pub use certificates::CertificateError;
pub use client::{Client, ClientOptions, ConnectionStatus};
pub use config::{Address, ConfigError, EtcdConfig, load_config, parse_config};
pub use core::{
    backoff::Backoff,
    list_watch::{Effect, Event, ListWatch},
    watchdog::HeartbeatWatchdog,
};
pub use error::{Cause, Error, Operation, chain};
pub use etcd::{AuthStatus, ConnectError, Etcd, auth_status, client as etcd_client};
pub use following::Following;
pub use leases::{KEY_LEASE_TTL, LOCK_LEASE_TTL, Leases};
pub use list::{Listed, list};
pub use list_watch::{Follower, follow};
pub use locks::{LockError, LockGuard, Locks};
pub use observe::{Observed, Observer};
pub use options::{ClientFiles, Options, OptionsError, duration, lease_ttl};
pub use quorum::{Quorum, QuorumStatus};
pub use types::{
    Compare, Header, KeyEvent, KeyValue, LeaseGrant, LeaseId, Op, OpResult, Range, RangeResult, Revision, ServerStatus,
    Txn, TxnResult, WatchBatch, prefix_end,
};
