//! What another cluster may say, given what everybody else has said: the seam for whoever knows.
//!
//! A key alone shows whether it is well formed and about its own cluster. Whether it claims what is somebody else's takes
//! all clusters' nodes, and changes with them.

use model::{EndpointSlice, GlobalService, IpEntry, Node};
use tokio::sync::watch;

/// Judges the rows of one remote cluster.
pub trait Border: Send + Sync + 'static {
    /// A node: its addresses and CIDRs must be nobody else's.
    ///
    /// # Errors
    ///
    /// The claim, whose it is, and which rule.
    fn node(&self, node: &Node) -> Result<(), String>;

    /// An address: inside its cluster, behind one of its nodes.
    ///
    /// # Errors
    ///
    /// As [`Border::node`].
    fn ip(&self, entry: &IpEntry) -> Result<(), String>;

    /// A service without the backends that are not its cluster's, and what was left out.
    ///
    /// # Errors
    ///
    /// When none of it can be used.
    fn service(&self, service: GlobalService) -> Result<(GlobalService, Option<String>), String>;

    /// A slice without the addresses that are not its cluster's, and what was left out.
    ///
    /// # Errors
    ///
    /// As [`Border::service`].
    fn slice(&self, slice: EndpointSlice) -> Result<(EndpointSlice, Option<String>), String>;

    /// Marked changed when a judgement may come out differently.
    fn versions(&self) -> watch::Receiver<BorderVersion>;
}

/// How often what judgements rest on has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BorderVersion {
    /// Anything: what was refused may be right now.
    pub any: u64,
    /// What is ours: what was right may be refused now.
    pub own: u64,
}
