//! The one seam to the kernel: maps, policy sets and programs at interfaces, as few verbs as the
//! reconcilers need. [`Pinned`] is the real thing; [`fake::Fake`] passes the same tests without root.

pub mod fake;
pub(crate) mod pinned;

pub use pinned::Pinned;

use crate::MapId;
use std::io;

/// A key and a value as bytes.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("open map {map}")]
    Open { map: MapId, source: io::Error },
    #[error("map {map} is full")]
    Full { map: MapId },
    #[error("{operation} {count} rows of map {map}")]
    Map { operation: &'static str, map: MapId, count: usize, source: io::Error },
    #[error("{operation} programs of interface {interface}")]
    Program { operation: &'static str, interface: String, source: io::Error },
}

pub type Result<T> = std::result::Result<T, KernelError>;

/// Maps and attachments. Every verb is idempotent.
pub trait Kernel: Send {
    /// Writes rows. After an error any prefix of them may be written.
    ///
    /// # Errors
    /// [`KernelError::Full`] when the map has no room, [`KernelError::Map`] otherwise.
    fn update(&mut self, map: MapId, rows: &[Pair]) -> Result<()>;

    /// Deletes rows; absent ones are as wanted.
    ///
    /// # Errors
    /// [`KernelError::Map`].
    fn delete(&mut self, map: MapId, keys: &[Vec<u8>]) -> Result<()>;

    /// One row.
    ///
    /// # Errors
    /// [`KernelError::Map`].
    fn lookup(&mut self, map: MapId, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// All rows. A policy set that does not exist has none.
    ///
    /// # Errors
    /// [`KernelError::Map`].
    fn dump(&mut self, map: MapId) -> Result<Vec<Pair>>;

    /// Makes an empty policy set unless it exists.
    ///
    /// # Errors
    /// [`KernelError::Full`] or [`KernelError::Map`].
    fn create_set(&mut self, set: u32) -> Result<()>;

    /// Removes a policy set with its rows.
    ///
    /// # Errors
    /// [`KernelError::Map`].
    fn drop_set(&mut self, set: u32) -> Result<()>;

    /// Rows that a new policy set takes.
    fn policy_max(&self) -> u32;

    /// The policy sets there are.
    ///
    /// # Errors
    /// [`KernelError::Map`].
    fn sets(&mut self) -> Result<Vec<u32>>;

    /// Attaches the pod programs to an interface, or replaces those of an earlier process.
    ///
    /// # Errors
    /// [`KernelError::Program`].
    fn attach(&mut self, interface: &str, ifindex: u32) -> Result<()>;

    /// Takes the pod programs off.
    ///
    /// # Errors
    /// [`KernelError::Program`].
    fn detach(&mut self, interface: &str) -> Result<()>;

    /// Interfaces with pod programs.
    ///
    /// # Errors
    /// [`KernelError::Program`].
    fn attached(&mut self) -> Result<Vec<String>>;
}
