//! Labels to identity numbers, over the kvstore.
//!
//! ```text
//!   identity-requests ──> Core ──Allocate──> one transaction ──> identities (our own id/ watch shows it) ──> grant
//!                           └── held: re-asserted when its keys go, when a lease is lost, and every five minutes
//! ```
//! Allocation is one transaction and takes no lock, yet respects the locks of stock allocators: it compares that nobody
//! holds one, and which numbers the nodes that have the labels use. A number is used only after our own watch has passed its
//! creation. Of several that nobody uses the last one made is taken, as Cilium's allocators do. Nodes that begin with the same
//! labels at one time try the same number first, so that one request is enough for each; what comes while requests are out
//! goes together with the next.
//!
//! Ranges of addresses that policies name have numbers too ([`Cidrs`]): in the scope of this node, so that no store is asked.
//!
//! It never deletes a master key: collecting unused numbers is the operator's. It does not watch the store itself:
//! `reflector` feeds table `identities`, one watch for all readers.

mod batch;
mod cidr;
mod cidr_driver;
mod core;
mod driver;
mod held;
mod txn;

pub use self::cidr::{CidrOp, Cidrs};
pub use self::core::{Attempt, Core, Effect, Mode, Outcome, Users};
pub use cidr_driver::{CidrInputs, run_cidrs};
pub use driver::{Inputs, run};
