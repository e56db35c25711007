//! Every source's claim about a prefix becomes the one row that the datapath shall know.
//!
//! ```text
//!   endpoints (local) ─┐
//!   nodes ─────────────┼─ claims by prefix ──> the winner ── waits until policy knows its identity ──> ipcache
//!   ips (stores) ──────┘
//! ```
//! Precedence is the order of [`model::Source`]: local, own kvstore, remote clusters, pod CIDRs, restored from disk.
//! Between two remote clusters the first claim holds and the second is counted.
//!
//! It holds no copy of the imported claims: a change names a prefix, and the prefix is looked up again in the tables.

mod core;
mod driver;
mod node_claims;

pub use self::core::{Claim, Core, RowOp};
pub use driver::{Inputs, run};
pub use node_claims::{Own, node_claims};
