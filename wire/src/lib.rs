//! Cilium's bytes in etcd: every key path and every value, both directions. Only this crate knows them.
//!
//! One module per noun, each with `prefix`, `key`, `encode` and `decode`:
//!
//! ```text
//! ip node service service_export endpoint_slice   what clusters tell one another
//! identity labels                                 numbers and their label strings
//! cluster_config synced heartbeat lock            how a store says what it holds and that it lives
//! own                                             our keys, outside Cilium's tree, never mirrored
//! ```
//!
//! Writing gives the bytes that Go's `encoding/json` prints for Cilium 1.20's types, because stores
//! are compared byte by byte and two writers with different bytes would fight for ever. Reading
//! accepts what Cilium's readers accept (names in any case, the last of a repeated field, `null`)
//! and refuses what they refuse, with an error that names key, field and rule.
//!
//! Deliberately absent: talking to etcd; checks that need to know who is asking (identity ranges,
//! the advertised cluster id): those belong to the reader of a particular cluster.

pub mod cluster_config;
pub mod endpoint_slice;
mod error;
pub mod fuzz;
pub mod heartbeat;
pub mod identity;
pub mod ip;
mod ip_net;
mod json;
pub mod key;
pub mod labels;
pub mod lock;
pub mod node;
pub mod own;
pub mod service;
pub mod service_export;
pub mod synced;
mod zstd_frame;

pub use error::{Broken, DecodeError};
pub use key::Source;
