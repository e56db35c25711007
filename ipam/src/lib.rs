//! Pod addresses out of the node's CIDRs, remembered across restarts.
//!
//! A [`Pool`] hands out the addresses of one range; [`Ipam`] holds a node's ranges, by the names of the pools that they
//! are of, and a file that says who has what.
//! It knows nothing of pods or endpoints: an owner is a name. Node CIDRs come from the caller:
//! from options, or out of a [`ClusterPool`] as a [`Handout`] decides.

mod cluster_pool;
mod handout;
mod ipam;
mod pool;
mod pool_names;

pub use cluster_pool::{ClusterPool, InvalidClusterPool};
pub use handout::{Decision, Handout, Seen};
pub use ipam::{Ipam, IpamError, Lease};
pub use pool::{Exhausted, Pool};
pub use pool_names::PoolNames;
