//! Links, addresses, routes, neighbours and network namespaces, synchronously.
//!
//! ```text
//!   cni, datapath, testbed ──> Netlink (one socket of the calling thread's namespace) ──> kernel
//!                              Namespace::enter(|| ...): the same calls inside another namespace
//! ```
//! A socket belongs to the namespace of the thread that opened it. Everything comes in three
//! forms where that makes sense: the plain one, which fails on what already is so; `ensure_*`,
//! which makes it so; `delete_*_if_exists`. There is no cache, no event stream and no async here.
mod addr;
mod error;
mod link;
mod mac;
mod namespace;
mod neighbour;
mod route;
mod socket;
mod sysctl;

pub use error::{Error, Result};
pub use link::{Link, LinkKind, PeerSpec, VethSpec, VxlanSpec};
pub use mac::Mac;
pub use namespace::{NETNS_DIR, Namespace};
pub use route::{Route, RouteScope};
pub use socket::Netlink;
pub use sysctl::{read_sysctl, write_sysctl, write_sysctl_if_exists};
