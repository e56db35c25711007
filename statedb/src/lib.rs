//! Typed in-memory tables, and the reconciler that carries a table to the outside world.
//!
//! ```text
//!   Writer ──write(txn)──> Table ──snapshot()──> Snapshot   (an immutable version, O(1) to take)
//!                            │────changes()────> Changes    (what changed since this reader last looked, deletes too)
//!                            └────watch()──────> Watch      (wakes on every new revision, coalesced)
//!                            Changes ──> Reconciler ──> Target (a kernel map, an etcd prefix, ...)
//! ```
//!
//! Rules:
//! - A row is immutable; an update replaces it. Writing an equal row changes nothing and wakes nobody.
//! - Every table has one [`Writer`] type handed to its sources; everyone else holds a [`Reader`].
//! - A table is *initialised* when every source that announced itself has said that its first full state is in;
//!   reconcilers prune only then.
//! - Rows print themselves: the CLI and the tests show the same text.
//!
//! It knows nothing of Cilium, of etcd or of the kernel, never does I/O except in [`disk`], and holds no lock while a
//! reader works: versions share structure through a copy-on-write B-tree.

mod btree;
mod changes;
mod database;
pub mod disk;
mod index;
mod print;
pub mod reconciler;
mod row;
mod snapshot;
mod state;
mod table;

pub use btree::Tree;
pub use changes::{Change, Changes};
pub use database::{Database, TableInfo};
pub use index::{Index, IndexKey};
pub use row::{Row, RowRef};
pub use snapshot::Snapshot;
pub use table::{Initializer, Reader, Txn, Upsert, Watch, Writer, table};
