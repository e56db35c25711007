//! Rules and identities become policy map rows.
//!
//! ```text
//!   policy-rules ──> sets: which rules protect which local identity ─┐
//!   identities ────> SelectorCache: which identities a peer selects ─┴─> Core ──> policy-map, policy-progress
//! ```
//! A new identity visits the selectors that its labels can satisfy, and then only the sets that use them: work per
//! change, never per state. A set is the policy of one local identity; its endpoints share it.
//!
//! It resolves L3 and L4 allows. It knows nothing of BPF layouts, of Kubernetes objects (`k8s` normalises them) or of
//! the kvstore. Policy fails closed: what no row allows in an enforced direction is denied by the datapath.

mod core;
mod driver;
pub mod explain;
mod options;
mod peer;
mod resolve;
mod selector_cache;
mod selector_row;

pub use self::core::{Core, RowOp};
pub use driver::{Inputs, run};
pub use options::{EnablePolicy, Options};
pub use peer::PeerKey;
pub use selector_cache::SelectorCache;
pub use selector_row::SelectorRow;
